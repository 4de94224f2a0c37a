//! All sessions of one server: who has how many, what their openings were called, and when each must be looked at.
//!
//! The registry knows numbers, openings and times; the sessions themselves, with their locks, are the shell's, and say
//! whose they are when they end. Nothing here is touched by an ordinary call: a session moves its own deadline, and the
//! registry asks for it when the one it knows has come.

mod expiry;
mod numbers;
mod receipts;

use std::collections::{BTreeMap, VecDeque};

use crate::config::Limits;
use crate::error::Reason;
use crate::id::{Epoch, Nonce, SessionId, TicketHash};
use crate::planted::{self, Bug};
use crate::principal::Principal;
use crate::record::Receipt;
use crate::time::Timestamp;
use expiry::ExpiryQueue;
pub use numbers::NumberPool;
use receipts::Receipts;
pub use receipts::Released;

/// What an opening gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A new session has its place; it must be opened, or the place given back with [`Registry::end`].
    New(SessionId),
    /// The nonce names a session that lives: answer for it again.
    Existing(SessionId),
}

/// Why there is no place for a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    /// The principal has as many sessions as it may.
    #[error("the principal has {0} sessions, which is the bound")]
    SessionsExhausted(u32),
    /// The server has as many sessions as it may.
    #[error("the server has {0} sessions, which is the bound")]
    ServerFull(u32),
    /// The session that this nonce names has ended.
    #[error("the opening with this nonce has ended")]
    NonceUsed,
    /// No number is at hand: reserve a range, [`refill`](Registry::refill), and ask again.
    #[error("no session number is reserved")]
    NoNumber,
}

impl PlaceError {
    /// The stable reason.
    pub fn reason(&self) -> Reason {
        match self {
            Self::SessionsExhausted(_) => Reason::SessionsExhausted,
            Self::ServerFull(_) => Reason::ServerFull,
            Self::NonceUsed => Reason::NonceUsed,
            Self::NoNumber => Reason::StoreUnavailable,
        }
    }
}

/// The sessions of one server.
#[derive(Debug)]
pub struct Registry {
    limits: Limits,
    numbers: NumberPool,
    /// When each comes out of the expiry queue; [`Timestamp::NEVER`]: it is not in it.
    live: BTreeMap<SessionId, Timestamp>,
    openings: BTreeMap<(Principal, Nonce), SessionId>,
    per_principal: BTreeMap<Principal, u32>,
    expiry: ExpiryQueue,
    /// Ended sessions in the order of their ends.
    ended: VecDeque<Forgettable>,
    receipts: Receipts,
}

#[derive(Debug)]
struct Forgettable {
    id: SessionId,
    epoch: Epoch,
    principal: Principal,
    nonce: Nonce,
    at: Timestamp,
}

impl Registry {
    /// An empty registry.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            numbers: NumberPool::default(),
            live: BTreeMap::new(),
            openings: BTreeMap::new(),
            per_principal: BTreeMap::new(),
            expiry: ExpiryQueue::default(),
            ended: VecDeque::new(),
            receipts: Receipts::default(),
        }
    }

    /// Adds a range of numbers that the store has reserved.
    pub fn refill(&mut self, range: std::ops::Range<u64>) {
        self.numbers.refill(range);
    }

    /// Finds the place for an opening: the session that principal and nonce name already, or a new one.
    ///
    /// # Errors
    ///
    /// See [`PlaceError`]. Nothing changed.
    pub fn place(&mut self, principal: &Principal, nonce: Nonce) -> Result<Place, PlaceError> {
        if let Some(id) = self.openings.get(&(principal.clone(), nonce))
            && (self.live.contains_key(id) || !planted::is(Bug::EndedOpensAgain))
        {
            //= O-18
            return if self.live.contains_key(id) {
                Ok(Place::Existing(*id))
            } else {
                Err(PlaceError::NonceUsed)
            };
        }
        if self.live.len() >= self.limits.sessions as usize {
            return Err(PlaceError::ServerFull(self.limits.sessions));
        }
        let bound = self.limits.sessions_per_principal;
        let count = self.per_principal.get(principal).copied().unwrap_or(0);
        //= O-15
        if count >= bound {
            return Err(PlaceError::SessionsExhausted(bound));
        }
        //= O-5
        let id = self.numbers.take().ok_or(PlaceError::NoNumber)?;
        let principal = &self.known(principal);
        self.per_principal.insert(principal.clone(), count + 1);
        self.openings.insert((principal.clone(), nonce), id);
        self.live.insert(id, Timestamp::NEVER);
        Ok(Place::New(id))
    }

    /// Asks for `id` to come out of [`due`](Self::due) at `at`; replaces what was asked before.
    pub fn schedule(&mut self, id: SessionId, at: Timestamp) {
        if let Some(due) = self.live.get_mut(&id) {
            self.expiry.replace(id, *due, at);
            *due = at;
        }
    }

    /// The next session whose time has come. The shell wakes it and schedules it again for the time it then names.
    pub fn due(&mut self, now: Timestamp) -> Option<SessionId> {
        let id = self.expiry.pop_due(now)?;
        if let Some(due) = self.live.get_mut(&id) {
            *due = Timestamp::NEVER;
        }
        Some(id)
    }

    /// When [`due`](Self::due) or [`forget`](Self::forget) has the next one.
    pub fn next_wake(&self) -> Timestamp {
        let forget = self.ended.front().map_or(Timestamp::NEVER, |ended| ended.at);
        self.expiry.next().min(forget)
    }

    /// The session that principal and nonce have opened has ended. Its number is never used again; its nonce is remembered
    /// for the retention time.
    pub fn end(&mut self, now: Timestamp, id: SessionId, epoch: Epoch, principal: &Principal, nonce: Nonce) {
        if self.remove(id, principal) {
            let (principal, at) = (principal.clone(), now + self.limits.retention);
            self.ended.push_back(Forgettable { id, epoch, principal, nonce, at });
        }
    }

    /// False if it does not live.
    fn remove(&mut self, id: SessionId, principal: &Principal) -> bool {
        let Some(due) = self.live.remove(&id) else { return false };
        self.expiry.replace(id, due, Timestamp::NEVER);
        if let Some(count) = self.per_principal.get_mut(principal) {
            *count -= 1;
            if *count == 0 {
                self.per_principal.remove(principal);
            }
        }
        true
    }

    /// A session that the store has from an earlier server lives on here. It has its place whatever the bounds say, which
    /// may have been lowered since: they hold for new ones.
    pub fn adopt(&mut self, id: SessionId, principal: Principal, nonce: Nonce) {
        match self.live.insert(id, Timestamp::NEVER) {
            None => *self.per_principal.entry(principal.clone()).or_default() += 1,
            Some(due) => self.expiry.replace(id, due, Timestamp::NEVER),
        }
        self.openings.insert((principal, nonce), id);
    }

    /// A session that ended at an earlier server is remembered for the retention time, from now on.
    pub fn adopt_ended(
        &mut self,
        now: Timestamp,
        id: SessionId,
        epoch: Epoch,
        principal: Principal,
        nonce: Nonce,
    ) {
        self.openings.insert((principal.clone(), nonce), id);
        self.ended.push_back(Forgettable { id, epoch, principal, nonce, at: now + self.limits.retention });
    }

    /// The session that principal and nonce were to open was never opened: its place and its nonce are free again, its
    /// number is not.
    pub fn never_opened(&mut self, id: SessionId, principal: &Principal, nonce: Nonce) {
        if self.remove(id, principal) {
            self.openings.remove(&(principal.clone(), nonce));
        }
    }

    /// An ended session to forget now, because its time is over or too many are remembered, with the epoch in which it
    /// ended.
    pub fn forget(&mut self, now: Timestamp) -> Option<(SessionId, Epoch)> {
        let too_many = self.ended.len() > self.limits.tombstones as usize;
        if !too_many && self.ended.front()?.at > now {
            return None;
        }
        let Forgettable { id, epoch, principal, nonce, .. } = self.ended.pop_front()?;
        self.receipts.forget(id);
        self.openings.remove(&(principal, nonce));
        Some((id, epoch))
    }

    /// Remembers the answer to the release of a session that has just [ended](Self::end), for as long as that is
    /// remembered. Nobody is told until it is [recorded](Self::recorded).
    //= L-26
    pub fn released(&mut self, id: SessionId, principal: Principal, receipt: Box<Receipt>) {
        self.receipts.keep(id, principal, receipt);
    }

    /// The store has the end of a session.
    pub fn recorded(&mut self, id: SessionId) {
        self.receipts.recorded(id);
    }

    /// What the release of a session was answered with, and whose it was, for whoever has its ticket.
    //= L-43
    pub fn receipt(&self, id: SessionId, ticket: &TicketHash) -> Option<(&Principal, Released)> {
        self.receipts.find(id, ticket)
    }

    /// The same principal, as its other sessions name it: equal ones take their room once.
    pub fn known(&self, principal: &Principal) -> Principal {
        self.per_principal.get_key_value(principal).map_or(principal, |(known, _)| known).clone()
    }

    /// How many sessions live.
    pub fn live(&self) -> usize {
        self.live.len()
    }

    /// How many sessions `principal` has.
    pub fn of_principal(&self, principal: &Principal) -> u32 {
        self.per_principal.get(principal).copied().unwrap_or(0)
    }

    /// The bounds of this server.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }
}

#[cfg(test)]
mod tests;
