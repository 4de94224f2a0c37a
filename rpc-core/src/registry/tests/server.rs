//! A server as far as its sessions go: the registry, the sessions, and a store that answers at once and outlives it.

use std::num::NonZeroU32;
use std::sync::Arc;

use super::*;
use crate::config::Terms;
use crate::id::ConnectionId;
use crate::negotiate::{self, Agreement, Offer};
use crate::record::{Change, End, Write};
use crate::session::{
    Answer, Authority, Effect, Event, Opening, RenewError, RequestId, Restored, Session, SessionUnknown, Step,
};
use crate::store::{MemoryStore, Store, Stored, WriteError};

pub(super) const LEASE: Duration = Duration::from_secs(10);
pub(super) const LINGER: Duration = Duration::from_secs(25);
const WIRE: ConnectionId = ConnectionId(7);

/// What an opening is answered.
#[derive(Debug, PartialEq)]
pub(super) enum Opened {
    New(SessionId),
    Again(SessionId),
    Refused(PlaceError),
    /// The nonce names a session whose time is over.
    Over,
    /// The store did not keep it.
    NotKept,
}

pub(super) struct Server {
    pub(super) registry: Registry,
    pub(super) sessions: BTreeMap<SessionId, Session>,
    store: MemoryStore,
    agreement: Arc<Agreement>,
    /// The store refuses the next opening.
    refuses: bool,
    requests: u64,
    answers: Vec<Answer>,
}

impl Server {
    pub(super) fn new(limits: Limits) -> Self {
        let offer = Offer { lease: Some(LEASE), linger: Some(LINGER), ..Offer::default() };
        Self {
            registry: Registry::new(limits),
            sessions: BTreeMap::new(),
            store: MemoryStore::new(),
            agreement: Arc::new(negotiate::answer(&offer, &Terms::default(), &[]).unwrap()),
            refuses: false,
            requests: 0,
            answers: Vec::new(),
        }
    }

    pub(super) fn open(
        &mut self,
        now: Timestamp,
        who: &Principal,
        nonce: Nonce,
        ticket: TicketHash,
        refuses: bool,
    ) -> Opened {
        let place = loop {
            match self.registry.place(who, nonce) {
                Err(PlaceError::NoNumber) => {
                    let range = self.store.reserve_numbers(NonZeroU32::new(2).unwrap()).unwrap();
                    self.registry.refill(range);
                }
                other => break other,
            }
        };
        let request = self.request();
        match place {
            Ok(Place::New(id)) => {
                let (principal, agreement) = (who.clone(), Arc::clone(&self.agreement));
                let opening = Opening { principal, nonce, agreement, ticket, authority: authority() };
                self.refuses = refuses;
                self.drain(now, Session::open(now, id, opening, request));
                match self.answers.pop() {
                    Some(Answer::Opened { existing: false }) => Opened::New(id),
                    Some(Answer::Failed(_)) => Opened::NotKept,
                    other => panic!("{other:?}"),
                }
            }
            Ok(Place::Existing(id)) => {
                let again = self.with(now, id, |session| session.open_again(now, ticket, request));
                if again.is_err() {
                    return Opened::Over;
                }
                assert_eq!(self.answers.pop(), Some(Answer::Opened { existing: true }));
                Opened::Again(id)
            }
            Err(error) => Opened::Refused(error),
        }
    }

    /// A request with a ticket, and what it then asks for.
    pub(super) fn present(
        &mut self,
        now: Timestamp,
        id: SessionId,
        ticket: &TicketHash,
        wire: bool,
    ) -> Result<(), SessionUnknown> {
        let is_owned =
            self.sessions.get(&id).ok_or(SessionUnknown).map(|session| session.is_owned_by(now, ticket))?;
        let presented = self.with(now, id, |session| session.present(now, ticket, wire.then_some(WIRE)));
        assert_eq!(presented.is_ok(), is_owned, "the question and the request are answered alike");
        presented.map(|_| ())
    }

    pub(super) fn renew(
        &mut self,
        now: Timestamp,
        id: SessionId,
        ticket: TicketHash,
        by: &Principal,
    ) -> Result<(), RenewError> {
        let request = self.request();
        self.with(now, id, |session| session.renew(now, Some(ticket), Some((by, authority())), request))?;
        assert_eq!(self.answers.pop(), Some(Answer::Renewed));
        Ok(())
    }

    pub(super) fn lose(&mut self, now: Timestamp, id: SessionId) {
        self.with(now, id, |session| session.connection_lost(now, WIRE));
    }

    pub(super) fn release(&mut self, now: Timestamp, id: SessionId) {
        let request = self.request();
        self.with(now, id, |session| session.release(now, request)).unwrap();
        assert!(matches!(self.answers.pop(), Some(Answer::Released(_))));
    }

    pub(super) fn abort(&mut self, now: Timestamp, id: SessionId) {
        let request = self.request();
        self.with(now, id, |session| session.abort(request)).unwrap();
        assert!(matches!(self.answers.pop(), Some(Answer::Aborted { .. })));
    }

    /// Wakes all whose time has come.
    pub(super) fn wake(&mut self, now: Timestamp) {
        while let Some(id) = self.registry.due(now) {
            self.with(now, id, |session| session.wake(now));
        }
    }

    pub(super) fn forget(&mut self, now: Timestamp) -> Vec<SessionId> {
        let mut forgotten = Vec::new();
        while let Some((session, epoch)) = self.registry.forget(now) {
            self.write(Write { session, epoch, change: Change::Forget }).unwrap();
            forgotten.push(session);
        }
        forgotten
    }

    /// The next server, on the same store.
    pub(super) fn restart(&mut self, now: Timestamp) {
        self.registry = Registry::new(self.registry.limits().clone());
        self.sessions.clear();
        for (id, stored) in self.store.scan(None, usize::MAX).unwrap() {
            match stored {
                Stored::Live(epoch, record, slots) => {
                    let (principal, nonce) = (record.principal.clone(), record.nonce);
                    let authority_until = Timestamp::NEVER;
                    let restored = Restored { id, epoch, record, slots, authority_until };
                    self.registry.adopt(id, principal, nonce);
                    self.drain(now, Session::restore(now, restored, false));
                }
                Stored::Ended(epoch, tombstone) => {
                    let principal = tombstone.principal.clone();
                    self.registry.adopt_ended(now, id, epoch, principal.clone(), tombstone.nonce);
                    if let Some(receipt) = tombstone.receipt {
                        self.registry.released(id, principal, receipt);
                    }
                    self.registry.recorded(id);
                }
            }
        }
    }

    fn request(&mut self) -> RequestId {
        self.requests += 1;
        RequestId(self.requests)
    }

    fn with<T>(&mut self, now: Timestamp, id: SessionId, command: impl FnOnce(&mut Session) -> T) -> T {
        let mut session = self.sessions.remove(&id).unwrap();
        let answer = command(&mut session);
        self.drain(now, session);
        answer
    }

    /// Does what the session wants, and keeps it if it lives.
    fn drain(&mut self, now: Timestamp, mut session: Session) {
        let id = session.id();
        loop {
            match session.poll() {
                Step::Do(Effect::Persist { record, epoch, change }) => {
                    match self.write(Write { session: id, epoch, change }) {
                        Ok(()) => session.durable(record),
                        Err(error) => session.store_failed(record, &error),
                    }
                }
                Step::Do(Effect::Answer { answer, .. }) => self.answers.push(answer),
                Step::Do(Effect::Event(event)) => self.heard(now, &session, event),
                Step::Do(other) => panic!("nobody makes a call: {other:?}"),
                Step::Idle { wake } => {
                    self.registry.schedule(id, wake);
                    break;
                }
            }
        }
        if session.state().end().is_none() {
            self.sessions.insert(id, session);
        }
    }

    fn heard(&mut self, now: Timestamp, session: &Session, event: Event) {
        let id = session.id();
        match event {
            Event::NeverOpened => self.registry.never_opened(id, session.principal(), session.nonce()),
            Event::Ended(end) => {
                self.registry.end(now, id, session.epoch(), session.principal(), session.nonce());
                let tombstone = session.tombstone().unwrap();
                assert_eq!(tombstone.receipt.is_some(), end == End::Released);
                if let Some(receipt) = tombstone.receipt {
                    self.registry.released(id, tombstone.principal, receipt);
                }
            }
            Event::EndRecorded(_) => self.registry.recorded(id),
            Event::Fenced => panic!("{id} is fenced, and nobody else has the store"),
            Event::Opened
            | Event::Attached(_)
            | Event::Detached(_)
            | Event::Lingering
            | Event::Returned
            | Event::AuthorityRenewed
            | Event::TicketRotated
            | Event::ReleaseMoved => {}
        }
    }

    fn write(&mut self, write: Write) -> Result<(), WriteError> {
        if matches!(write.change, Change::Create(_)) && std::mem::take(&mut self.refuses) {
            return Err(WriteError::Overloaded);
        }
        self.store.commit(&[write]).unwrap().remove(0)
    }
}

fn authority() -> Authority {
    Authority { until: Timestamp::NEVER, unix_s: None, scopes: Arc::from([]) }
}
