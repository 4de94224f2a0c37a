//! Every state that a scenario can reach, and every invariant in each.
//!
//! The large scenarios, more than a million states together, are for `cargo test --profile sim -p rpc-model -- --ignored`.

use rpc_core::session::Keeping;
use rpc_model::{Admission, Bounds, Scenario};
use stateright::{Checker, HasDiscoveries, Model};

const STORE: Keeping = Keeping::Store { idempotent: false };
const IDEMPOTENT: Keeping = Keeping::Store { idempotent: true };
const MEMORY: Keeping = Keeping::Memory;
const TRANSACTION: Keeping = Keeping::Transaction;

/// Far more than any scenario here has.
const STATES_MAX: usize = 20_000_000;

/// Explores the scenario to its end, and shows the shortest way to what is not as it must be.
#[track_caller]
#[expect(clippy::print_stdout, reason = "how much was explored is what the run is to show")]
fn holds(name: &str, scenario: Scenario) {
    let checker = Admission(scenario)
        .checker()
        .finish_when(HasDiscoveries::AnyFailures)
        .target_state_count(STATES_MAX)
        .spawn_bfs()
        .join();
    println!("{name}: {} states, {} steps", checker.unique_state_count(), checker.state_count());
    if let Some((invariant, path)) = checker.discoveries().into_iter().next() {
        panic!("{name}: {invariant} does not hold after {:#?}", path.into_actions());
    }
    assert!(checker.state_count() < STATES_MAX, "{name} was not explored to its end");
}

fn bounds(breaks: u8, crashes: u8) -> Bounds {
    Bounds { breaks, crashes, ..Bounds::default() }
}

#[test]
fn one_call_of_each_kind_under_breaks_and_crashes() {
    for (name, keeping) in [("durable", STORE), ("idempotent", IDEMPOTENT), ("transaction", TRANSACTION)] {
        holds(name, Scenario::new(&[keeping], bounds(2, 2)));
    }
    holds("memory", Scenario::new(&[MEMORY], bounds(2, 2)).directly_connected());
}

#[test]
fn one_call_under_a_takeover() {
    let takeover = Bounds { takeovers: 1, ..bounds(1, 1) };
    for (name, keeping) in [("durable", STORE), ("idempotent", IDEMPOTENT), ("transaction", TRANSACTION)] {
        holds(name, Scenario::new(&[keeping], takeover));
    }
}

#[test]
#[ignore = "large: see the top of the file"]
fn calls_under_breaks_crashes_duplicates_and_cancellation() {
    let faults = Bounds { cancels: 1, duplicates: 1, ..bounds(1, 1) };
    holds("durable, durable", Scenario::new(&[STORE, STORE], faults));
    let faults = Bounds { cancels: 1, ..bounds(1, 1) };
    holds("idempotent, durable", Scenario::new(&[IDEMPOTENT, STORE], faults));
    holds("transaction, durable", Scenario::new(&[TRANSACTION, STORE], faults));
    let faults = Bounds { cancels: 1, ..bounds(1, 2) };
    holds("memory, memory", Scenario::new(&[MEMORY, MEMORY], faults).directly_connected());
}

#[test]
#[ignore = "large: see the top of the file"]
fn calls_of_two_processes() {
    let faults = Bounds { deaths: 1, ..bounds(1, 2) };
    let scenario = Scenario::new(&[STORE, MEMORY, MEMORY], faults).last_by_another_process(1);
    holds("durable, memory | memory", scenario.directly_connected());
    let scenario = Scenario::new(&[MEMORY, MEMORY], faults).last_by_another_process(1);
    holds("memory | memory", scenario.directly_connected());
}

#[test]
#[ignore = "large: see the top of the file"]
fn calls_under_a_takeover() {
    let takeover = Bounds { takeovers: 1, cancels: 1, ..bounds(1, 0) };
    holds("takeover, durable", Scenario::new(&[STORE, STORE], takeover));
    holds("takeover, transactions", Scenario::new(&[TRANSACTION, TRANSACTION], takeover));
    holds("takeover, idempotent", Scenario::new(&[IDEMPOTENT, IDEMPOTENT], takeover));
    let takeover = Bounds { takeovers: 1, ..bounds(1, 1) };
    holds("takeover and crash, durable", Scenario::new(&[STORE, IDEMPOTENT], takeover));
    holds("takeover and crash, transaction", Scenario::new(&[TRANSACTION, STORE], takeover));
}

#[test]
#[ignore = "large: see the top of the file"]
fn calls_in_a_session_that_ends_and_under_forged_requests() {
    let ends = Bounds { ends: 1, ..bounds(1, 1) };
    holds("expiry", Scenario::new(&[STORE, TRANSACTION], ends));
    let forged = Bounds { forgeries: 1, ..bounds(1, 1) };
    holds("forged, durable", Scenario::new(&[STORE, STORE], forged));
    holds("forged, transaction", Scenario::new(&[TRANSACTION, TRANSACTION], forged));
}
