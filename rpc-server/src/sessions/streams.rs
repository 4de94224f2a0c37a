//! The streams of one session, by the slots of their calls.

use std::collections::BTreeMap;

use rpc_core::id::{CallId, SlotId};
use rpc_core::stream::position::Position;
use rpc_core::stream::secured::Resumption;
use rpc_flow::{Stream, View};
use tonic::Status;

use super::memory::Reserved;

/// What a later attempt may ask for: streams that run, streams that ended and whose caller may not have everything, and
/// how streams were given up. All of it until a later call uses the slot.
#[derive(Debug, Default)]
pub(super) struct Streams {
    /// Made for the first of them: most sessions have none.
    by_slot: Option<Box<BySlot>>,
}

type BySlot = BTreeMap<SlotId, (CallId, Entry)>;

#[derive(Debug)]
enum Entry {
    Kept {
        stream: Stream,
        /// The place that a query told, from which a caller without control frames goes on.
        told: Position,
        /// Given back with the stream.
        _memory: Reserved,
    },
    /// The handler was dropped, and this is what its caller is told.
    GivenUp(Box<Status>),
    /// A server that is gone had begun the call; this place was told since.
    Told(Position),
}

/// A stream of which nothing more will be secured, and how much was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a release waits for it"]
pub(super) struct FlowOver {
    pub(super) call: CallId,
    pub(super) requests: Position,
    pub(super) responses: Position,
}

impl FlowOver {
    fn of((call, entry): (CallId, Entry)) -> Option<Self> {
        let Entry::Kept { stream, .. } = entry else { return None };
        let view: View = stream.watch().borrow().clone();
        let progress = view.progress;
        // A caller that has ended the call in order has all that was sent, whether or not it came to saying so.
        let is_well = view.failed.is_none();
        let requests =
            if is_well && view.is_received { progress.received } else { progress.received_secured };
        let responses = if is_well && view.is_concluded { progress.sent } else { progress.sent_secured };
        Some(Self { call, requests, responses })
    }
}

/// A new stream with the memory that it may take.
#[derive(Debug)]
pub(crate) struct NewStream {
    pub(crate) stream: Stream,
    pub(crate) memory: Reserved,
    /// Where a caller goes on that reads no control frames and does not say where.
    pub(crate) told: Position,
}

/// What there is of the stream of a call.
#[derive(Debug)]
pub(crate) enum Found {
    /// The stream, and where a caller goes on that reads no control frames and does not say where.
    Stream(Stream, Position),
    /// Its handler was dropped for this.
    GivenUp(Box<Status>),
    /// None, since its server is gone: where a caller goes on that was told so, reads no control frames and does not say
    /// where.
    Told(Position),
}

impl Streams {
    /// What there is of a call.
    pub(super) fn find(&self, call: CallId) -> Option<Found> {
        Some(match self.of(call)? {
            Entry::Kept { stream, told, .. } => Found::Stream(stream.clone(), *told),
            Entry::GivenUp(status) => Found::GivenUp(status.clone()),
            Entry::Told(place) => Found::Told(*place),
        })
    }

    /// The stream of a new call. That of the slot's last call is forgotten, and over.
    pub(super) fn begin(&mut self, call: CallId, new: NewStream) -> Option<FlowOver> {
        let entry = Entry::Kept { stream: new.stream, told: new.told, _memory: new.memory };
        self.by_slot.get_or_insert_default().insert(call.slot, (call, entry)).and_then(FlowOver::of)
    }

    /// A new call without a stream uses the slot.
    pub(super) fn forget(&mut self, slot: SlotId) -> Option<FlowOver> {
        self.by_slot.as_mut()?.remove(&slot).and_then(FlowOver::of)
    }

    /// The handler of the call was dropped: what is kept of its stream is why.
    pub(super) fn give_up(&mut self, call: CallId, why: &Status) -> Option<FlowOver> {
        let (of, entry) = self.by_slot.as_mut()?.get_mut(&call.slot)?;
        if *of != call {
            return None;
        }
        let before = std::mem::replace(entry, Entry::GivenUp(Box::new(why.clone())));
        FlowOver::of((call, before))
    }

    /// Forgets the stream of a call whose handler has ended, if that tells of it that nobody needs it.
    pub(super) fn forget_if(
        &mut self,
        call: CallId,
        needless: impl FnOnce(&Stream) -> bool,
    ) -> Option<FlowOver> {
        let Some(Entry::Kept { stream, .. }) = self.of(call) else { return None };
        if needless(stream) { self.forget(call.slot) } else { None }
    }

    /// From where the stream of a call can go on. The caller is told that, and goes on from there.
    //= S-29
    pub(super) fn tell(&mut self, call: CallId) -> Option<Resumption> {
        let (of, entry) = self.by_slot.as_mut()?.get_mut(&call.slot)?;
        let Entry::Kept { stream, told, .. } = entry else { return None };
        if *of != call {
            return None;
        }
        let resumption = stream.resumption();
        *told = place(&resumption);
        Some(resumption)
    }

    /// The same of a call that a server had begun that is gone.
    //= S-29
    pub(super) fn told(&mut self, call: CallId, at: &Resumption) {
        self.by_slot.get_or_insert_default().insert(call.slot, (call, Entry::Told(place(at))));
    }

    /// The calls of which there is something.
    pub(super) fn calls(&self) -> Vec<CallId> {
        self.all().map(|(call, _)| *call).collect()
    }

    /// What both sides have secured of each.
    pub(super) fn places(&self) -> BTreeMap<CallId, Resumption> {
        let place = |(call, entry): &(CallId, Entry)| match entry {
            Entry::Kept { stream, .. } => Some((*call, stream.resumption())),
            Entry::GivenUp(_) | Entry::Told(_) => None,
        };
        self.all().filter_map(place).collect()
    }

    fn of(&self, call: CallId) -> Option<&Entry> {
        self.by_slot.as_ref()?.get(&call.slot).filter(|(of, _)| *of == call).map(|(_, entry)| entry)
    }

    fn all(&self) -> impl Iterator<Item = &(CallId, Entry)> {
        self.by_slot.iter().flat_map(|by_slot| by_slot.values())
    }
}

/// From where requests are sent again.
fn place(at: &Resumption) -> Position {
    at.requests.as_ref().map_or(Position::ORIGIN, |secured| secured.position)
}
