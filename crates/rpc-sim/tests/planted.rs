//! Plants one fault of [`rpc_core::planted`] after another, and runs the tests that are to find it.
//!
//! `cargo planted` does all of that and prints a table; `SESSION_PLANTED=TwoOwners cargo planted` does one. The tests are those
//! of the workspace as they are: each runs in a process of its own, once with the fault, where it has to fail, and once
//! without, where it has to pass.
#![cfg(session_planted)]

mod harness;

use std::sync::Mutex;
use std::thread;

use harness::{Binaries, Found, Shown, Test};
use rpc_core::planted::Bug;

/// What `cargo planted` runs, by the names of their binaries.
const CORE: &str = "rpc_core";
const SERVER: &str = "rpc_server";
const CLIENT: &str = "rpc_client";
/// Of rpc-store.
const STORE: &str = "it";

const CONFORMANCE: Test = Test::of(CORE, "store::memory::tests::passes_the_suite");
const CONFORMANCE_ON_DISK: Test = Test::of(STORE, "model::passes_the_suite");
const SLOTS: Test = Test::of(CORE, "session::tests::slots_model::the_slots_do_what_the_list_says");
const SESSIONS: Test = Test::of(CORE, "registry::tests::model::the_sessions_do_what_the_list_says");
const DIALOGS: Test =
    Test::of(CORE, "dialog::tests::random::every_dialog_comes_to_what_the_model_says_whatever_the_link_does");
const STREAMS: Test =
    Test::of(CORE, "stream::tests::seeds::every_call_ends_with_every_message_once_whatever_the_link_does");
const TALKS: Test =
    Test::of(CORE, "stream::tests::dialogs::every_dialog_comes_to_its_end_whatever_the_connection_does");

/// Who finds it: each of these alone. A fault that nobody looks for does not compile.
fn finders(bug: Bug) -> Vec<Test> {
    let core = |test| Test::of(CORE, test);
    let sim = Test::simulation;
    match bug {
        Bug::IntentNotWritten | Bug::HandlerBeforeIntent => vec![
            sim(1),
            core("session::tests::durable::a_handler_waits_for_the_intent_and_the_answer_for_the_reply"),
        ],
        Bug::ReplyBeforeRecord => vec![
            sim(1),
            core("session::tests::durable::a_handler_waits_for_the_intent_and_the_answer_for_the_reply"),
        ],
        Bug::FailureNotRecorded => {
            vec![core("session::tests::slots::a_failure_is_recorded_and_told_again_like_any_reply")]
        }
        Bug::StopNotRecorded => {
            vec![core("session::tests::durable::stopped::a_stopped_call_is_unknown_at_a_later_server_too")]
        }
        Bug::SettledBeforeRecord => {
            vec![core("session::tests::durable::settling_is_answered_when_it_is_durable")]
        }
        Bug::EpochNotCompared => vec![sim(1), CONFORMANCE],
        Bug::ReadsNotCompared => vec![sim(1), CONFORMANCE],
        Bug::EpochNotComparedOnDisk | Bug::ReadsNotComparedOnDisk => vec![CONFORMANCE_ON_DISK],
        Bug::EpochNotRaised => {
            vec![core("session::tests::durable::the_first_request_of_the_owner_takes_the_session_over")]
        }
        Bug::NumbersNotStored => {
            vec![Test::of(STORE, "crash::a_killed_process_loses_nothing_that_it_acknowledged")]
        }
        Bug::SyncSkipped => {
            vec![Test::of(STORE, "syscalls::a_commit_is_written_then_synced_then_noted_then_answered")]
        }
        Bug::SequenceSkipped | Bug::AttemptNotCompared => vec![SLOTS],
        Bug::FingerprintNotCompared => vec![sim(40), SLOTS],
        Bug::BegunNotExecuted | Bug::BegunRunsAgain => vec![
            sim(1),
            core("session::tests::durable::what_was_begun_by_a_server_that_is_gone_is_unknown_or_runs_again"),
        ],
        Bug::MemoryNotDoubted => {
            vec![sim(1), core("initiator::resolution::tests::a_resolved_slot_is_the_next_processs_alone")]
        }
        Bug::CancelledSlotReused => {
            vec![sim(1), core("initiator::calls::tests::the_table_does_what_the_model_does")]
        }
        Bug::QuarantineForEver => vec![
            sim(1),
            Test::of(CLIENT, "tests::calls::a_cancelled_call_is_settled_before_its_slot_is_used_again"),
        ],
        Bug::OldAttemptGoesOn => vec![STREAMS],
        Bug::EndedOpensAgain => vec![
            SESSIONS,
            core("registry::tests::the_nonce_of_an_ended_session_opens_nothing_until_it_is_forgotten"),
        ],
        Bug::ExpiredGoesOn => vec![
            SESSIONS,
            core("session::tests::life::a_session_whose_time_is_over_is_not_entered_although_nobody_woke_it"),
        ],
        Bug::TicketVoidedEarly | Bug::TicketNotVoided => vec![
            SESSIONS,
            core("session::tickets::tests::the_old_ticket_is_valid_until_the_new_one_was_used_once"),
        ],
        Bug::TicketPrefix => vec![SESSIONS, core("id::tests::each_byte_of_a_ticket_counts")],
        Bug::RenewedByAnother => {
            vec![SESSIONS, core("session::tests::life::another_principals_token_renews_nothing")]
        }
        Bug::PrincipalNotCompared => vec![Test::of(
            SERVER,
            "layers::session::tests::the_ticket_is_of_no_use_with_the_token_of_another_principal",
        )],
        Bug::ReleaseDuringCall => vec![
            sim(1),
            core("session::tests::life::a_release_waits_for_running_calls_and_admits_no_new_ones"),
        ],
        Bug::RefusalChanges => vec![core(
            "session::tests::life::a_release_that_takes_too_long_is_refused_where_that_was_negotiated",
        )],
        Bug::ExclusiveAdmitsTwo => {
            vec![sim(1), core("exclusive::tests::model::the_queues_do_what_the_lists_say")]
        }
        Bug::DeadlineNotPassedOn => {
            vec![Test::of(CLIENT, "deadline::tests::an_attempt_says_what_is_left")]
        }
        Bug::DeadlineNotOnStreams => vec![Test::of(
            SERVER,
            "layers::deadline::tests::a_stream_over_its_time_ends_with_the_status_and_without_its_handler",
        )],
        Bug::FreedOnReceived => vec![sim(1), STREAMS, TALKS],
        Bug::PointBeforeRecord => vec![
            sim(1),
            core(
                "stream::tests::seeds::every_durable_call_ends_with_every_message_once_however_often_its_server_crashes",
            ),
        ],
        Bug::ConfirmedBeyondSent => {
            vec![core("stream::sender::tests::what_was_never_sent_is_neither_confirmed_nor_received")]
        }
        Bug::DigestNotCompared => {
            vec![core("stream::sender::tests::a_peer_with_other_messages_has_diverged")]
        }
        Bug::PointDigestNotCompared => vec![core(
            "stream::receiver::tests::damage_is_found_at_the_next_point_and_nothing_after_it_is_delivered",
        )],
        Bug::EndNotCompared => {
            vec![core("stream::receiver::tests::only_end_at_the_place_reached_is_an_end")]
        }
        Bug::CreditIgnored => vec![STREAMS, TALKS],
        Bug::GenerationNotCompared => {
            vec![core("stream::tests::restored::an_older_generation_is_not_listened_to")]
        }
        Bug::OldGenerationDelivered => vec![TALKS],
        Bug::MajorNotAwaited | Bug::DataOutOfTurn => vec![sim(1), TALKS],
        Bug::TokenGenerationIgnored => {
            vec![DIALOGS, core("dialog::tests::violations::a_transfer_that_is_not_newer_has_no_effect")]
        }
        Bug::TwoOwners => vec![sim(60), DIALOGS, TALKS],
        Bug::CollisionReversed => vec![DIALOGS, TALKS],
    }
}

/// One row of the table.
struct Row {
    bug: Bug,
    test: Test,
    found: Result<Found, String>,
}

#[test]
fn every_planted_bug_is_found() {
    let wanted = harness::wanted();
    let jobs: Vec<_> = Bug::ALL
        .iter()
        .filter(|bug| wanted.as_ref().is_none_or(|wanted| *wanted == format!("{bug:?}")))
        .flat_map(|bug| finders(*bug).into_iter().map(|test| (*bug, test)))
        .collect();
    assert!(!jobs.is_empty(), "{wanted:?} is no fault: {:?}", Bug::ALL);
    let binaries = Binaries::build();
    let (left, rows) = (Mutex::new(jobs.into_iter().enumerate()), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let Some((number, (bug, test))) = left.lock().expect("no panic").next() else { return };
                    let found = binaries.finds(&test, bug);
                    rows.lock().expect("no panic").push((number, Row { bug, test, found }));
                }
            });
        }
    });
    let mut rows = rows.into_inner().expect("no panic");
    rows.sort_by_key(|(number, _)| *number);
    harness::show(rows.iter().map(|(_, Row { bug, test, found })| Shown { bug: *bug, test, found }));
    let failed: Vec<_> = rows.iter().filter(|(_, row)| row.found.is_err()).map(|(_, row)| row.bug).collect();
    assert!(failed.is_empty(), "not found: {failed:?}");
}

/// Who reads of them learns of all of them.
#[test]
fn the_documentation_names_each_of_them() {
    let text = include_str!("../../../docs/proof.md");
    for bug in Bug::ALL {
        assert!(text.contains(&format!("| `{bug:?}` |")), "docs/proof.md does not say who finds {bug:?}");
    }
}
