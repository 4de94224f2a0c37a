//! Tasks that wait for a stream, and those who look on: `Locked`, `Slot` and `Roused` of rpc-flow.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use loom::thread;

use crate::explore;
use crate::explore::{Task, block_on, joined};
use crate::locked::{Guarded, Locked, Snapshot};
use crate::sync::watch;
use crate::wake::{Roused, Slot};

/// A stream of which nothing is known but how many messages came.
#[derive(Default)]
pub(super) struct State {
    pub(super) messages: u32,
    pub(super) reader: Slot,
    pub(super) roused: Roused,
    version: u64,
}

#[derive(Debug, Clone, Default)]
pub(super) struct View {
    pub(super) messages: u32,
    version: u64,
}

impl Guarded for State {
    type View = View;

    fn take_roused(&mut self) -> Roused {
        std::mem::take(&mut self.roused)
    }

    fn view(&mut self) -> View {
        self.version += 1;
        View { messages: self.messages, version: self.version }
    }
}

impl Snapshot for View {
    fn replaces(&self, last: &Self) -> bool {
        self.version > last.version && self.messages != last.messages
    }
}

impl State {
    /// A message came in.
    pub(super) fn deliver(&mut self) {
        self.messages += 1;
        self.roused.add(&mut self.reader);
    }

    fn poll_messages(&mut self, count: u32, cx: &Context<'_>) -> Poll<()> {
        if self.messages >= count {
            return Poll::Ready(());
        }
        self.reader.wait(cx, &mut self.roused);
        Poll::Pending
    }
}

pub(super) type Stream = Arc<Locked<State>>;

pub(super) fn stream() -> Stream {
    Arc::new(Locked::new(State::default()))
}

fn deliver(stream: &Stream) -> thread::JoinHandle<()> {
    let stream = Arc::clone(stream);
    thread::spawn(move || stream.with(State::deliver))
}

async fn messages(stream: &Stream, count: u32) {
    poll_fn(|cx| stream.with(|state| state.poll_messages(count, cx))).await;
}

/// Whoever waits, before or after the change, learns of it.
pub fn a_reader_hears_of_every_message() -> u64 {
    explore("a reader hears of every message", || {
        let stream = stream();
        let writers = [deliver(&stream), deliver(&stream)];
        block_on(messages(&stream, 2));
        joined(writers);
    })
}

/// A body that changes hands is read by its new task, and its old one is told.
pub fn a_body_that_changes_hands_is_read_on() -> u64 {
    explore("a body that changes hands is read on", || {
        let stream = stream();
        let writer = deliver(&stream);
        let before = Task::new();
        let polled = stream.with(|state| state.poll_messages(1, &Context::from_waker(&before.waker())));
        let after = {
            let stream = Arc::clone(&stream);
            thread::spawn(move || block_on(messages(&stream, 1)))
        };
        if polled.is_pending() {
            before.park();
        }
        joined([after, writer]);
    })
}

/// A task that uses the stream where it is woken.
struct Meddler(Stream);

impl Wake for Meddler {
    fn wake(self: Arc<Self>) {
        self.0.with(State::deliver);
    }
}

pub(super) fn meddler(stream: &Stream) -> Waker {
    Waker::from(Arc::new(Meddler(Arc::clone(stream))))
}

/// No waker is called under the lock.
pub fn a_waker_may_use_the_stream() -> u64 {
    explore("a waker may use the stream", || {
        let stream = stream();
        let meddler = meddler(&stream);
        let _ = stream.with(|state| state.poll_messages(1, &Context::from_waker(&meddler)));
        let writers = [deliver(&stream), deliver(&stream)];
        block_on(messages(&stream, 3));
        joined(writers);
    })
}

/// Whoever begins to look on while others work sees what they come to.
pub fn an_onlooker_sees_the_last_state() -> u64 {
    explore("an onlooker sees the last state", || {
        let stream = stream();
        let writer = deliver(&stream);
        block_on(seen(stream.watch(), 1));
        joined([writer]);
    })
}

/// Two changes that are shown in the other order: the older does not take the place of the newer.
pub fn views_are_not_overtaken() -> u64 {
    explore("views are not overtaken", || {
        let stream = stream();
        let views = stream.watch();
        let writers = [deliver(&stream), deliver(&stream)];
        joined(writers);
        block_on(seen(views, 2));
    })
}

async fn seen(mut views: watch::Receiver<View>, count: u32) {
    while views.latest().messages < count {
        let _ = views.changed().await;
    }
}
