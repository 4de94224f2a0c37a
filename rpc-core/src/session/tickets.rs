//! Who may use a session: the ticket in use and one that was issued and not used yet.

use crate::id::TicketHash;
use crate::planted::{self, Bug};
use crate::record::TicketHashes;

/// What presenting a ticket did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presented {
    /// It is the current one.
    Current,
    /// It was the pending one and is the current one now; the one before is void.
    Promoted,
}

impl TicketHashes {
    /// The first ticket of a session.
    pub fn first(current: TicketHash) -> Self {
        Self { current, pending: None }
    }

    /// Issues a ticket. The current one stays valid until this one is used once, so that a lost answer locks nobody
    /// out (I23). A ticket that was issued before and never used is forgotten.
    //= I23
    //= L-13
    //= L-15
    pub fn issue(&mut self, ticket: TicketHash) {
        self.pending = Some(Box::new(ticket));
        if planted::is(Bug::TicketVoidedEarly) {
            self.current = ticket;
        }
    }

    /// Whether a ticket is this session's.
    pub fn know(&self, ticket: &TicketHash) -> bool {
        self.current == *ticket || self.pending.as_deref() == Some(ticket)
    }

    /// What [`present`](Self::present) would say.
    pub fn judge(&self, ticket: &TicketHash) -> Option<Presented> {
        if self.current == *ticket {
            return Some(Presented::Current);
        }
        (self.pending.as_deref() == Some(ticket)).then_some(Presented::Promoted)
    }

    /// Judges a ticket; `None`: it is not this session's.
    //= L-14
    pub fn present(&mut self, ticket: &TicketHash) -> Option<Presented> {
        let presented = self.judge(ticket)?;
        if presented == Presented::Promoted
            && let Some(pending) = self.pending.take()
        {
            *self = match planted::is(Bug::TicketNotVoided) {
                false => Self::first(*pending),
                true => Self { current: *pending, pending: Some(Box::new(self.current)) },
            };
        }
        Some(presented)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket(n: u8) -> TicketHash {
        TicketHash([n; 32])
    }

    //= test I23
    #[test]
    //= test L-13
    //= test L-14
    //= test L-15
    fn the_old_ticket_is_valid_until_the_new_one_was_used_once() {
        let mut tickets = TicketHashes::first(ticket(1));
        tickets.issue(ticket(2));
        assert_eq!(tickets.present(&ticket(1)), Some(Presented::Current));
        assert_eq!(tickets.present(&ticket(2)), Some(Presented::Promoted));
        assert_eq!(tickets.present(&ticket(2)), Some(Presented::Current));
        assert_eq!(tickets.present(&ticket(1)), None);
    }

    #[test]
    //= test L-16
    fn a_ticket_issued_anew_replaces_the_one_that_was_never_used() {
        let mut tickets = TicketHashes::first(ticket(1));
        tickets.issue(ticket(2));
        tickets.issue(ticket(3));
        assert_eq!(tickets.present(&ticket(2)), None);
        assert_eq!(tickets.present(&ticket(1)), Some(Presented::Current));
        assert_eq!(tickets.present(&ticket(3)), Some(Presented::Promoted));
    }
}
