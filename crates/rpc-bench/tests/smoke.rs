//! Every case with everybody who takes part, for a moment: that each does what it says, not how fast.

use std::collections::BTreeSet;
use std::process::Command;

/// Runs the driver and answers its JSON.
fn measured(group: &str) -> serde_json::Value {
    let directory = tempfile::tempdir().expect("the report is whole");
    let json = directory.path().join("figures.json");
    let mut driver = Command::new(env!("CARGO_BIN_EXE_rpc-bench"));
    driver.args([group, "--no-build", "--rounds", "1", "--seconds", "0.03", "--json"]).arg(&json);
    let output = driver.output().expect("the report is whole");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&std::fs::read(json).expect("the report is whole")).expect("the report is whole")
}

/// Takes part where only one side sends.
const READ_AGAIN: &str = "session, each MiB, source read again";
/// Takes part where both do.
const DIALOG: &str = "session, each MiB, dialog";

/// Each contest of the group has all of these, each with its round. A driver that failed has failed the test already.
#[track_caller]
fn complete(group: &str, contests: usize, who: &[&str]) {
    let report = measured(group);
    let measured = report["groups"][0]["contests"].as_array().expect("the report is whole");
    assert_eq!(measured.len(), contests);
    for contest in measured {
        let entries = contest["entries"].as_array().expect("the report is whole");
        let names: BTreeSet<_> =
            entries.iter().map(|entry| entry["name"].as_str().expect("the report is whole")).collect();
        let name = contest["name"].as_str().expect("the report is whole");
        let both = name.starts_with("both ways");
        let is_there = |who: &&str| match *who {
            READ_AGAIN => !both,
            DIALOG => both,
            _ => true,
        };
        assert_eq!(names, who.iter().copied().filter(is_there).collect(), "{name}");
        for entry in entries {
            assert!(
                entry["rounds"][0]["client"]["operations"].as_u64().expect("the report is whole") > 0,
                "{entry}"
            );
        }
    }
}

#[test]
fn calls() {
    let who = [
        "tonic, as started",
        "tonic, best",
        "raw h2",
        "session, plain",
        "session, AT_LEAST_ONCE",
        "session, AT_MOST_ONCE, memory",
    ];
    complete("unary", 10, &who);
}

#[test]
fn streams() {
    let who = [
        "tonic, as started",
        "tonic, best",
        "raw h2",
        "session, plain",
        "session, a point each 40 messages",
        "session, a point each MiB",
        "session, each MiB, BLAKE3",
        READ_AGAIN,
        DIALOG,
    ];
    complete("streams", 12, &who);
}

#[test]
fn durable() {
    let who = [
        "the store alone, intent + reply",
        "session, AT_MOST_ONCE, durable",
        "the store alone, effect with reply",
        "session, EXACTLY_ONCE",
    ];
    complete("durable", 6, &who);
}
