//! What happens to sessions beside calls and streams: that each group measures it, not how fast.
#![expect(clippy::unwrap_used, reason = "a test says by panicking that something went wrong")]

use std::process::Command;

/// Runs the driver with the smallest cases of a group and answers its contests. A driver that failed fails the test.
#[track_caller]
fn measured(group: &str, options: &[&str]) -> Vec<serde_json::Value> {
    let directory = tempfile::tempdir().unwrap();
    let json = directory.path().join("figures.json");
    let mut driver = Command::new(env!("CARGO_BIN_EXE_rpc-bench"));
    driver.args([group, "--no-build", "--smallest"]).args(options).arg("--json").arg(&json);
    let output = driver.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    report["groups"][0]["contests"].as_array().unwrap().clone()
}

/// A figure of the last entry of a contest.
#[track_caller]
fn figure(contest: &serde_json::Value, name: &str) -> f64 {
    let entry = contest["entries"].as_array().unwrap().last().unwrap();
    entry["rounds"][0]["client"]["extra"][name].as_f64().unwrap()
}

const SHORT: [&str; 4] = ["--rounds", "1", "--seconds", "0.05"];

#[test]
fn sessions_begin() {
    let contests = measured("opening", &SHORT);
    assert_eq!(contests.len(), 3);
    assert!(figure(&contests[2], "sessions used") > 0.0);
}

#[test]
fn streams_go_on() {
    let contests = measured("resume", &["--rounds", "1", "--seconds", "0.4", "--who", "40 messages"]);
    assert_eq!(contests.len(), 3);
    for contest in &contests {
        assert!(figure(contest, "cuts") > 0.0, "{contest}");
    }
}

#[test]
fn clients_come_back() {
    let contests = measured("storm", &SHORT);
    assert!(figure(&contests[0], "all answered ms") > 0.0);
}

#[test]
fn sessions_are_idle() {
    let contests = measured("idle", &SHORT);
    assert_eq!((figure(&contests[0], "sessions"), figure(&contests[1], "sessions")), (100.0, 20.0));
}

#[test]
fn everything_goes_on_at_once() {
    let contests = measured("steady", &["--rounds", "1", "--seconds", "0.5"]);
    assert!(figure(&contests[0], "sessions") > 0.0);
}
