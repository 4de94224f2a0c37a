//! Calls that are kept on the disk, against what the store reaches when it does nothing else.

use std::fs::File;
use std::io::{Seek as _, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use super::commits::Commits;
use super::unary::{Delivery, Unary};
use super::{Case, Contest, Entry, Group, Scope};
use crate::error::BenchError;
use crate::harness::results::GroupResult;
use crate::harness::table;
use crate::variants::Variant;

/// The store with nothing around it, and the commits of AT_MOST_ONCE calls.
const ALONE_TWICE: &str = "the store alone, intent + reply";
/// The store with nothing around it, and the commits of EXACTLY_ONCE calls.
const ALONE_ONCE: &str = "the store alone, effect with reply";
/// Calls whose intent and reply are committed.
const TWICE: &str = "session, AT_MOST_ONCE, durable";
/// Calls whose effect is committed with their reply.
const ONCE: &str = "session, EXACTLY_ONCE";

/// How often the disk itself is asked.
const SYNCS: usize = 200;
/// Bytes of each write to it: a page of the file system.
const SYNC_BYTES: usize = 4_096;

/// The group.
pub(crate) struct Durable;

impl Group for Durable {
    fn name(&self) -> &'static str {
        "durable"
    }

    fn title(&self) -> &'static str {
        "Calls that are kept on the disk, embedded store, 1 connection"
    }

    fn unit(&self) -> &'static str {
        "calls"
    }

    fn contests(&self, scope: Scope) -> Vec<Contest> {
        let (sizes, in_flight): (&[usize], &[usize]) = match scope {
            Scope::Full => (&[16, 1_024], &[1, 64, 256]),
            Scope::Quick => (&[16], &[1, 64]),
        };
        let each = |size| in_flight.iter().map(move |&in_flight| contest(size, in_flight));
        sizes.iter().flat_map(|&size| each(size)).collect()
    }

    fn beside(&self, directory: &Path, _: Duration) -> Result<Vec<(String, f64)>, BenchError> {
        let mut times = sync_times(directory)?;
        times.sort_unstable();
        let at = |percent: usize| {
            times.get(times.len() * percent / 100).map_or(f64::NAN, |time| time.as_secs_f64() * 1e6)
        };
        let what = |which: &str| format!("fdatasync after a write of {SYNC_BYTES} bytes, {which}, µs");
        Ok(vec![(what("p50"), at(50)), (what("p99"), at(99))])
    }

    fn table(&self, result: &GroupResult) -> String {
        table::against_others(
            result,
            self.unit(),
            &[(TWICE, ALONE_TWICE), (ONCE, ALONE_ONCE)],
            "× store alone",
        )
    }
}

fn contest(size: usize, in_flight: usize) -> Contest {
    let alone = |name, transactions| {
        let case = Case::Commits(Commits { transactions, size, in_flight });
        Entry { name, variant: Variant::Session, durable: false, case }
    };
    let session = |name, delivery| {
        let case = Case::Unary(Unary { delivery, size, in_flight, connections: 1 });
        Entry { name, variant: Variant::Session, durable: true, case }
    };
    let entries = vec![
        alone(ALONE_TWICE, false),
        session(TWICE, Delivery::AtMostOnceDurable),
        alone(ALONE_ONCE, true),
        session(ONCE, Delivery::ExactlyOnce),
    ];
    Contest { name: format!("{size} B, {in_flight} in flight"), bytes: None, entries }
}

/// What the disk takes for the least that can be kept.
fn sync_times(directory: &Path) -> Result<Vec<Duration>, BenchError> {
    let path = directory.join("sync");
    let mut file = File::create(&path)?;
    // The file has its size before, as the journal of the store has: growing it is not what is measured.
    file.write_all(&vec![0; SYNC_BYTES * SYNCS])?;
    file.sync_all()?;
    file.rewind()?;
    let page = [1; SYNC_BYTES];
    let mut times = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        file.write_all(&page)?;
        let begin = Instant::now();
        file.sync_data()?;
        times.push(begin.elapsed());
    }
    std::fs::remove_file(path)?;
    Ok(times)
}
