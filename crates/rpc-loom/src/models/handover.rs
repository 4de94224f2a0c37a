//! A handler that loses its connection, and a new attempt that comes for its reply: `InPlace`, `Awaited` and `Recording` of
//! rpc-server, with the core's own session.

use std::sync::{Arc, PoisonError};

use loom::sync::Mutex;
use loom::sync::mpsc::Receiver;
use loom::thread;
use rpc_core::id::CallId;
use rpc_core::record::Reply;
use rpc_core::session::{Admission, Keeping};

use super::server::{Job, Server, attempt, reply};
use crate::explore::{Task, block_on, joined};
use crate::in_place::InPlace;
use crate::sync::{TaskTracker, oneshot};
use crate::waiting::{Recorded, Recording};
use crate::{explore, explore_within};

/// How often the handler ran to its end. Held while it works, so that a second thread in it would be seen.
type Runs = Arc<Mutex<u32>>;

/// Sees to it that the slot hears of the end, as `Settling` does.
struct Settling {
    server: Arc<Server>,
    call: CallId,
    done: bool,
}

impl Drop for Settling {
    fn drop(&mut self) {
        if !self.done && !std::thread::panicking() {
            self.server.abandoned(self.call);
        }
    }
}

/// What `Run` runs: the record of the intent, the handler, the record of the reply.
async fn run(
    mut settling: Settling,
    intent: Option<Recording>,
    work: oneshot::Receiver<()>,
    runs: Runs,
) -> Recorded {
    if let Some(intent) = intent {
        assert_eq!(intent.wait().await, Recorded::Yes);
    }
    assert!(work.await.is_ok(), "the work comes to an end");
    *runs.try_lock().unwrap_or_else(|_| panic!("two threads in one handler")) += 1;
    settling.done = true;
    settling.server.replied(settling.call, &reply(b"done")).await
}

/// The request with attempt 0 goes away after its handler was polled once, wherever the handler then is.
pub(super) struct Lost {
    pub(super) server: Arc<Server>,
    pub(super) runs: Runs,
    pub(super) queue: Receiver<Job>,
    pub(super) orphans: TaskTracker,
    pub(super) run: InPlace<Recorded>,
    pub(super) work: oneshot::Sender<()>,
}

impl Lost {
    pub(super) fn new(keeping: Keeping) -> Self {
        let (server, queue) = Server::new(keeping);
        let (_, intent) = server.admit(attempt(0, 0));
        let (work, working) = oneshot::channel();
        let (runs, orphans) = (Runs::default(), TaskTracker::default());
        let settling = Settling { server: Arc::clone(&server), call: attempt(0, 0).call, done: false };
        let run = InPlace::new(run(settling, intent, working, Arc::clone(&runs)), orphans.clone());
        Self { server, runs, queue, orphans, run, work }
    }

    fn model(keeping: Keeping, later: fn(&Server) -> Option<Reply>) {
        let Self { server, runs, queue, orphans, mut run, work } = Self::new(keeping);
        let later = {
            let server = Arc::clone(&server);
            thread::spawn(move || assert_eq!(later(&server), Some(reply(b"done"))))
        };
        let world = {
            let server = Arc::clone(&server);
            thread::spawn(move || {
                let stored = |_| queue.recv().map(|(record, _)| server.stored(record));
                let intents = usize::from(keeping != Keeping::Memory);
                (0..intents).for_each(|write| assert!(stored(write).is_ok()));
                let _ = work.send(());
                (0..intents).for_each(|write| assert!(stored(write).is_ok()));
            })
        };
        let _ = Task::new().poll(&mut run);
        drop(run);
        orphans.join();
        joined([later, world]);
        assert_eq!(*runs.lock().unwrap_or_else(PoisonError::into_inner), 1, "the handler runs once");
    }
}

/// As attempts of unary calls wait: for anything to move, and then they ask again.
fn asks_again(server: &Server) -> Option<Reply> {
    loop {
        let moved = server.moved().notified();
        match server.admit(attempt(0, 1)).0 {
            Admission::Attach => block_on(moved),
            Admission::Replay(reply) => return Some(reply),
            other => panic!("{other:?}"),
        }
    }
}

/// As attempts of calls wait whose stream is over: for the reply of this handler.
fn waits_for_the_reply(server: &Server) -> Option<Reply> {
    let call = attempt(0, 1).call;
    let Some(mut reply) = server.reply_of(call) else { return asks_again(server) };
    let _ = block_on(reply.changed());
    reply.latest()
}

/// A call of memory whose new attempt asks again.
pub fn a_lost_handler_runs_once_and_answers_the_next_attempt() -> u64 {
    explore("a lost handler runs once and answers the next attempt", || {
        Lost::model(Keeping::Memory, asks_again);
    })
}

/// A call of memory whose new attempt waits for the reply.
pub fn a_lost_handler_answers_whoever_attached() -> u64 {
    explore("a lost handler answers whoever attached", || Lost::model(Keeping::Memory, waits_for_the_reply))
}

/// A durable call whose new attempt asks again.
pub fn a_lost_durable_handler_runs_once_and_answers_the_next_attempt() -> u64 {
    explore_within(2, "a lost durable handler runs once and answers the next attempt", || {
        Lost::model(Keeping::Store { idempotent: false }, asks_again);
    })
}

/// A durable call whose new attempt waits for the reply.
pub fn a_lost_durable_handler_answers_whoever_attached() -> u64 {
    explore_within(2, "a lost durable handler answers whoever attached", || {
        Lost::model(Keeping::Store { idempotent: false }, waits_for_the_reply);
    })
}
