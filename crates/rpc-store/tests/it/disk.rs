//! A medium that takes no more.

#![cfg(unix)]

use std::env;
use std::process::Command;

use rpc_core::id::{Epoch, SessionId};
use rpc_core::record::{Change, Write};
use rpc_core::store::{Store, StoreError, suite};
use rpc_store::EmbeddedStore;

use crate::support::Scratch;

const DIRECTORY: &str = "RPC_STORE_TEST_DIRECTORY";

fn batch(from: u64) -> Vec<Write> {
    (from..from + 16)
        .map(|number| Write {
            session: SessionId::new(number).expect("tests count from 1"),
            epoch: Epoch(1),
            change: Change::Create(suite::record(1)),
        })
        .collect()
}

/// The kernel lets a process of its own write files of 256 KiB and no longer. That is as much as a full disk can be had
/// without being root: the write fails in the middle of a batch.
#[test]
fn a_full_disk_closes_the_store_and_loses_nothing() {
    let scratch = Scratch::new();
    drop(EmbeddedStore::open(scratch.path()).expect("a new store"));
    let output = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 512; exec \"$0\" --exact disk::fill --ignored --nocapture"])
        .arg(env::current_exe().expect("this program"))
        .env(DIRECTORY, scratch.path())
        .output()
        .expect("a shell");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let acknowledged =
        text.lines().find_map(|line| line.split_once("acknowledged ")?.1.trim().parse::<usize>().ok());
    let acknowledged = acknowledged.expect("the process says how far it came");

    let store = EmbeddedStore::open(scratch.path()).expect("the commit that failed is cut off");
    assert_eq!(store.scan(None, usize::MAX).expect("works").len(), acknowledged);
    store.commit(&batch(1_000_000)).expect("there is space again");
}

#[test]
#[expect(clippy::print_stdout, reason = "the test above reads it")]
#[ignore = "run by the test above, in a process of its own"]
fn fill() {
    let directory = env::var_os(DIRECTORY).expect("run by the test above");
    let store = EmbeddedStore::open(directory).expect("there is space for that");
    let mut acknowledged = 0;
    let error = loop {
        match store.commit(&batch(acknowledged + 1)) {
            Ok(_) => acknowledged += 16,
            Err(error) => break error,
        }
        assert!(acknowledged < 100_000, "the disk is never full");
    };
    assert!(
        matches!(&error, StoreError::Failed(text) if text.contains("FileTooLarge") || text.contains("27")),
        "{error}"
    );
    assert!(matches!(store.commit(&batch(1)), Err(StoreError::Closed(_))));
    assert_eq!(store.scan(None, usize::MAX).expect("reads go on").len() as u64, acknowledged);
    println!("acknowledged {acknowledged}");
}
