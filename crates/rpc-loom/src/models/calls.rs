//! Calls that wait for slots: `slots.rs` of the client.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use loom::sync::Mutex;
use loom::thread;
use rpc_core::id::Sequence;
use rpc_core::initiator::calls::Calls;
use rpc_core::initiator::outcome::Word;

use crate::events::Announcer;
use crate::explore;
use crate::explore::{block_on, joined};
use crate::slots::{Slots, Taken};

pub(super) fn slots(count: u32) -> Arc<Slots> {
    Arc::new(Slots::new(Calls::new(count), 4, Duration::from_secs(30), Arc::new(Announcer)))
}

pub(super) fn take(slots: &Arc<Slots>) -> Taken {
    block_on(slots.take(None)).unwrap_or_else(|status| panic!("{status:?}"))
}

/// One slot, and who has it.
struct Shop {
    slots: Arc<Slots>,
    served: Mutex<Vec<u64>>,
}

impl Shop {
    fn call(&self) {
        let taken = take(&self.slots);
        // Nobody else has it: this does not wait.
        let mut served = self.served.try_lock().unwrap_or_else(|_| panic!("two calls in one slot"));
        served.push(taken.attempt().call.sequence.0);
        drop(served);
        taken.conclude(Word::Executed, None);
    }
}

/// A slot that comes free wakes the next call, and that one alone.
pub fn a_slot_goes_from_call_to_call() -> u64 {
    explore("a slot goes from call to call", || {
        let shop = Arc::new(Shop { slots: slots(1), served: Mutex::new(Vec::new()) });
        let others = [0, 1].map(|_| {
            let shop = Arc::clone(&shop);
            thread::spawn(move || shop.call())
        });
        shop.call();
        joined(others);
        let served = shop.served.lock().unwrap_or_else(PoisonError::into_inner);
        assert_eq!(*served, [1, 2, 3]);
    })
}

/// Whoever waits for the last call hears of its end, also where that comes between the look and the wait.
pub fn the_last_call_to_leave_ends_the_wait() -> u64 {
    explore("the last call to leave ends the wait", || {
        let slots = slots(2);
        let calls = [take(&slots), take(&slots)].map(|taken| {
            thread::spawn(move || {
                taken.conclude(Word::Executed, None);
            })
        });
        block_on(slots.idle());
        joined(calls);
    })
}

/// The end of the session sends all away who wait.
pub fn closing_sends_everybody_away() -> u64 {
    explore("closing sends everybody away", || {
        let slots = slots(1);
        let taken = take(&slots);
        let waiting = [0, 1].map(|_| {
            let slots = Arc::clone(&slots);
            thread::spawn(move || assert!(block_on(slots.take(None)).is_err()))
        });
        slots.close();
        joined(waiting);
        drop(taken);
    })
}

/// A call that is given up while another waits: who settles hears of it, and the slot goes on with the next sequence.
pub fn a_call_that_is_given_up_is_settled() -> u64 {
    explore("a call that is given up is settled", || {
        let slots = slots(1);
        let mut taken = take(&slots);
        taken.sending();
        let next = {
            let slots = Arc::clone(&slots);
            thread::spawn(move || take(&slots).attempt().call.sequence)
        };
        let caller = thread::spawn(move || drop(taken));
        block_on(slots.given_up());
        let [quarantined] = slots.quarantined()[..] else { panic!("one call was given up") };
        slots.settled(quarantined.call, Sequence(1));
        assert!(matches!(next.join(), Ok(Sequence(2))));
        joined([caller]);
    })
}
