//! Mistakes of the kind that the other models would find: each of these fails.

use std::future::poll_fn;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll};

use loom::thread;
use rpc_core::session::Keeping;

use super::handover::Lost;
use super::outbox::{Journal, store};
use super::server::{Server, attempt};
use super::streams::{State, meddler, stream};
use crate::explore;
use crate::explore::{Task, block_on, joined};
use crate::sync::{Mutex, Notify, watch};

/// The reader looks, lets the lock go, and says under the next one that it waits: a message between the two wakes nobody.
pub fn a_reader_waits_after_its_look() {
    explore("planted: a reader waits after its look", || {
        let stream = stream();
        let writer = {
            let stream = Arc::clone(&stream);
            thread::spawn(move || stream.with(State::deliver))
        };
        block_on(poll_fn(|cx| {
            if stream.with(|state| state.messages > 0) {
                return Poll::Ready(());
            }
            stream.with(|state| state.reader.wait(cx, &mut state.roused));
            Poll::Pending
        }));
        joined([writer]);
    });
}

/// A waker is called while the lock is held, and uses the stream.
pub fn a_waker_is_called_under_the_lock() {
    explore("planted: a waker is called under the lock", || {
        let stream = stream();
        let meddler = meddler(&stream);
        stream.with(|state| {
            state.reader.wait(&Context::from_waker(&meddler), &mut state.roused);
            state.deliver();
            std::mem::take(&mut state.roused).wake();
        });
    });
}

/// Whether anybody looks on is asked before the change is made: who begins between the two never sees it. This was so.
pub fn onlookers_are_counted_before_the_change() {
    explore("planted: onlookers are counted before the change", || {
        let state = Arc::new(Mutex::new(0));
        let views = Arc::new(watch::Sender::new(0));
        let change = |state: &Mutex<u32>, views: &watch::Sender<u32>, by: u32| {
            let is_watched = views.receiver_count() > 0;
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            *state += by;
            let view = *state;
            drop(state);
            if is_watched {
                views.send_if_modified(|last| std::mem::replace(last, view.max(*last)) < view);
            }
        };
        let writer = {
            let (state, views) = (Arc::clone(&state), Arc::clone(&views));
            thread::spawn(move || change(&state, &views, 1))
        };
        let mut seen = views.subscribe();
        change(&state, &views, 0);
        while seen.latest() == 0 {
            let _ = block_on(seen.changed());
        }
        joined([writer]);
    });
}

/// The wait for the last call begins after the look at how many there are.
pub fn the_wait_begins_after_the_look() {
    explore("planted: the wait begins after the look", || {
        let (count, left) = (Arc::new(Mutex::new(1)), Arc::new(Notify::new()));
        let outstanding = |count: &Mutex<u32>| *count.lock().unwrap_or_else(PoisonError::into_inner);
        let call = {
            let (count, left) = (Arc::clone(&count), Arc::clone(&left));
            thread::spawn(move || {
                *count.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
                left.notify_waiters();
            })
        };
        while outstanding(&count) > 0 {
            block_on(left.notified());
        }
        joined([call]);
    });
}

/// The handler ends with its connection.
pub fn a_lost_handler_does_not_move() {
    explore("planted: a lost handler does not move", || {
        let Lost { server, orphans, mut run, work, .. } = Lost::new(Keeping::Memory);
        let _ = Task::new().poll(&mut run);
        // It is kept, and nobody polls it any more.
        std::mem::forget(run);
        let _ = work.send(());
        orphans.join();
        let mut reply = server.reply_of(attempt(0, 0).call).unwrap_or_else(|| panic!("it runs"));
        let _ = block_on(reply.changed());
    });
}

/// What a session wants done is collected under its lock, and done without: records overtake each other.
pub fn a_session_is_drained_outside_its_lock() {
    explore("planted: a session is drained outside its lock", || {
        let keeping = Keeping::Store { idempotent: false };
        let (server, queue) = Server::new(keeping);
        let calls = [0, 1].map(|slot| {
            let server = Arc::clone(&server);
            thread::spawn(move || {
                drop(server.with_drain_outside(|core| core.admit(attempt(slot, 0), keeping)));
            })
        });
        store(&server, &Journal::default(), &queue, 2);
        joined(calls);
    });
}
