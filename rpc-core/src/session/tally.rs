//! What was exchanged in a session, and which flows of it are not secured yet.

use crate::error::Code;
use crate::id::CallId;
use crate::record::{CallRecord, SlotRecord, Summary};
use crate::stream::position::Position;

/// Counts calls and flows, as far as this server knows them.
#[derive(Debug, Clone, Hash, Default)]
pub(super) struct Tally {
    calls: u64,
    done: u64,
    failed: u64,
    /// Made for the first stream.
    flows: Option<Box<Flows>>,
}

/// The streams of a session. Most sessions have none.
#[derive(Debug, Clone, Hash, Default)]
struct Flows {
    requests: Position,
    responses: Position,
    /// Those of which not everything is secured: at most one for each slot.
    open: Vec<CallId>,
}

impl Tally {
    /// Of a session whose server is gone: the last calls of its slots are what is known of that time.
    pub(super) fn restore(slots: &[SlotRecord]) -> Self {
        let mut tally = Self::default();
        for slot in slots {
            match &slot.call {
                CallRecord::Begun(_)
                | CallRecord::Streaming(..)
                | CallRecord::Working(..)
                | CallRecord::Unknown(_) => tally.begun(),
                CallRecord::Done(_, reply) | CallRecord::ReplyDropped(_, reply) => {
                    tally.begun();
                    tally.ended(reply.code);
                }
                CallRecord::Streamed(_, kept, end) => {
                    tally.begun();
                    tally.ended(kept.reply().code);
                    let position = |point: &Option<_>| point.as_ref().map_or(Position::ORIGIN, at);
                    let flows = tally.flows.get_or_insert_default();
                    flows.exchanged(position(&end.requests), position(&end.responses));
                }
                CallRecord::Settled => {}
            }
        }
        tally
    }

    /// A call was admitted.
    pub(super) fn begun(&mut self) {
        self.calls += 1;
    }

    /// It was not, after all: the store did not hear of it, and its handler has not run.
    pub(super) fn retracted(&mut self) {
        self.calls = self.calls.saturating_sub(1);
    }

    /// The handler of a call came to its end with this gRPC status.
    pub(super) fn ended(&mut self, code: u8) {
        if code == Code::Ok as u8 {
            self.done += 1;
        } else {
            self.failed += 1;
        }
    }

    /// The stream of a call begins.
    pub(super) fn flow_begun(&mut self, call: CallId) {
        let open = &mut self.flows.get_or_insert_default().open;
        if !open.contains(&call) {
            open.push(call);
        }
    }

    /// Everything of the stream is secured, or it is over before its end, and so much of it was. False if it was over
    /// before.
    pub(super) fn flow_over(&mut self, call: CallId, requests: Position, responses: Position) -> bool {
        let Some(flows) = &mut self.flows else { return false };
        let Some(index) = flows.open.iter().position(|open| *open == call) else { return false };
        flows.open.swap_remove(index);
        flows.exchanged(requests, responses);
        true
    }

    /// Streams of which not everything is secured.
    pub(super) fn open(&self) -> &[CallId] {
        self.flows.as_ref().map_or(&[], |flows| &flows.open)
    }

    /// What was exchanged until now. What did not come to an end that anybody knows is *unknown*.
    pub(super) fn summary(&self) -> Summary {
        let Self { calls, done, failed, .. } = *self;
        let exchanged = |flows: &Flows| (flows.requests, flows.responses);
        let (requests, responses) = self.flows.as_deref().map(exchanged).unwrap_or_default();
        let unknown = calls.saturating_sub(done).saturating_sub(failed);
        Summary { calls, done, failed, unknown, requests, responses }
    }
}

impl Flows {
    fn exchanged(&mut self, requests: Position, responses: Position) {
        self.requests = self.requests.plus(requests.messages, requests.bytes);
        self.responses = self.responses.plus(responses.messages, responses.bytes);
    }
}

fn at(point: &crate::stream::secured::Secured) -> Position {
    point.position
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{Sequence, SlotId};

    #[test]
    fn a_flow_is_over_once_and_counts_once() {
        let call = CallId { slot: SlotId(1), sequence: Sequence(3) };
        let (requests, responses) = (Position { messages: 2, bytes: 20 }, Position { messages: 1, bytes: 9 });
        let mut tally = Tally::default();
        assert!(!tally.flow_over(call, requests, responses), "it has not begun");
        tally.flow_begun(call);
        tally.flow_begun(call);
        assert_eq!(tally.open(), [call]);
        assert!(tally.flow_over(call, requests, responses));
        assert!(!tally.flow_over(call, requests, responses));
        assert_eq!((tally.summary().requests, tally.summary().responses), (requests, responses));
    }

    #[test]
    fn what_has_no_known_end_is_unknown() {
        let mut tally = Tally::default();
        (0..4).for_each(|_| tally.begun());
        tally.ended(Code::Ok as u8);
        tally.ended(Code::NotFound as u8);
        tally.retracted();
        let Summary { calls, done, failed, unknown, .. } = tally.summary();
        assert_eq!((calls, done, failed, unknown), (3, 1, 1, 1));
    }
}
