//! What broke other systems that let conversations go on, case by case, and the test that shows what becomes of it here. The
//! table is checked: each test in it is there.
//!
//! | what went wrong | with whom | here |
//! | --- | --- | --- |
//! | resumed before anything was sent, and not recovered | Socket.IO #4888, #5538 | `crates/rpc-tests/tests/field/streams.rs::a_stream_goes_on_before_anything_was_said` |
//! | the old connection dies late, and takes the resumed session with it | Socket.IO #4880 | `crates/rpc-tests/tests/field/streams.rs::the_late_death_of_the_old_connection_harms_nothing` |
//! | one direction is recovered, the other is not | Socket.IO #5363 | `crates/rpc-tests/tests/streams/live.rs::a_chat_arrives_whole_and_once_both_ways_while_connections_are_cut` |
//! | a packet without a number shifts all positions after it | Socket.IO #5539 | `crates/rpc-tests/tests/field/streams.rs::frames_between_messages_move_no_position` |
//! | idle for longer than what is kept is kept, and then cut | Socket.IO #5282 | `crates/rpc-tests/tests/field/sessions.rs::idle_for_longer_than_the_linger_and_then_cut` |
//! | resumed at another server | rsocket-java #1116, SignalR (aspnetcore #61375) | `crates/rpc-tests/tests/field/sessions.rs::at_another_server_a_session_is_unknown_and_lives_on_at_its_own` |
//! | the server is restarted, and knows nobody | spring-boot #32062, rsocket-js #243 | `crates/rpc-crash/tests/it/killed.rs::a_server_that_is_killed_loses_nothing_and_does_nothing_twice` |
//! | the client waits for ever | rsocket-java #917 | `rpc-client/src/tests/calls.rs::a_call_without_a_deadline_is_given_up_after_the_retry_time` |
//! | the connection goes on, and a stream on it does not | rsocket-java #637 | `crates/rpc-tests/tests/streams/live.rs::a_stream_on_a_link_that_falls_silent_goes_on_over_another` |
//! | wrong positions end the session that lives | rsocket-java, RESUME | `crates/rpc-tests/tests/resumption/by_hand.rs::a_place_that_leaves_a_gap_is_refused_and_the_older_attempt_goes_on` |
//! | whoever shows a token that is in use ends its owner's session | rsocket-java, SETUP | `crates/rpc-tests/tests/bad_input/alike.rs::a_ticket_in_the_hands_of_another_principal_opens_nothing` |
//! | an old token is shown again | WAMP, by design | `crates/rpc-tests/tests/session_service/renew.rs::the_old_ticket_is_good_until_the_new_one_was_used` |
//! | the buffer is full, and the oldest is dropped | rsocket-java, EMQX | `rpc-client/src/tests/streams.rs::a_reader_that_stops_holds_the_sender_within_the_window_and_keeps_its_slot` |
//! | more is acknowledged than was sent | SignalR, an open question in its source | `rpc-core/src/stream/sender/tests.rs::what_was_never_sent_is_neither_confirmed_nor_received` |
//! | a gap is taken for nothing | an in-process message buffer without numbers | `rpc-core/src/stream/receiver/tests.rs::gaps_and_places_that_are_not_stated_are_refused` |
//! | a ping waits for its answer across a break, for ever | clients that keep it in one table | `rpc-client/src/tests/keeping.rs::a_connection_that_answers_no_keepalive_is_attached_again` |
//! | an interrupted call leaves its number to another one | Linux NFSv4.1 client | `rpc-client/src/tests/calls.rs::a_cancelled_call_is_settled_before_its_slot_is_used_again` |
//! | the kept reply is not sent to the retry | FreeBSD NFSv4.1 server | `crates/rpc-tests/tests/calls/lost.rs::a_reply_lost_on_the_way_is_replayed` |
//! | a session that nobody knows is accepted, or made anew | Kafka's idempotent producer, Viam | `crates/rpc-tests/tests/bad_input/alike.rs::unknown_foreign_and_ended_sessions_answer_alike_to_the_byte` |
//! | two clients take a session from each other, without end | ZooKeeper | `crates/rpc-tests/tests/field/streams.rs::two_that_take_a_stream_from_each_other_come_to_an_end` |
//! | a blocked user comes back, since a resumption asks for no right | Socket.IO `skipMiddlewares` | `crates/rpc-tests/tests/resumption/authority.rs::a_resumed_attempt_is_authorized_again_before_anything_is_delivered` |
//! | nobody knows whether the last commit before a failover was made | before Oracle's Transaction Guard | `crates/rpc-crash/tests/it/resumed.rs::a_process_goes_on_with_the_session_of_one_that_died` |
//! | everybody comes back at once | the reason for Centrifugo's history | `crates/rpc-tests/tests/field/sessions.rs::ten_thousand_sessions_come_back_at_once` |
//! | GOAWAY, or the connection's age, in the middle of a stream | grpc-go #2767, #4597, #6232; grpc-rust #2877 | `crates/rpc-tests/tests/field/streams.rs::streams_outlive_the_age_of_their_connections` |
//! | bodies of a byte a second | resumable uploads, section on security | `crates/rpc-tests/tests/attacks/slow.rs::bodies_that_come_a_byte_at_a_time_are_never_admitted_and_end_in_time` |
//! | the store is down, and calls run without it | deduplication that fails open | `crates/rpc-crash/tests/it/failing.rs::nobody_is_told_what_a_failed_store_may_have_lost` |
#![expect(clippy::unwrap_used, reason = "a test says by panicking that something went wrong")]

mod sessions;
mod streams;

use std::path::Path;

/// Rows of the table above.
const CASES: usize = 26;

/// The last cell of each row: a file and a test in it.
fn tests() -> Vec<(&'static str, &'static str)> {
    let rows = include_str!("main.rs").lines().filter_map(|line| line.strip_prefix("//! | "));
    let cells = rows.filter_map(|row| row.strip_suffix("` |")?.rsplit_once('`').map(|(_, test)| test));
    cells.map(|cell| cell.split_once("::").unwrap()).collect()
}

#[test]
fn every_case_has_its_test() {
    let tests = tests();
    assert_eq!(tests.len(), CASES);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for (file, name) in tests {
        let text = std::fs::read_to_string(root.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        let mut lines = text.lines().map(str::trim_start);
        let defined = lines.position(|line| {
            let line = line.strip_prefix("async ").unwrap_or(line);
            line.strip_prefix("fn ")
                .and_then(|line| line.strip_prefix(name))
                .is_some_and(|rest| rest.starts_with('('))
        });
        let defined = defined.unwrap_or_else(|| panic!("{file} has no {name}"));
        let above: Vec<_> = text.lines().take(defined).skip(defined.saturating_sub(8)).collect();
        let is_test = above.iter().any(|line| line.contains("test]") || line.contains("test("));
        assert!(is_test, "{name} in {file} is no test");
    }
}
