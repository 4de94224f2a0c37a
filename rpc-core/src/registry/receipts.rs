//! The answers to releases, for those who did not get them.

use std::collections::BTreeMap;

use crate::id::{SessionId, TicketHash};
use crate::principal::Principal;
use crate::record::{Receipt, Summary};

/// What there is to say of a session that was released.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Released {
    /// Its end is on the way to the store, and nobody is told of it before it is there.
    Recording,
    /// It was, after this was exchanged.
    Done(Summary),
}

/// The answers, by the numbers of the sessions.
#[derive(Debug, Default)]
pub(super) struct Receipts {
    kept: BTreeMap<SessionId, Kept>,
}

#[derive(Debug)]
struct Kept {
    principal: Principal,
    receipt: Box<Receipt>,
    recorded: bool,
}

impl Receipts {
    pub(super) fn keep(&mut self, id: SessionId, principal: Principal, receipt: Box<Receipt>) {
        self.kept.insert(id, Kept { principal, receipt, recorded: false });
    }

    pub(super) fn recorded(&mut self, id: SessionId) {
        if let Some(kept) = self.kept.get_mut(&id) {
            kept.recorded = true;
        }
    }

    pub(super) fn forget(&mut self, id: SessionId) {
        self.kept.remove(&id);
    }

    /// Either ticket will do: which of the two its owner has is what the owner of a lost answer does not know.
    pub(super) fn find(&self, id: SessionId, ticket: &TicketHash) -> Option<(&Principal, Released)> {
        let Kept { principal, receipt, recorded } = self.kept.get(&id)?;
        if !receipt.tickets.know(ticket) {
            return None;
        }
        let released = if *recorded { Released::Done(receipt.summary) } else { Released::Recording };
        Some((principal, released))
    }
}
