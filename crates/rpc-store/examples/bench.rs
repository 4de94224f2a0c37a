//! Measures the store: grouped commits, and opening with many sessions.
//!
//! `cargo run --release -p rpc-store --example bench [directory] [sessions]`
//!
//! Every figure rests on what one `fdatasync` costs on the same medium, so that is measured first.

#![expect(clippy::print_stdout, reason = "it is there to print")]

use std::env;
use std::error::Error;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rpc_core::config::Terms;
use rpc_core::id::{Epoch, Nonce, SessionId, TicketHash};
use rpc_core::negotiate::{self, Offer};
use rpc_core::principal::Principal;
use rpc_core::record::{Change, SessionRecord, TicketHashes, Write};
use rpc_core::store::Store;
use rpc_store::EmbeddedStore;

const TIME_EACH: Duration = Duration::from_secs(4);

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args_os().skip(1);
    let name = format!("rpc-store-bench-{}", std::process::id());
    let parent = arguments.next().map_or_else(env::temp_dir, PathBuf::from);
    let sessions = arguments.next().map_or(Ok(1_000_000), |text| text.to_string_lossy().parse())?;
    let directory = parent.join(name);
    fs::create_dir(&directory)?;
    let done = measure(&directory, sessions);
    fs::remove_dir_all(&directory)?;
    done
}

fn measure(directory: &Path, sessions: u64) -> Result<(), Box<dyn Error>> {
    report_sync(&directory.join("sync"))?;
    let record = record()?;
    for writes in [1, 64, 1_024] {
        let store = EmbeddedStore::open(directory.join(format!("grouped-{writes}")))?;
        report_commits(&store, &record, writes)?;
    }
    report_open(&directory.join("many"), &record, sessions)
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

/// Creates sessions, `writes` of them in a commit.
fn report_commits(store: &EmbeddedStore, record: &SessionRecord, writes: u64) -> Result<(), Box<dyn Error>> {
    let (mut next, mut times) = (1, Vec::new());
    let begun = Instant::now();
    while begun.elapsed() < TIME_EACH {
        let batch = batch(record, next, writes)?;
        next += writes;
        let begun = Instant::now();
        store.commit(&batch)?;
        times.push(begun.elapsed());
    }
    let seconds = times.iter().sum::<Duration>().as_secs_f64();
    let commits = times.len() as f64;
    let rates =
        format!("{:>7.0} commits/s {:>9.0} writes/s", commits / seconds, commits * writes as f64 / seconds);
    println!("{writes:>5} writes a commit: {rates}   {}", percentiles(&mut times));
    Ok(())
}

fn report_open(path: &Path, record: &SessionRecord, sessions: u64) -> Result<(), Box<dyn Error>> {
    let store = EmbeddedStore::open(path)?;
    for first in (1..=sessions).step_by(1_024) {
        store.commit(&batch(record, first, 1_024.min(sessions + 1 - first))?)?;
    }
    drop(store);
    let begun = Instant::now();
    let store = EmbeddedStore::open(path)?;
    let time = begun.elapsed();
    let statistics = store.statistics()?;
    println!(
        "{} sessions: opened in {:.2} s, {} MiB on disk, {} journals, resident {} kB",
        statistics.sessions_live,
        time.as_secs_f64(),
        statistics.bytes_on_disk >> 20,
        statistics.journals,
        resident_kb().as_deref().unwrap_or("?"),
    );
    Ok(())
}

fn batch(record: &SessionRecord, first: u64, writes: u64) -> Result<Vec<Write>, Box<dyn Error>> {
    (first..first + writes)
        .map(|number| {
            let session = SessionId::new(number).ok_or("sessions count from 1")?;
            let mut record = record.clone();
            record.principal = Principal::new("https://issuer.example", format!("subject-{number}"));
            Ok(Write { session, epoch: Epoch::FIRST, change: Change::Create(Box::new(record)) })
        })
        .collect()
}

/// About 200 bytes in the store.
fn record() -> Result<SessionRecord, Box<dyn Error>> {
    Ok(SessionRecord {
        principal: Principal::new("https://issuer.example", "subject"),
        nonce: Nonce([1; Nonce::BYTES]),
        agreement: negotiate::answer(&Offer::default(), &Terms::default(), &[])?,
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

/// What the kernel says, where it does.
fn resident_kb() -> Option<String> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().trim_end_matches(" kB").to_owned())
}
