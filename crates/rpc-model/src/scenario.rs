//! What a run explores: which calls, and how much may go wrong.

use rpc_core::id::Fingerprint;
use rpc_core::session::Keeping;

/// A call that somebody makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Planned {
    /// Which process makes it.
    pub process: usize,
    /// Of its method's policy.
    pub keeping: Keeping,
}

/// How often each fault may happen. What is not here may happen always: delay, reordering, and loss after a break.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Bounds {
    /// A connection breaks under a request or a question.
    pub breaks: u8,
    /// A request arrives twice.
    pub duplicates: u8,
    /// A server crashes.
    pub crashes: u8,
    /// A server takes the session over from one that lives.
    pub takeovers: u8,
    /// A caller gives its call up.
    pub cancels: u8,
    /// A client process dies, and the next one goes on with its session.
    pub deaths: u8,
    /// The session expires.
    pub ends: u8,
    /// Somebody makes another request under the id of a call that was made.
    pub forgeries: u8,
}

/// A deliberate fault of what lies around the core.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The store makes a write whatever its epoch.
    EpochNotCompared,
    /// A session is told that its record is durable when it was sent.
    DurableTooEarly,
    /// A server that starts does not read what was begun.
    IntentsForgotten,
    /// A server that starts does not say that calls of memory are forgotten.
    MemoryNotDoubted,
    /// The fingerprint does not cover the request.
    FingerprintOfNothing,
    /// The reply is answered before the store has it.
    ReplyBeforeRecord,
    /// The id of a call that was given up is used for the next one.
    CancelledIdReused,
    /// Every attempt of a call has the number 0.
    AttemptsNotCounted,
    /// A request without an answer counts as one that did not arrive.
    LossIsProof,
    /// A process takes the slots of another one for unused.
    SlotsNotResolved,
    /// Who waits for a run is forgotten when it ends.
    WaitersForgotten,
    /// A server that takes over reads the session before it claims it.
    ReadBeforeClaim,
}

/// One run of the checker.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Scenario {
    /// Slots of the session.
    pub slots: u32,
    /// All calls, in the order in which each process makes its own.
    pub calls: Vec<Planned>,
    /// How much goes wrong.
    pub bounds: Bounds,
    /// What is on its way to a server that crashes may arrive at the next one.
    pub late: bool,
    /// What is wrong with the world; `None` in the runs that show the core right.
    pub fault: Option<Fault>,
}

impl Scenario {
    /// Calls of one process in one slot, one after another.
    pub fn new(keeping: &[Keeping], bounds: Bounds) -> Self {
        let calls = keeping.iter().map(|keeping| Planned { process: 0, keeping: *keeping }).collect();
        Self { slots: 1, calls, bounds, late: true, fault: None }
    }

    /// The last `count` calls are made by a second process, which goes on with the session of the first.
    #[must_use]
    pub fn last_by_another_process(mut self, count: usize) -> Self {
        self.calls.iter_mut().rev().take(count).for_each(|call| call.process = 1);
        self
    }

    /// What is on its way to a server is lost when that crashes, as on a connection without a proxy.
    #[must_use]
    pub fn directly_connected(mut self) -> Self {
        self.late = false;
        self
    }

    /// With so many slots.
    #[must_use]
    pub fn slots(mut self, slots: u32) -> Self {
        self.slots = slots;
        self
    }

    /// With a fault.
    #[must_use]
    pub fn with(mut self, fault: Fault) -> Self {
        self.fault = Some(fault);
        self
    }

    /// Whether this is the fault.
    pub(crate) fn is(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    /// How many processes there are, one after another.
    pub(crate) fn processes(&self) -> usize {
        self.calls.iter().map(|call| call.process + 1).max().unwrap_or(1)
    }

    /// Whether there are calls of which the store knows nothing.
    pub(crate) fn is_forgetful(&self) -> bool {
        self.calls.iter().any(|call| call.keeping == Keeping::Memory)
    }

    /// Where the record of a call is kept. The forger calls the method of the first one.
    pub(crate) fn keeping(&self, call: usize) -> Keeping {
        self.calls.get(call).unwrap_or(&self.calls[0]).keeping
    }

    /// The fingerprint of a planned call: each makes another request, but for
    /// faults that show only where they are equal. The one after the last is the forger's.
    pub(crate) fn fingerprint(&self, call: usize) -> Fingerprint {
        let are_equal = [Fault::FingerprintOfNothing, Fault::CancelledIdReused, Fault::SlotsNotResolved];
        let are_equal = self.fault.is_some_and(|fault| are_equal.contains(&fault));
        Fingerprint(if are_equal { 0 } else { call as u128 + 1 })
    }
}
