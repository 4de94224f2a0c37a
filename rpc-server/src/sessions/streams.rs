//! The streams of one session, by the slots of their calls.

use std::collections::BTreeMap;

use rpc_core::id::{CallId, SlotId};
use rpc_flow::Stream;

/// Streams that a later attempt may ask for: those that run, and those that ended and whose slot no later call uses.
///
/// One that has ended keeps what its caller has not secured, which is within its window, and nothing else.
#[derive(Debug, Default)]
pub(super) struct Streams {
    by_slot: BTreeMap<SlotId, (CallId, Stream)>,
}

impl Streams {
    /// The stream of a call.
    pub(super) fn find(&self, call: CallId) -> Option<Stream> {
        self.by_slot.get(&call.slot).filter(|(of, _)| *of == call).map(|(_, stream)| stream.clone())
    }

    /// The stream of a new call. That of the slot's last call is forgotten.
    pub(super) fn begin(&mut self, call: CallId, stream: Stream) {
        self.by_slot.insert(call.slot, (call, stream));
    }

    /// A new call without a stream uses the slot.
    pub(super) fn forget(&mut self, slot: SlotId) {
        self.by_slot.remove(&slot);
    }
}
