//! Measures the store: grouped commits of sessions and of calls, and opening with many sessions and replies.
//!
//! `cargo run --release -p rpc-store --example bench [directory] [sessions] [replies]`
//!
//! Every figure rests on what one `fdatasync` costs on the same medium, so that is measured first. Opening is measured in a
//! process of its own, whose memory is that of a server that has just started.

#![expect(clippy::print_stdout, reason = "it is there to print")]

use std::env;
use std::error::Error;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rpc_core::config::Terms;
use rpc_core::id::{Epoch, Fingerprint, Nonce, Sequence, SessionId, SlotId, TicketHash};
use rpc_core::negotiate::{self, Offer};
use rpc_core::principal::Principal;
use rpc_core::record::{CallRecord, Change, Reply, SessionRecord, SlotRecord, TicketHashes, Write};
use rpc_core::store::Store;
use rpc_store::EmbeddedStore;

const TIME_EACH: Duration = Duration::from_secs(4);

/// What the process that only opens is told.
const OPEN: &str = "--open";
const REPLY_BYTES: usize = 256;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args_os().skip(1);
    let first = arguments.next();
    if first.as_ref().is_some_and(|argument| argument == OPEN) {
        return report_open(&PathBuf::from(arguments.next().ok_or("which directory?")?));
    }
    let mut count = |default| arguments.next().map_or(Ok(default), |text| text.to_string_lossy().parse());
    let (sessions, replies) = (count(1_000_000)?, count(100_000)?);
    let name = format!("rpc-store-bench-{}", std::process::id());
    let directory = first.map_or_else(env::temp_dir, PathBuf::from).join(name);
    fs::create_dir(&directory)?;
    let done = measure(&directory, sessions, replies);
    fs::remove_dir_all(&directory)?;
    done
}

fn measure(directory: &Path, sessions: u64, replies: u64) -> Result<(), Box<dyn Error>> {
    report_sync(&directory.join("sync"))?;
    let record = record()?;
    for writes in [1, 64, 1_024] {
        let store = EmbeddedStore::open(directory.join(format!("sessions-{writes}")))?;
        report_commits("sessions", writes, &store, |first| batch(&record, first, writes))?;
    }
    for writes in [1, 64, 1_024] {
        let store = EmbeddedStore::open(directory.join(format!("replies-{writes}")))?;
        store.commit(&batch(&record, 1, writes)?)?;
        report_commits("replies", writes, &store, |first| replies_to(1, writes, first / writes + 1))?;
    }
    let many = directory.join("many");
    fill(&many, &record, sessions, replies)?;
    let done = Command::new(env::current_exe()?).arg(OPEN).arg(many).status()?;
    if done.success() { Ok(()) } else { Err("the process that opens has failed".into()) }
}

/// One reply for each of the first `replies` sessions.
fn fill(path: &Path, record: &SessionRecord, sessions: u64, replies: u64) -> Result<(), Box<dyn Error>> {
    let store = EmbeddedStore::open(path)?;
    for first in (1..=sessions).step_by(1_024) {
        store.commit(&batch(record, first, 1_024.min(sessions + 1 - first))?)?;
    }
    for first in (1..=replies).step_by(1_024) {
        store.commit(&replies_to(first, 1_024.min(replies + 1 - first), 1)?)?;
    }
    Ok(())
}

/// Appends 4 KiB and syncs, as a journal does.
fn report_sync(path: &Path) -> Result<(), Box<dyn Error>> {
    let mut file = File::create(path)?;
    file.set_len(64 << 20)?;
    file.sync_all()?;
    let mut times = Vec::new();
    let begun = Instant::now();
    while begun.elapsed() < TIME_EACH / 2 && times.len() < 10_000 {
        file.write_all(&[1; 4096])?;
        let begun = Instant::now();
        file.sync_data()?;
        times.push(begun.elapsed());
    }
    println!("fdatasync of 4 KiB            {}", percentiles(&mut times));
    Ok(())
}

/// Makes commits of `writes` writes each; `batch` has the next, given how many writes there were.
fn report_commits(
    what: &str,
    writes: u64,
    store: &EmbeddedStore,
    batch: impl Fn(u64) -> Result<Vec<Write>, Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    let (mut next, mut times) = (1, Vec::new());
    let begun = Instant::now();
    while begun.elapsed() < TIME_EACH {
        let batch = batch(next)?;
        next += writes;
        let begun = Instant::now();
        let answers = store.commit(&batch)?;
        times.push(begun.elapsed());
        if let Some(Err(error)) = answers.into_iter().find(Result::is_err) {
            return Err(error.into());
        }
    }
    let seconds = times.iter().sum::<Duration>().as_secs_f64();
    let commits = times.len() as f64;
    let rates =
        format!("{:>7.0} commits/s {:>9.0} writes/s", commits / seconds, commits * writes as f64 / seconds);
    println!("{writes:>5} {what:<8} a commit: {rates}   {}", percentiles(&mut times));
    Ok(())
}

fn report_open(path: &Path) -> Result<(), Box<dyn Error>> {
    let before = memory_kb("VmRSS:");
    let begun = Instant::now();
    let store = EmbeddedStore::open(path)?;
    let time = begun.elapsed();
    let statistics = store.statistics()?;
    let contents = statistics.contents;
    println!(
        "{} sessions ({} MiB) and {} replies of {REPLY_BYTES} bytes ({} MiB): opened in {:.2} s",
        contents.sessions_live,
        contents.session_bytes >> 20,
        contents.slots,
        contents.slot_bytes >> 20,
        time.as_secs_f64(),
    );
    println!(
        "{} MiB on disk, {} journals; resident {before} kB before, {} kB after, {} kB at most",
        statistics.bytes_on_disk >> 20,
        statistics.journals,
        memory_kb("VmRSS:"),
        memory_kb("VmHWM:"),
    );
    Ok(())
}

fn batch(record: &SessionRecord, first: u64, writes: u64) -> Result<Vec<Write>, Box<dyn Error>> {
    (first..first + writes)
        .map(|number| {
            let session = SessionId::new(number).ok_or("sessions count from 1")?;
            let mut record = record.clone();
            record.principal = Principal::new("https://issuer.example", format!("subject-{number}"));
            Ok(Write { session, epoch: Epoch::FIRST, change: Change::Create(Arc::new(record)) })
        })
        .collect()
}

/// The reply with this sequence in one slot of each of `count` sessions.
fn replies_to(first: u64, count: u64, sequence: u64) -> Result<Vec<Write>, Box<dyn Error>> {
    let reply = Reply {
        code: 0,
        head: Bytes::new(),
        message: Bytes::from_static(&[7; REPLY_BYTES]),
        trailer: Bytes::new(),
    };
    (first..first + count)
        .map(|number| {
            let session = SessionId::new(number).ok_or("sessions count from 1")?;
            let call = CallRecord::Done(Fingerprint(number.into()), reply.clone());
            let record = SlotRecord { slot: SlotId(0), sequence: Sequence(sequence), call };
            Ok(Write { session, epoch: Epoch::FIRST, change: Change::Slot(Box::new(record)) })
        })
        .collect()
}

/// About 200 bytes in the store.
fn record() -> Result<SessionRecord, Box<dyn Error>> {
    Ok(SessionRecord {
        principal: Principal::new("https://issuer.example", "subject"),
        nonce: Nonce([1; Nonce::BYTES]),
        agreement: Arc::new(negotiate::answer(&Offer::default(), &Terms::default(), &[])?),
        tickets: TicketHashes { current: TicketHash([2; 32]), pending: None },
        authority_unix_s: Some(1_800_000_000),
        scopes: [Box::from("ledger.read"), Box::from("ledger.write")].into(),
    })
}

fn percentiles(times: &mut [Duration]) -> String {
    times.sort();
    let at = |share: f64| times.get((times.len() as f64 * share) as usize).map_or(0, Duration::as_micros);
    let longest = times.last().map_or(0, Duration::as_micros);
    format!("p50 {} µs, p99 {} µs, longest {longest} µs", at(0.5), at(0.99))
}

/// What the kernel says, where it does; otherwise a question mark.
fn memory_kb(what: &str) -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(what));
    line.map_or("?", |line| line.trim().trim_end_matches(" kB")).to_owned()
}
