//! A process killed while it commits.

use std::env;
use std::io::{BufRead, BufReader};
use std::num::NonZeroU32;
use std::process::{Command, Stdio};

use rpc_core::id::{Epoch, SessionId};
use rpc_core::record::{Change, Write};
use rpc_core::store::{Store, suite};
use rpc_store::EmbeddedStore;

use crate::support::Scratch;

const DIRECTORY: &str = "RPC_STORE_TEST_KILLED";
const BATCH: u64 = 8;

/// What the process said it had committed is there, and at most the one batch more that it could not speak of any more.
#[test]
fn a_killed_process_has_kept_what_it_said() {
    let scratch = Scratch::new();
    let mut said = 0;
    for lines in [1, 2, 7, 40, 111] {
        let mut child = Command::new(env::current_exe().expect("this program"))
            .args(["--exact", "kill::commit_and_say", "--ignored", "--nocapture"])
            .env(DIRECTORY, scratch.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program runs");
        let mut output = BufReader::new(child.stdout.take().expect("piped")).lines();
        let last_said = |line: std::io::Result<String>| line.ok()?.strip_prefix("said ")?.parse::<u64>().ok();
        let begun: Vec<_> = output.by_ref().filter_map(last_said).take(lines).collect();
        child.kill().expect("it runs until it is killed");
        child.wait().expect("it was killed");
        said = output.filter_map(last_said).chain(begun).max().unwrap_or(said);

        let store = EmbeddedStore::open(scratch.path()).expect("what a killed process leaves is a store");
        let found = store.scan(None, usize::MAX).expect("works");
        let last = found.last().map_or(0, |(session, _)| session.value());
        assert!(last == said || last == said + BATCH, "said {said}, found {last}");
        assert_eq!(found.len() as u64, last, "whole batches, without a gap");
        let next = store.reserve_numbers(NonZeroU32::MIN).expect("works").start;
        assert!(next > last, "number {next} was given before");
    }
}

#[test]
#[expect(clippy::print_stdout, reason = "the test above reads it")]
#[ignore = "run by the test above, in a process of its own"]
fn commit_and_say() {
    let store = EmbeddedStore::open(env::var_os(DIRECTORY).expect("run by the test above")).expect("a store");
    let found = store.scan(None, usize::MAX).expect("works");
    let mut last = found.last().map_or(0, |(session, _)| session.value());
    loop {
        store.reserve_numbers(NonZeroU32::new(BATCH as u32).expect("not 0")).expect("works");
        let batch: Vec<_> = (last + 1..=last + BATCH)
            .map(|number| Write {
                session: SessionId::new(number).expect("from 1"),
                epoch: Epoch(1),
                change: Change::Create(suite::record(1)),
            })
            .collect();
        store.commit(&batch).expect("works");
        last += BATCH;
        println!("said {last}");
    }
}
