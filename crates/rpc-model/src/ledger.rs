//! What really happened, for the invariants: nobody in the model looks at it.

use rpc_core::id::{CallId, Sequence, SlotId};

/// Of one planned call.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Truth {
    /// How often its handler had its effect outside of the store.
    pub runs: u8,
    /// How often its effect was committed in the store.
    pub commits: u8,
    /// The reply that was answered first, by the number of the run that made it.
    pub answered: Option<u8>,
    /// The reply that was committed.
    pub committed: Option<u8>,
}

/// Of the whole session.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Ledger {
    /// Of each planned call, and of the forger's.
    pub calls: Vec<Truth>,
    /// Which calls were run or answered under which id.
    pub identities: Vec<(CallId, usize)>,
    /// How far each slot has come in the store.
    pub stored: Vec<(SlotId, Sequence)>,
    /// Two answers with different replies were given for one call.
    pub answers_differ: bool,
    /// The sequence of a slot went down, in the store, in a server or in a client.
    pub sequence_fell: bool,
    /// A write was made under another epoch than the stored one.
    pub epoch_ignored: bool,
    /// The store has the end of the session.
    pub ended: bool,
    /// Something was admitted by a server that knew of the end, or written after it.
    pub ended_goes_on: bool,
}

impl Ledger {
    /// A ledger for so many calls.
    pub(crate) fn new(calls: usize) -> Self {
        Self { calls: vec![Truth::default(); calls], ..Self::default() }
    }

    /// The call was run or answered under this id.
    pub(crate) fn identity(&mut self, id: CallId, call: usize) {
        let entry = (id, call);
        if let Err(at) = self.identities.binary_search(&entry) {
            self.identities.insert(at, entry);
        }
    }

    /// A reply was answered for a call.
    pub(crate) fn answered(&mut self, id: CallId, call: usize, run: u8) {
        self.identity(id, call);
        let first = *self.calls[call].answered.get_or_insert(run);
        self.answers_differ |= first != run;
    }

    /// The store has this sequence in the slot now.
    pub(crate) fn stored(&mut self, slot: SlotId, sequence: Sequence) {
        match self.stored.iter_mut().find(|(known, _)| *known == slot) {
            Some((_, highest)) => {
                self.sequence_fell |= sequence < *highest;
                *highest = (*highest).max(sequence);
            }
            None => self.stored.push((slot, sequence)),
        }
    }
}
