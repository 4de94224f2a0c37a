//! The way between messages of the session service and core types.

use std::collections::BTreeMap;
use std::time::Duration;

use rpc_core::activity;
use rpc_core::config::Terms;
use rpc_core::error::Reason;
use rpc_core::id::{CallId, Sequence};
use rpc_core::record;
use rpc_core::session::{CallState, Kept};
use rpc_core::stream::position::Position;
use rpc_core::stream::secured::Resumption;
use rpc_proto::frames::resumption_to_wire;
use rpc_proto::pb::session::v1::query_response::State;
use rpc_proto::pb::session::v1::{
    self as pb, AbortResponse, AbortedCall, QueryResponse, ReleaseResponse, Reply, ServerLimits,
};
use rpc_proto::status::Refusal;

use crate::layers::admission::recorded::describe;

/// The longest duration that protobuf has, in seconds.
const LONGEST_S: i64 = 315_576_000_000;

/// A duration as a message. One that does not fit is as good as endless, and is sent as the longest that protobuf has.
pub(super) fn duration(duration: Duration) -> prost_types::Duration {
    prost_types::Duration::try_from(duration)
        .ok()
        .filter(|duration| duration.seconds < LONGEST_S)
        .unwrap_or(prost_types::Duration { seconds: LONGEST_S, nanos: 0 })
}

/// A duration of a request.
//= O-11
pub(super) fn optional_duration(
    field: &str,
    duration: Option<prost_types::Duration>,
) -> Result<Option<Duration>, Refusal> {
    let Some(duration) = duration else { return Ok(None) };
    let invalid = || Refusal::new(Reason::FieldInvalid, format!("{field} is not a duration from 0"));
    if !(0..=LONGEST_S).contains(&duration.seconds) || !(0..1_000_000_000).contains(&duration.nanos) {
        return Err(invalid());
    }
    Duration::try_from(duration).map(Some).map_err(|_| invalid())
}

/// The server's limits, for a refused negotiation.
pub(super) fn limits(terms: &Terms) -> ServerLimits {
    ServerLimits {
        versions: terms.versions.to_vec(),
        lease_min: Some(duration(terms.lease.min)),
        lease_max: Some(duration(terms.lease.max)),
        linger_max: Some(duration(terms.linger.max)),
        slots_max: terms.slots.max,
        reply_bytes_max: terms.reply_bytes.max,
        window_bytes_max: terms.window_bytes.max,
    }
}

/// The answer to a query of a call.
//= C-34
pub(super) fn query_response(
    state: &CallState,
    last: Sequence,
    resumption: Option<&Resumption>,
    waits_behind: u32,
) -> QueryResponse {
    let reply = match state {
        CallState::Done(kept) => Some(reply(kept)),
        CallState::Absent
        | CallState::NotExecuted
        | CallState::Running
        | CallState::Unknown
        | CallState::Forgotten => None,
    };
    let resumption = resumption.map(resumption_to_wire);
    QueryResponse { state: call_state(state).into(), reply, last_sequence: last.0, resumption, waits_behind }
}

/// The answer to a query of an activity.
pub(super) fn activity_response(activity: &activity::State) -> QueryResponse {
    let (state, resumption, reply) = match activity {
        activity::State::Absent => (State::Absent, None, None),
        activity::State::Running(_) => (State::Running, None, None),
        activity::State::Interrupted(at) => (State::Interrupted, Some(resumption_to_wire(at)), None),
        activity::State::Done(at, kept) => (State::Done, Some(resumption_to_wire(at)), Some(reply(kept))),
    };
    QueryResponse { state: state.into(), reply, last_sequence: 0, resumption, waits_behind: 0 }
}

fn reply(kept: &Kept) -> Reply {
    let (reply, dropped) = match kept {
        Kept::Whole(reply) => (reply, false),
        Kept::StatusOnly(reply) => (reply, true),
    };
    let (code, message, response) = describe(reply);
    Reply { code, message, response, dropped }
}

/// What was exchanged in a session that is released.
//= L-37
pub(super) fn release_response(summary: &record::Summary) -> ReleaseResponse {
    let record::Summary { calls, done, failed, unknown, requests, responses } = *summary;
    let position = |Position { messages, bytes }| pb::Position { messages, bytes };
    ReleaseResponse {
        summary: Some(pb::Summary {
            calls,
            calls_done: done,
            calls_failed: failed,
            calls_unknown: unknown,
            requests: Some(position(requests)),
            responses: Some(position(responses)),
        }),
    }
}

/// What became of the calls of an aborted session.
//= L-42
pub(super) fn abort_response(
    calls: &[(CallId, CallState)],
    places: &BTreeMap<CallId, Resumption>,
) -> AbortResponse {
    let calls = calls.iter().map(|(call, state)| AbortedCall {
        slot: call.slot.0,
        sequence: call.sequence.0,
        state: call_state(state).into(),
        resumption: places.get(call).map(resumption_to_wire),
    });
    AbortResponse { calls: calls.collect() }
}

fn call_state(state: &CallState) -> State {
    match state {
        CallState::Absent => State::Absent,
        CallState::NotExecuted => State::NotExecuted,
        CallState::Running => State::Running,
        CallState::Done(_) => State::Done,
        CallState::Unknown => State::Unknown,
        CallState::Forgotten => State::Forgotten,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    //= test O-11
    #[test]
    fn a_duration_that_is_none_is_refused() {
        let parse =
            |seconds, nanos| optional_duration("lease", Some(prost_types::Duration { seconds, nanos }));
        assert_eq!(parse(1, 500_000_000).unwrap(), Some(Duration::from_millis(1_500)));
        assert_eq!(parse(0, 0).unwrap(), Some(Duration::ZERO));
        for (seconds, nanos) in
            [(-1, 0), (0, -1), (1, -1), (0, 1_000_000_000), (i64::MIN, i32::MIN), (LONGEST_S + 1, 0)]
        {
            assert!(parse(seconds, nanos).is_err(), "{seconds} {nanos}");
        }
        assert!(optional_duration("lease", None).unwrap().is_none());
    }

    #[test]
    fn an_endless_duration_is_the_longest_that_can_be_said() {
        assert_eq!(duration(Duration::MAX).seconds, 315_576_000_000);
        assert_eq!(
            duration(Duration::from_millis(1_500)),
            prost_types::Duration { seconds: 1, nanos: 500_000_000 }
        );
    }
}
