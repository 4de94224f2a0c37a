//! What a session may do on the strength of its token, and how that is renewed.

use std::sync::Arc;

use super::effect::{Answer, Effect, Event, RequestId};
use super::{Session, SessionUnknown};
use crate::id::TicketHash;
use crate::planted::{self, Bug};
use crate::principal::Principal;
use crate::time::Timestamp;

/// What the token of a session allows, and until when.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Authority {
    /// When it ends, on the shell's clock; [`Timestamp::NEVER`]: with the session.
    pub until: Timestamp,
    /// The same moment in seconds of Unix time, for the store.
    pub unix_s: Option<u64>,
    /// Scopes that the token holds.
    pub scopes: Arc<[Box<str>]>,
}

/// Why a session is not renewed. Nothing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RenewError {
    /// The fresh token is another principal's.
    #[error("the token is another principal's")]
    PrincipalMismatch,
    /// The session has ended.
    #[error(transparent)]
    Unknown(#[from] SessionUnknown),
}

impl Session {
    /// Until when it may act, on the shell's clock; [`Timestamp::NEVER`]: until it ends.
    pub fn authority_until(&self) -> Timestamp {
        self.authority_until
    }

    /// Whether the token that it was opened or renewed with held every one of `scopes`.
    pub fn holds(&self, scopes: &[&str]) -> bool {
        scopes.iter().all(|needed| self.record.scopes.iter().any(|held| **held == **needed))
    }

    /// Whether the token that the session was opened or renewed with is still valid.
    //= A-14
    //= A-16
    pub fn has_authority(&self, now: Timestamp) -> bool {
        now < self.authority_until
    }

    /// Renews what is asked for: the lease in any case, the ticket and the authority where they are given. `request`
    /// is answered once what changed is durable.
    ///
    /// # Errors
    ///
    /// The authority is another principal's, or the session has ended. Nothing changed.
    pub fn renew(
        &mut self,
        now: Timestamp,
        ticket: Option<TicketHash>,
        authority: Option<(&Principal, Authority)>,
        request: RequestId,
    ) -> Result<(), RenewError> {
        self.alive(now)?;
        if authority.as_ref().is_some_and(|(principal, _)| **principal != self.record.principal)
            && !planted::is(Bug::RenewedByAnother)
        {
            //= A-11
            return Err(RenewError::PrincipalMismatch);
        }
        self.lease.traffic(now);
        let answer = Effect::Answer { request, answer: Answer::Renewed };
        if ticket.is_none() && authority.is_none() {
            self.outbox.at_once(answer);
            return Ok(());
        }
        if let Some(ticket) = ticket {
            self.record_mut().tickets.issue(ticket);
        }
        if let Some((_, authority)) = authority {
            let Authority { until, unix_s, scopes } = authority;
            self.authority_until = until;
            let record = self.record_mut();
            (record.authority_unix_s, record.scopes) = (unix_s, scopes);
            self.outbox.at_once(Effect::Event(Event::AuthorityRenewed));
        }
        let record = self.update();
        self.outbox.after(record, answer);
        Ok(())
    }
}
