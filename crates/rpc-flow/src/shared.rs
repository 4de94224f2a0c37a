//! What all parts of one stream share: the core under its lock, and who waits for it.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Context;

use http::HeaderMap;
use rpc_core::dialog::Terms;
use rpc_core::id::Attempt;
use rpc_core::stream::Config;
use rpc_core::stream::flow::{Flow, Side, StorageMark};
use rpc_core::stream::position::Position;
use rpc_core::stream::secured::Resumption;
use rpc_core::time::Timestamp;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tonic::Status;

use crate::checkpoints::Gate;
use crate::dialog::{Desk, DialogMark};
use crate::locked::{Guarded, Locked};
use crate::source::{Signal, Source};
use crate::status;
use crate::view::View;
use crate::wake::{Roused, Slot};

pub(crate) struct Shared {
    pub(crate) side: Side,
    pub(crate) window: Position,
    pub(crate) message_bytes_max: u32,
    /// What the two sides of the dialog have agreed on, if there is one.
    pub(crate) terms: Option<Terms>,
    /// Where the call began to be this stream; `None` at its very beginning.
    pub(crate) resumption: Option<Resumption>,
    /// Tells that a point was secured, by either application, or stored; or that the stream is over.
    pub(crate) secured: Notify,
    /// Tells that something changed for which the application's side of the dialog may wait; or that the call is over.
    pub(crate) dialog: Notify,
    /// The application's reader has to ask whether it may have what its decoder gives.
    pub(crate) disturbed: AtomicBool,
    /// What the application's source looks at, if it can be read again.
    pub(crate) source: Signal,
    origin: Instant,
    state: Locked<State>,
}

pub(crate) struct State {
    pub(crate) flow: Flow,
    /// The newest attempt, also when its connection is lost.
    pub(crate) line: Option<Line>,
    /// The answer's trailers: what a server writes after END, and what a client's application gets after its end.
    pub(crate) conclusion: Option<HeaderMap>,
    /// What the owner says instead of the core's error.
    pub(crate) failure: Option<Status>,
    /// Where the application's reader stops at sync points.
    pub(crate) gate: Gate,
    pub(crate) overlooked: Overlooked,
    /// What the application does in its dialog.
    pub(crate) desk: Desk,
    pub(crate) source: Source,
    /// The application's reader of what came in.
    reader: Slot,
    /// The task that reads the application's own body.
    pump: Slot,
    /// The task that reads the application's own body waits until what it gave is written.
    is_ahead: bool,
    /// The same until there is room for more.
    is_full: bool,
    /// Who has a sync point to place, and no room for it.
    placing: Slot,
    roused: Roused,
    version: u64,
}

/// How much the application's own body may give before it is written. Its bytes are read twice more, for their digest and
/// by the transport, and are still in the processor's cache when that comes soon.
const AHEAD_BYTES: u64 = 128 << 10;

/// In which directions a handler is to go on from a point, and has not asked from which. If it went on all the same, it
/// would be at another place than its caller.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Overlooked {
    pub(crate) requests: bool,
    pub(crate) responses: bool,
}

/// One attempt, as far as its two bodies have to know of each other.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) attempt: Attempt,
    /// Its outgoing body was dropped before its end.
    pub(crate) outgoing_lost: bool,
    /// Nobody reads its incoming body any more.
    pub(crate) incoming_over: bool,
    /// Its outgoing body has written everything, at a server the trailers.
    pub(crate) answered: bool,
    /// The incoming body ended in order: a client ends its own.
    pub(crate) closing: bool,
    /// Its incoming body is read no further while the application has enough to take.
    pub(crate) held_back: bool,
    outgoing: Slot,
    incoming: Slot,
}

impl Shared {
    pub(crate) fn new(side: Side, config: &Config) -> Self {
        Self::with_flow(side, config, Flow::new(side, config), None)
    }

    /// Goes on from secured points.
    pub(crate) fn resumed(side: Side, config: &Config, resumption: &Resumption) -> Self {
        Self::with_flow(side, config, Flow::resumed(side, config, resumption), Some(resumption.clone()))
    }

    /// Goes on from stored points; the peer lives on.
    pub(crate) fn restored(side: Side, config: &Config, resumption: &Resumption) -> Self {
        Self::with_flow(side, config, Flow::restored(side, config, resumption), Some(resumption.clone()))
    }

    fn with_flow(side: Side, config: &Config, flow: Flow, resumption: Option<Resumption>) -> Self {
        let at = resumption.as_ref().filter(|_| side == Side::Server);
        let overlooked = Overlooked {
            requests: at.is_some_and(|at| at.requests.is_some()),
            responses: at.is_some_and(|at| at.responses.is_some()),
        };
        let state = State {
            flow,
            overlooked,
            desk: Desk::new(side),
            source: Source::default(),
            line: None,
            conclusion: None,
            failure: None,
            gate: Gate::default(),
            reader: Slot::default(),
            pump: Slot::default(),
            is_ahead: false,
            is_full: false,
            placing: Slot::default(),
            roused: Roused::default(),
            version: 0,
        };
        Self {
            side,
            window: Position { messages: config.window_messages, bytes: config.window_bytes },
            message_bytes_max: config.message_bytes_max,
            terms: config.dialog,
            resumption,
            secured: Notify::new(),
            dialog: Notify::new(),
            disturbed: AtomicBool::new(false),
            source: Signal::default(),
            origin: Instant::now(),
            state: Locked::new(state),
        }
    }

    /// Does something with the core, and then wakes whom it concerns.
    ///
    /// The lock is held for `act` only, which must not call into the application, the transport or a waker.
    pub(crate) fn with<R>(&self, act: impl FnOnce(&mut State) -> R) -> R {
        let (result, news) = self.state.with(|state| {
            let before = state.mark();
            let result = act(state);
            let after = state.mark();
            if before.failed != after.failed {
                state.rouse_all();
            }
            let talked = self.terms.is_some()
                && ((before.dialog, before.over, before.failed) != (after.dialog, after.over, after.failed)
                    || std::mem::take(&mut state.desk.has_news));
            if talked {
                let is_disturbed = state.talked(before.dialog, self.now());
                self.disturbed.store(is_disturbed, Ordering::Release);
            }
            if state.source.is_used {
                self.source.tell(state.asks_source());
            }
            let secured = (before.storage, before.failed) != (after.storage, after.failed);
            (result, News { secured, talked })
        });
        if news.secured {
            self.secured.notify_waiters();
        }
        if news.talked {
            self.dialog.notify_waiters();
        }
        result
    }

    /// Watches from now on.
    pub(crate) fn watch(&self) -> watch::Receiver<View> {
        self.state.watch()
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_origin(self.origin.elapsed())
    }

    /// The point on tokio's clock; `None` for one that never comes.
    pub(crate) fn instant(&self, at: Timestamp) -> Option<Instant> {
        self.origin.checked_add(at.since(Timestamp::ORIGIN)).filter(|_| at != Timestamp::NEVER)
    }
}

/// What is kept, waits and was left with points is the applications', and not for logs.
impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Shared");
        shown.field("side", &self.side);
        // Not to be waited for: whoever holds the lock may be showing this.
        if let Some(state) = self.state.try_lock() {
            let failed = state.flow.failed();
            shown.field("progress", &state.flow.progress()).field("failed", &failed);
        }
        shown.finish_non_exhaustive()
    }
}

/// What others wait for to change, while the lock is held.
struct Mark {
    storage: StorageMark,
    failed: bool,
    dialog: Option<DialogMark>,
    over: bool,
}

/// Of whom others are to be told when the lock is free.
struct News {
    secured: bool,
    talked: bool,
}

impl State {
    fn mark(&self) -> Mark {
        Mark {
            storage: self.flow.mark(),
            failed: self.flow.failed().is_some(),
            dialog: self.dialog_mark(),
            over: self.conclusion.is_some(),
        }
    }

    /// A new attempt takes the place of the last one, which ends.
    pub(crate) fn begin(&mut self, attempt: Attempt) {
        self.rouse_all();
        self.line = Some(Line {
            attempt,
            outgoing_lost: false,
            incoming_over: false,
            answered: false,
            closing: false,
            held_back: false,
            outgoing: Slot::default(),
            incoming: Slot::default(),
        });
    }

    /// Nobody will resume the stream. The first error counts.
    pub(crate) fn abandon(&mut self, told: Option<Status>) {
        if self.flow.failed().is_none() && self.failure.is_none() {
            self.failure = told;
        }
        self.flow.abandon();
        self.rouse_all();
    }

    /// What was secured could not be stored. The first error counts.
    pub(crate) fn store_failed(&mut self, told: Status) {
        if self.flow.failed().is_none() {
            self.failure.get_or_insert(told);
        }
        self.flow.store_failed();
        self.rouse_all();
    }

    /// With what the stream is over before its end.
    pub(crate) fn failure(&self) -> Option<Status> {
        let error = self.flow.failed()?;
        Some(self.failure.clone().unwrap_or_else(|| status::of(&error)))
    }

    /// That attempt, if it is the newest.
    pub(crate) fn line(&mut self, attempt: Attempt) -> Option<&mut Line> {
        self.line.as_mut().filter(|line| line.attempt == attempt)
    }

    pub(crate) fn wait_outgoing(&mut self, attempt: Attempt, cx: &Context<'_>) {
        if let Some(line) = self.line.as_mut().filter(|line| line.attempt == attempt) {
            line.outgoing.wait(cx, &mut self.roused);
        }
    }

    pub(crate) fn wait_incoming(&mut self, attempt: Attempt, cx: &Context<'_>) {
        if let Some(line) = self.line.as_mut().filter(|line| line.attempt == attempt) {
            line.incoming.wait(cx, &mut self.roused);
        }
    }

    pub(crate) fn wait_reader(&mut self, cx: &Context<'_>) {
        self.reader.wait(cx, &mut self.roused);
    }

    pub(crate) fn wait_pump(&mut self, cx: &Context<'_>) {
        self.pump.wait(cx, &mut self.roused);
    }

    /// Whether to read on in the application's own body only when what it gave is written, and there is somebody who writes.
    pub(crate) fn waits_for_writer(&mut self) -> bool {
        let writes = self.line.as_ref().is_some_and(|line| !line.outgoing_lost);
        self.is_ahead = writes && self.flow.sender().unsent_bytes() >= AHEAD_BYTES;
        self.is_ahead
    }

    /// Whether to read on in the application's own body only when there is room for what it gives.
    pub(crate) fn waits_for_room(&mut self) -> bool {
        self.is_full = !self.flow.wants_data();
        self.is_full
    }

    /// Something was written. That makes room where nothing is kept of it.
    pub(crate) fn wrote(&mut self) {
        let is_behind = self.is_ahead && self.flow.sender().unsent_bytes() < AHEAD_BYTES;
        if is_behind || self.is_full && self.source.is_used && self.flow.wants_data() {
            (self.is_ahead, self.is_full) = (false, false);
            self.roused.add(&mut self.pump);
        }
    }

    pub(crate) fn wait_placing(&mut self, cx: &Context<'_>) {
        self.placing.wait(cx, &mut self.roused);
    }

    /// There may be something to write.
    pub(crate) fn rouse_outgoing(&mut self) {
        if let Some(line) = &mut self.line {
            self.roused.add(&mut line.outgoing);
        }
    }

    /// There may be something to read for the application.
    pub(crate) fn rouse_reader(&mut self) {
        self.roused.add(&mut self.reader);
    }

    /// There may be room for more of a caller that knows no credit.
    pub(crate) fn rouse_held_back(&mut self) {
        if let Some(line) = self.line.as_mut().filter(|line| line.held_back) {
            line.held_back = false;
            self.roused.add(&mut line.incoming);
        }
    }

    /// There may be room for more of the application's own.
    pub(crate) fn rouse_pump(&mut self) {
        self.roused.add(&mut self.pump);
        self.roused.add(&mut self.placing);
    }

    pub(crate) fn rouse_all(&mut self) {
        self.rouse_reader();
        self.rouse_pump();
        self.rouse_outgoing();
        if let Some(line) = &mut self.line {
            self.roused.add(&mut line.incoming);
        }
    }
}

impl Guarded for State {
    type View = View;

    fn take_roused(&mut self) -> Roused {
        std::mem::take(&mut self.roused)
    }

    fn view(&mut self) -> View {
        self.version += 1;
        let flow = &self.flow;
        View {
            progress: flow.progress(),
            attempt: flow.current(),
            confirmed: flow.sender().confirmed().cloned(),
            secured: flow.receiver().secured_point().cloned(),
            has_head: flow.head().is_some(),
            is_received: flow.is_received(),
            is_secured: flow.is_secured(),
            is_concluded: self.conclusion.is_some(),
            is_answered: self.line.as_ref().is_some_and(|line| line.answered),
            failed: flow.failed(),
            version: self.version,
        }
    }
}
