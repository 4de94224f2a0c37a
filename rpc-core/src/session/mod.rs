//! One session, acceptor's side.
//!
//! The shell holds one [`Session`] behind one lock. It calls a command with the time, then drains [`Session::poll`]
//! until it answers [`Step::Idle`], and does what came out. Commands and events:
//!
//! | when | call |
//! | --- | --- |
//! | a request names the session | [`present`](Session::present), then what the request asks for |
//! | a protected call | [`admit`](Session::admit); after `Run`, [`complete`](Session::complete), [`stopped`](Session::stopped) or [`abandon`](Session::abandon) |
//! | a connection is gone | [`connection_lost`](Session::connection_lost) |
//! | the store answered | [`durable`](Session::durable) or [`store_failed`](Session::store_failed) |
//! | the time of `Idle` has come | [`wake`](Session::wake) |

mod admission;
mod authority;
mod effect;
mod kept;
mod lease;
mod lifecycle;
mod outbox;
mod recording;
mod release;
mod restore;
mod settling;
mod slots;
mod tally;
mod tickets;
mod wanted;

use std::sync::Arc;

pub use admission::{Admission, Admit, AdmitError, Keeping, refused_before_admission};
pub use authority::{Authority, RenewError};
pub use effect::{Answer, Effect, Event, RecordId, RequestId};
pub use lifecycle::{Input, State};
pub use restore::Restored;
pub use slots::{CallState, Kept};
pub use tickets::Presented;
pub use wanted::Said;

use crate::error::Reason;
use crate::id::{ConnectionId, Epoch, Nonce, Sequence, SessionId, SlotId, TicketHash};
use crate::negotiate::{Agreement, FirstTurn, Unit};
use crate::planted::{self, Bug};
use crate::principal::Principal;
use crate::record::{Change, End, Receipt, SessionRecord, TicketHashes, Tombstone};
use crate::release::ReleaseToken;
use crate::time::Timestamp;
use lease::Lease;
use outbox::Outbox;
use release::Releasing;
use settling::Settling;
use slots::Slots;
use tally::Tally;
use wanted::Wanted;

/// What a session is opened with.
#[derive(Debug, Clone)]
pub struct Opening {
    /// Whose it is.
    pub principal: Principal,
    /// What named the opening.
    pub nonce: Nonce,
    /// What was negotiated.
    pub agreement: Arc<Agreement>,
    /// The first ticket.
    pub ticket: TicketHash,
    /// Until when it may act.
    pub authority: Authority,
}

/// The request names no session that its sender owns: unknown, ended, or not its ticket. They are not told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no such session")]
pub struct SessionUnknown;

/// What [`Session::poll`] answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Do this.
    Do(Effect),
    /// Nothing more to do until a command, an event, or this time.
    Idle {
        /// When to call [`Session::wake`].
        wake: Timestamp,
    },
}

/// One session.
///
/// A server may have a million, most of them idle: what only some need, or only for some time, is in a box.
#[derive(Debug, Clone, Hash)]
pub struct Session {
    id: SessionId,
    /// What the store is to have of it.
    record: Arc<SessionRecord>,
    epoch: Epoch,
    state: State,
    /// When its authority ends, on the shell's clock.
    authority_until: Timestamp,
    lease: Lease,
    connections: Vec<ConnectionId>,
    slots: Slots,
    tally: Tally,
    releasing: Option<Box<Releasing>>,
    /// The acceptor wants it to be released.
    wanted: Option<Box<Wanted>>,
    /// Where it is available.
    token: Option<Box<ReleaseToken>>,
    /// The record of the opening, which repeated openings wait for too.
    created: RecordId,
    /// The store has it under the epoch of a server that is gone: the first request of its owner claims it.
    unclaimed: bool,
    /// The record of the claim, until the store has answered for it, and the epoch before it.
    claiming: Option<Box<(RecordId, Epoch)>>,
    settling: Settling,
    outbox: Outbox,
}

impl Session {
    /// Opens the session numbered `id`; `request` is answered once its record is durable.
    pub fn open(now: Timestamp, id: SessionId, opening: Opening, request: RequestId) -> Self {
        let Opening { principal, nonce, agreement, ticket, authority } = opening;
        let mut session = Self {
            id,
            epoch: Epoch::FIRST,
            state: State::Opening,
            authority_until: authority.until,
            lease: Lease::new(now),
            connections: Vec::new(),
            slots: Slots::new(agreement.slots, agreement.reply_bytes),
            tally: Tally::default(),
            releasing: None,
            wanted: None,
            token: release_token(&agreement, ReleaseToken::new),
            created: RecordId::default(),
            unclaimed: false,
            claiming: None,
            settling: Settling::default(),
            outbox: Outbox::default(),
            record: Arc::new(SessionRecord {
                principal,
                nonce,
                agreement,
                tickets: TicketHashes::first(ticket),
                authority_unix_s: authority.unix_s,
                scopes: authority.scopes,
            }),
        };
        //= O-4
        session.created = session.persist(Change::Create(Arc::clone(&session.record)));
        session.outbox.after(session.created, Effect::Event(Event::Opened));
        let answer = Answer::Opened { existing: false };
        session.outbox.after(session.created, Effect::Answer { request, answer });
        session
    }

    /// Answers an opening with the nonce of this session: its owner lost the first answer. The ticket is a fresh one;
    /// the one before stays valid until this is used.
    ///
    /// # Errors
    ///
    /// The session has ended.
    //= O-3
    pub fn open_again(
        &mut self,
        now: Timestamp,
        ticket: TicketHash,
        request: RequestId,
    ) -> Result<(), SessionUnknown> {
        self.alive(now)?;
        self.claim();
        self.traffic(now);
        self.record_mut().tickets.issue(ticket);
        let record = self.update();
        self.outbox.after(record, Effect::Answer { request, answer: Answer::Opened { existing: true } });
        Ok(())
    }

    /// Whether this ticket proves ownership of the session. Changes nothing: whoever refuses the request for another
    /// reason leaves the session as it was (and [`present`](Self::present)s nothing).
    pub fn is_owned_by(&self, now: Timestamp, ticket: &TicketHash) -> bool {
        self.alive(now).is_ok() && self.record.tickets.know(ticket)
    }

    /// A request that names this session came, with this ticket, on this connection. Counts as traffic.
    ///
    /// Returns whether the connection is new to the session, so that the shell remembers to report its loss.
    ///
    /// # Errors
    ///
    /// The ticket is not this session's, or the session has ended. Nothing changed.
    pub fn present(
        &mut self,
        now: Timestamp,
        ticket: &TicketHash,
        connection: Option<ConnectionId>,
    ) -> Result<bool, SessionUnknown> {
        self.alive(now)?;
        match self.record.tickets.judge(ticket) {
            None => return Err(SessionUnknown),
            Some(Presented::Current) => self.claim(),
            Some(Presented::Promoted) => {
                self.claim();
                self.record_mut().tickets.present(ticket);
                self.update();
                self.outbox.at_once(Effect::Event(Event::TicketRotated));
            }
        }
        self.traffic(now);
        Ok(connection.is_some_and(|connection| self.attach(connection)))
    }

    /// Something came from the owner on a request that was admitted before, such as a keepalive. It does not bring a session
    /// back whose time is over.
    //= L-5
    pub fn traffic(&mut self, now: Timestamp) {
        let before = self.state;
        if self.alive(now).is_ok() && self.step(Input::Traffic) {
            self.lease.traffic(now);
            if before == State::Lingering {
                self.outbox.at_once(Effect::Event(Event::Returned));
            }
        }
    }

    /// A connection is gone. The last one lost begins the linger.
    pub fn connection_lost(&mut self, now: Timestamp, connection: ConnectionId) {
        let Some(index) = self.connections.iter().position(|known| *known == connection) else { return };
        self.connections.swap_remove(index);
        if self.connections.is_empty() {
            self.connections = Vec::new();
        }
        self.outbox.at_once(Effect::Event(Event::Detached(connection)));
        // A session whose time is over does not begin to linger, although nobody woke it: its owner may have been told.
        //= L-6
        if self.connections.is_empty() && self.alive(now).is_ok() && self.step(Input::LastConnectionLost) {
            self.lease.lost(now);
            //= L-33
            self.refuse_release();
            self.outbox.at_once(Effect::Event(Event::Lingering));
        }
    }

    /// The time of the last [`Step::Idle`] has come; harmless at any other time.
    pub fn wake(&mut self, now: Timestamp) {
        if self.releasing.as_ref().is_some_and(|releasing| releasing.until <= now) {
            self.release_time_up();
        }
        if self.wanted.as_ref().is_some_and(|wanted| wanted.until <= now) {
            self.wanted_time_up();
        }
        if self.deadline() <= now && self.step(Input::DeadlinePassed) {
            self.finish();
        }
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Step {
        match self.outbox.poll() {
            Some(effect) => {
                if let Effect::Dispatch(call) = effect {
                    self.slots.dispatched(call);
                }
                Step::Do(effect)
            }
            None => Step::Idle { wake: self.next_wake() },
        }
    }

    /// When [`wake`](Self::wake) has something to do.
    pub fn next_wake(&self) -> Timestamp {
        let release = self.releasing.as_ref().map_or(Timestamp::NEVER, |releasing| releasing.until);
        let wanted = self.wanted.as_ref().map_or(Timestamp::NEVER, |wanted| wanted.until);
        self.deadline().min(release).min(wanted)
    }

    /// Its number.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// Whose it is.
    pub fn principal(&self) -> &Principal {
        &self.record.principal
    }

    /// What named its opening.
    pub fn nonce(&self) -> Nonce {
        self.record.nonce
    }

    /// What was negotiated.
    pub fn agreement(&self) -> &Arc<Agreement> {
        &self.record.agreement
    }

    /// How many servers have owned it.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Where it is in its life.
    pub fn state(&self) -> State {
        self.state
    }

    /// Calls that run.
    pub fn running(&self) -> u32 {
        self.slots.running()
    }

    /// The last sequence of a slot that was admitted or settled.
    pub fn last_sequence(&self, slot: SlotId) -> Sequence {
        self.slots.last(slot)
    }

    /// Bytes of replies kept for replay.
    pub fn reply_bytes(&self) -> usize {
        self.slots.reply_bytes()
    }

    /// What is remembered of the session once it has ended.
    pub fn tombstone(&self) -> Option<Tombstone> {
        let end = self.state.end()?;
        let receipt = match end {
            End::Released => Some(Box::new(Receipt {
                tickets: self.record.tickets.clone(),
                summary: self.tally.summary(),
            })),
            End::Aborted | End::Expired => None,
        };
        Some(Tombstone { principal: self.record.principal.clone(), nonce: self.record.nonce, end, receipt })
    }

    /// The state is asked again here, since a request is read after its ticket was checked, and that may take long.
    //= L-2
    //= L-18
    //= I8
    fn takes_new_calls(&self) -> Result<(), AdmitError> {
        match self.state {
            State::Connected => Ok(()),
            State::Releasing => Err(AdmitError::Releasing),
            State::Lingering => Err(AdmitError::Lingering),
            State::Opening | State::Ended(_) => Err(AdmitError::Ended),
        }
    }

    /// Whoever calls `wake` may be late. A session whose time is over has ended, whether or not it was told.
    fn alive(&self, now: Timestamp) -> Result<(), SessionUnknown> {
        match self.state {
            State::Opening | State::Connected | State::Lingering | State::Releasing
                if now < self.deadline() || planted::is(Bug::ExpiredGoesOn) =>
            {
                Ok(())
            }
            State::Opening | State::Connected | State::Lingering | State::Releasing | State::Ended(_) => {
                Err(SessionUnknown)
            }
        }
    }

    fn deadline(&self) -> Timestamp {
        self.lease.deadline(self.state, &self.record.agreement)
    }

    fn step(&mut self, input: Input) -> bool {
        let Some(next) = self.state.after(input) else { return false };
        self.state = next;
        true
    }

    fn attach(&mut self, connection: ConnectionId) -> bool {
        if self.connections.contains(&connection) {
            return false;
        }
        self.connections.push(connection);
        self.outbox.at_once(Effect::Event(Event::Attached(connection)));
        true
    }

    /// Has the store make a change. Whatever a server does in a session that it found comes after its claim, but the end.
    fn persist(&mut self, change: Change) -> RecordId {
        if !matches!(change, Change::End(_)) {
            self.claim();
        }
        self.outbox.persist(self.epoch, change)
    }

    fn update(&mut self) -> RecordId {
        self.persist(Change::Update(Arc::clone(&self.record)))
    }

    /// What the store is to have. It keeps what it has until it is told: [`update`](Self::update).
    fn record_mut(&mut self) -> &mut SessionRecord {
        Arc::make_mut(&mut self.record)
    }

    /// The session has just ended: keeps its tombstone and tells everybody.
    fn finish(&mut self) -> RecordId {
        let wanted = self.take_wanted();
        self.stop_all();
        let Some(tombstone) = self.tombstone() else { return RecordId::default() };
        let end = tombstone.end;
        let record = self.persist(Change::End(Box::new(tombstone)));
        self.outbox.at_once(Effect::Event(Event::Ended(end)));
        //= L-34
        self.outbox.after(record, Effect::Event(Event::EndRecorded(end)));
        //= D-23
        for request in wanted {
            self.outbox.after(record, Effect::Answer { request, answer: Answer::Ended(end) });
        }
        record
    }

    fn stop_all(&mut self) {
        if let Some(releasing) = self.releasing.take() {
            for request in releasing.requests {
                let answer = Answer::Failed(Reason::SessionEnded);
                self.outbox.at_once(Effect::Answer { request, answer });
            }
        }
        self.answer_wanted(&Answer::Failed(Reason::SessionEnded));
        //= L-25
        let stoppable: Vec<_> =
            self.slots.running_calls().filter(|call| self.slots.may_stop(*call)).collect();
        for call in stoppable {
            self.outbox.at_once(Effect::Stop(call));
        }
    }
}

/// The release token of a session of which this is the acceptor, where it is available.
fn release_token(
    agreement: &Agreement,
    make: impl FnOnce(bool, bool) -> ReleaseToken,
) -> Option<Box<ReleaseToken>> {
    let is_available = agreement.units.contains(Unit::NegotiatedRelease);
    is_available.then(|| Box::new(make(true, agreement.first_turn == FirstTurn::Acceptor)))
}

#[cfg(test)]
mod tests;
