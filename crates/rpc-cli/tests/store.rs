//! `rpcctl store` as scripts run it: output, errors, exit codes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use rpc_core::id::{Epoch, Sequence, SessionId, SlotId};
use rpc_core::record::{CallRecord, Change, SlotRecord, Write};
use rpc_core::store::{Store, suite};
use rpc_store::EmbeddedStore;
use serde_json::{Value, json};

/// A directory of its own, removed when the test ends.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("rpcctl-test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).expect("created");
        Self(path)
    }

    fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A store with two sessions, one of which remembers a call.
fn make_store(path: &Path) -> EmbeddedStore {
    let store = EmbeddedStore::open(path).expect("a new store");
    let write = |number, change| Write {
        session: SessionId::new(number).expect("from 1"),
        epoch: Epoch::FIRST,
        change,
    };
    let call = SlotRecord { slot: SlotId(0), sequence: Sequence(1), call: CallRecord::Settled };
    let batch = [
        write(1, Change::Create(suite::record(1))),
        write(2, Change::Create(suite::record(2))),
        write(2, Change::Slot(Box::new(call))),
    ];
    assert!(store.commit(&batch).expect("the store works").iter().all(Result::is_ok));
    store
}

fn rpcctl(arguments: &[&str], paths: &[&Path]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rpcctl")).args(arguments).args(paths).output().expect("it runs")
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).expect("text")
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).expect("text")
}

fn object(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).expect("one JSON object")
}

#[track_caller]
fn fails(arguments: &[&str], paths: &[&Path], code: i32, kind: &str, message: &str) {
    let output = rpcctl(arguments, paths);
    assert_eq!(output.status.code(), Some(code), "{}", stderr(&output));
    assert!(output.stdout.is_empty());
    assert!(stderr(&output).starts_with("rpcctl: "), "{}", stderr(&output));
    assert!(stderr(&output).contains(message), "{}", stderr(&output));
    assert_eq!(stderr(&output).lines().count(), 1, "{}", stderr(&output));
    let output = rpcctl(&[arguments, &["--json"]].concat(), paths);
    assert_eq!(output.status.code(), Some(code));
    assert_eq!(object(&output)["error"]["kind"], kind);
}

#[test]
fn check_reports_a_sound_store() {
    let scratch = Scratch::new();
    let path = scratch.join("sessions");
    let id = make_store(&path).id();
    let output = rpcctl(&["store", "check"], &[&path]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = stdout(&output);
    for expected in
        [&format!("store        {id}\n"), "sessions     2 live, 0 ended, ", "verdict      sound\n"]
    {
        assert!(text.contains(expected), "{text}");
    }
    let output = rpcctl(&["--json", "store", "check"], &[&path]);
    let object = object(&output);
    assert_eq!(object["store"], id.to_string());
    assert_eq!(object["sound"], true);
    assert_eq!((&object["contents"]["sessions_live"], &object["contents"]["slots"]), (&json!(2), &json!(1)));
}

#[test]
fn stats_counts_and_backup_copies() {
    let scratch = Scratch::new();
    let (path, copy) = (scratch.join("sessions"), scratch.join("copy"));
    drop(make_store(&path));
    let output = rpcctl(&["store", "stats"], &[&path]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stdout(&output).contains("slots        1 with a call, "), "{}", stdout(&output));
    let stats = object(&rpcctl(&["store", "stats", "--json"], &[&path]));

    let output = rpcctl(&["store", "backup", "--json"], &[&path, &copy]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(object(&output)["contents"], stats["contents"]);
    assert_ne!(object(&output)["store"], stats["store"]);
    let output = rpcctl(&["store", "check"], &[&copy]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    fails(&["store", "backup"], &[&path, &copy], 4, "not-empty", "is not empty");
}

#[test]
fn damage_is_named_and_has_its_exit_code() {
    let scratch = Scratch::new();
    let path = scratch.join("sessions");
    drop(make_store(&path));
    let journal = path.join("store/records/0.jnl");
    let mut bytes = fs::read(&journal).expect("readable");
    bytes[40] ^= 1;
    fs::write(&journal, bytes).expect("writable");
    for command in ["check", "stats"] {
        fails(&["store", command], &[&path], 1, "damaged", "0.jnl at byte 0");
    }
    fails(&["store", "backup"], &[&path, &scratch.join("copy")], 1, "damaged", "Restore a backup");
    assert!(!scratch.join("copy").exists());
}

#[test]
fn a_store_in_use_is_left_alone() {
    let scratch = Scratch::new();
    let path = scratch.join("sessions");
    let store = make_store(&path);
    for command in ["check", "stats"] {
        fails(&["store", command], &[&path], 3, "in-use", "is in use. Stop the server first");
    }
    drop(store);
}

#[test]
fn nothing_becomes_a_store_by_being_looked_at() {
    let scratch = Scratch::new();
    fs::write(scratch.join("letter.txt"), "dear").expect("written");
    let missing = scratch.join("missing");
    let empty = scratch.join("empty");
    fs::create_dir(&empty).expect("created");
    for path in [&scratch.0, &missing, &empty] {
        for command in ["check", "stats"] {
            fails(&["store", command], &[path], 4, "not-a-store", "no store");
        }
        fails(&["store", "backup"], &[path, &scratch.join("copy")], 4, "not-a-store", "no store");
    }
    assert!(!missing.exists() && !scratch.join("copy").exists());
    assert_eq!(fs::read_dir(&empty).expect("readable").count(), 0);
    assert_eq!(fs::read_dir(&scratch.0).expect("readable").count(), 2);
}

#[test]
fn wrong_arguments_are_explained() {
    for arguments in [&[][..], &["store"], &["store", "check"], &["store", "mend", "."]] {
        let output = rpcctl(arguments, &[]);
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains("Usage:"), "{}", stderr(&output));
    }
    let output = rpcctl(&["store", "--help"], &[]);
    assert!(stdout(&output).contains("1  the store is damaged"), "{}", stdout(&output));
}
