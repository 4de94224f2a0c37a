//! The entrance to one connection: how many calls are on it, and how many may lie in front of it.
//!
//! Two limits, passed one after the other:
//!
//! 1. **Streams**: as many calls as the peer allows at once. Beyond that h2 would hold calls back itself, where a
//!    GOAWAY makes it impossible to say whether they were sent; here they can be taken back.
//! 2. **Queue**: h2 takes any number of requests and writes them when the connection's task runs. Without a bound, all
//!    callers hand over their requests in one go, then the server answers all in one go: the two take turns and each
//!    is idle half of the time (57 k/s instead of 106 k/s with 64 callers). With 16 places the rest of the callers
//!    come one turn later, and their requests travel while the first are being answered. A place is free again when
//!    the connection's task has had a turn ([`Gate::turn`]), since by then the request has left.
//!
//! Both are counted by semaphores, and not by a channel with a task of its own behind it: a channel costs each call
//! one more wake-up and one more allocation.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::sync::Semaphore;

/// The entrance to one connection.
pub(super) struct Gate {
    streams: Semaphore,
    queue: Semaphore,
    /// Permits of `streams`, free or taken.
    streams_granted: AtomicUsize,
    streams_max: usize,
    waiting_max: usize,
    /// Places in the queue that are free after the next turn.
    leaving: AtomicUsize,
    /// Calls on the connection and calls waiting to get there.
    load: AtomicUsize,
}

/// Why a call may not enter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The gate is closed, for ever.
    Closed,
    /// So many wait already.
    Full(usize),
}

impl Gate {
    /// Opens a gate for at most `streams_max` calls, of which `queue_len` may not yet have left.
    pub(super) fn new(streams_max: usize, queue_len: usize, waiting_max: usize) -> Arc<Self> {
        Arc::new(Self {
            streams: Semaphore::new(streams_max),
            queue: Semaphore::new(queue_len),
            streams_granted: AtomicUsize::new(streams_max),
            streams_max,
            waiting_max,
            leaving: AtomicUsize::new(0),
            load: AtomicUsize::new(0),
        })
    }

    /// Waits until there is room, first come first served.
    ///
    /// # Cancel safety
    ///
    /// Dropped halfway, it leaves the line without a trace.
    pub(super) async fn enter(self: &Arc<Self>) -> Result<Call, Refusal> {
        let load = Load::new(self);
        if self.load() > self.streams_granted.load(Ordering::Relaxed) + self.waiting_max {
            return Err(Refusal::Full(self.waiting_max));
        }
        let closed = |_| Refusal::Closed;
        let stream = self.streams.acquire().await.map_err(closed)?;
        let place = self.queue.acquire().await.map_err(closed)?;
        stream.forget();
        place.forget();
        Ok(Call { load, queued: true })
    }

    /// Follows the peer's limit. To be called by one task only.
    pub(super) fn follow(&self, streams_peer: usize) {
        let target = streams_peer.min(self.streams_max);
        let granted = self.streams_granted.load(Ordering::Relaxed);
        if target > granted {
            self.streams.add_permits(target - granted);
            self.streams_granted.store(target, Ordering::Relaxed);
        } else if target < granted {
            // Permits in use cannot be taken back now; the next call of this function goes on.
            let forgotten = self.streams.forget_permits(granted - target);
            self.streams_granted.store(granted - forgotten, Ordering::Relaxed);
        }
    }

    /// Gives the places back of those that have left. To be called when the connection's task has taken what it could, or
    /// will not be woken.
    pub(super) fn turn(&self) {
        // Most turns have nobody, and a load is cheaper than a swap.
        if self.leaving.load(Ordering::Acquire) > 0 {
            self.queue.add_permits(self.leaving.swap(0, Ordering::AcqRel));
        }
    }

    /// Lets nobody in any more, and sends away who waits.
    pub(super) fn close(&self) {
        self.streams.close();
        self.queue.close();
    }

    /// Tells whether the gate is closed.
    pub(super) fn is_closed(&self) -> bool {
        self.streams.is_closed()
    }

    /// Counts the calls on the connection and those waiting to get there.
    pub(super) fn load(&self) -> usize {
        self.load.load(Ordering::Relaxed)
    }
}

/// One call on the connection, from its entry until request and response have both ended.
///
/// Both, because a stream is open that long, and the peer counts it as long.
pub(super) struct Call {
    load: Load,
    queued: bool,
}

impl Call {
    /// Says that the request is handed to h2 now: its place in the queue is free after the next turn.
    ///
    /// Before it is handed over, and not after: h2 wakes the connection's task with it, and that turn must see this.
    pub(super) fn leave(&mut self) {
        if std::mem::take(&mut self.queued) {
            self.load.0.leaving.fetch_add(1, Ordering::AcqRel);
        }
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("queued", &self.queued).finish_non_exhaustive()
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if self.queued {
            self.load.0.queue.add_permits(1);
        }
        self.load.0.streams.add_permits(1);
    }
}

/// One unit of load on a gate.
struct Load(Arc<Gate>);

impl Load {
    fn new(gate: &Arc<Gate>) -> Self {
        gate.load.fetch_add(1, Ordering::Relaxed);
        Self(gate.clone())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.0.load.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn enter(gate: &Arc<Gate>) -> Option<Result<Call, Refusal>> {
        gate.enter().now_or_never()
    }

    fn entered(gate: &Arc<Gate>) -> Call {
        enter(gate).unwrap().ok().unwrap()
    }

    #[test]
    fn a_place_in_the_queue_is_free_again_after_the_next_turn_or_when_its_call_is_dropped() {
        let gate = Gate::new(100, 2, 100);
        let (mut sent, dropped) = (entered(&gate), entered(&gate));
        assert!(enter(&gate).is_none(), "the queue is full");
        sent.leave();
        assert!(enter(&gate).is_none(), "it may not have left yet");
        gate.turn();
        let _third = entered(&gate);
        gate.turn();
        assert!(enter(&gate).is_none(), "a place is given back once");
        drop(dropped);
        let _fourth = entered(&gate);
        drop(sent);
        assert!(enter(&gate).is_none(), "who has left has no place to give back");
        assert_eq!(gate.load(), 2);
    }

    #[test]
    fn who_stops_waiting_leaves_no_trace() {
        let gate = Gate::new(1, 1, 100);
        let first = entered(&gate);
        assert!(enter(&gate).is_none());
        assert_eq!(gate.load(), 1);
        drop(first);
        assert_eq!(gate.load(), 0);
        drop(entered(&gate));
    }

    #[test]
    fn the_peers_limit_is_followed_up_and_down_even_while_calls_are_open() {
        let gate = Gate::new(8, 16, 100);
        let mut open: Vec<_> = (0..6).map(|_| entered(&gate)).collect();
        gate.follow(3);
        assert!(enter(&gate).is_none());
        open.truncate(2);
        gate.follow(3);
        open.push(entered(&gate));
        assert!(enter(&gate).is_none(), "three of three");
        gate.follow(usize::MAX);
        open.extend((0..5).map(|_| entered(&gate)));
        assert!(enter(&gate).is_none(), "never more than our own eight");
    }

    #[test]
    fn a_closed_gate_and_a_full_line_send_away() {
        let gate = Gate::new(1, 16, 0);
        let _open = entered(&gate);
        assert!(matches!(enter(&gate), Some(Err(Refusal::Full(0)))));
        gate.close();
        let gate = Gate::new(1, 16, 1);
        gate.close();
        assert!(matches!(enter(&gate), Some(Err(Refusal::Closed))));
    }
}
