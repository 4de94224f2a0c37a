//! What the kernel is asked for: a commit is answered after the sync of its journal, and noted in between.

#![cfg(target_os = "linux")]

use std::env;
use std::fs;
use std::io::{self, Write as _};
use std::process::{Command, Stdio};

use rpc_core::id::{Epoch, SessionId};
use rpc_core::record::{Change, Write};
use rpc_core::store::{Store, suite};
use rpc_store::EmbeddedStore;

use crate::support::Scratch;

const DIRECTORY: &str = "RPC_STORE_TEST_TRACED";
const COMMITS: u64 = 50;

/// No seam of ours sees the kernel, so `strace` has to; without it there is nothing to see.
#[test]
fn a_commit_is_written_then_synced_then_noted_then_answered() {
    let is_there =
        Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_ok_and(|status| status.success());
    if !is_there {
        writeln!(io::stderr(), "SKIPPED: strace is not installed").expect("writable");
        return;
    }
    let scratch = Scratch::new();
    drop(EmbeddedStore::open(scratch.path()).expect("a new store"));
    let trace = scratch.path().with_extension("strace");
    let status = Command::new("strace")
        .args(["-f", "-y", "-s", "16", "-e", "trace=write,fdatasync", "-o"])
        .arg(&trace)
        .arg(env::current_exe().expect("this program"))
        .args(["--exact", "syscalls::commit_and_answer", "--ignored", "--nocapture"])
        .env(DIRECTORY, scratch.path())
        .stdout(Stdio::null())
        .status()
        .expect("it runs");
    let text = fs::read_to_string(&trace).expect("a trace");
    fs::remove_file(&trace).expect("removed");
    assert!(status.success());

    let steps: String = text.lines().filter_map(step).collect();
    let commits = steps.split_terminator('A').collect::<Vec<_>>();
    assert_eq!(commits.len() as u64, COMMITS, "{steps}");
    // A batch may take several writes. The first is preceded by what opening notes.
    for (number, commit) in commits.iter().enumerate() {
        let written = commit.trim_start_matches(if number == 0 { 'N' } else { ' ' }).trim_start_matches('W');
        assert_eq!(written, "SN", "commit {number}: {commit}");
    }
}

/// **W**rite to the journal, its **s**ync, **n**ote in the witness, **a**nswer.
fn step(line: &str) -> Option<char> {
    // With other threads about, a call may be told in two lines: a sync counts when it has returned.
    let begins = |call: &str, file: &str| {
        line.split_once(call)
            .is_some_and(|(_, rest)| rest.split(['>', ',']).next().is_some_and(|fd| fd.ends_with(file)))
    };
    if begins(" write(", ".jnl") {
        Some('W')
    } else if begins(" write(", "/acknowledged") {
        Some('N')
    } else if line.contains("write(1<") && line.contains("\"answered") {
        Some('A')
    } else if line.contains("fdatasync") && line.ends_with("= 0") {
        Some('S')
    } else {
        None
    }
}

#[test]
#[expect(clippy::print_stdout, reason = "the test above looks for it in the trace")]
#[ignore = "run by the test above, in a process of its own"]
fn commit_and_answer() {
    let store = EmbeddedStore::open(env::var_os(DIRECTORY).expect("run by the test above")).expect("a store");
    for number in 1..=COMMITS {
        let session = SessionId::new(number).expect("from 1");
        let create = Write { session, epoch: Epoch(1), change: Change::Create(suite::record(1)) };
        assert_eq!(store.commit(&[create]), Ok(vec![Ok(())]));
        println!("answered {number}");
    }
}
