//! One session, its store and its clock in a struct; no sleeping.

mod durable;
mod life;
mod release;
mod slots;
mod slots_model;

use std::time::Duration;

use super::*;
use crate::config::Terms;
use crate::id::{CallAttempt, CallId, Fingerprint};
use crate::negotiate::{self, Offer, Unit, Units};
use crate::policy::Cancellation;
use crate::record::{Reply, Summary};
use crate::store::WriteError;

pub(super) const TICKET: TicketHash = TicketHash([1; 32]);
pub(super) const NEXT_TICKET: TicketHash = TicketHash([2; 32]);
pub(super) const WIRE: ConnectionId = ConnectionId(7);

/// A session with a store that answers when it is told to.
pub(super) struct World {
    pub(super) session: Session,
    pub(super) now: Timestamp,
    requests: u64,
    /// Records that the store has not answered.
    pub(super) pending: Vec<RecordId>,
    pub(super) effects: Vec<Effect>,
}

impl World {
    /// A session whose opening is not durable yet, negotiated with `units` more.
    pub(super) fn opening(units: &[Unit]) -> Self {
        let mut offer = Offer { lease: Some(Duration::from_secs(30)), slots: Some(4), ..Offer::default() };
        offer.units = units.iter().copied().fold(offer.units, Units::with);
        offer.linger = Some(Duration::from_secs(600));
        let agreement = negotiate::answer(&offer, &Terms::default(), &[]).unwrap();
        let opening = Opening {
            principal: Principal::new("issuer", "alice"),
            nonce: Nonce([3; 16]),
            agreement: Arc::new(agreement),
            ticket: TICKET,
            authority: authority(1_000),
        };
        let now = Timestamp::from_origin(Duration::from_secs(100));
        let session = Session::open(now, SessionId::new(4711).unwrap(), opening, RequestId(0));
        let mut world = Self { session, now, requests: 0, pending: Vec::new(), effects: Vec::new() };
        world.drain();
        world
    }

    /// An open session.
    pub(super) fn open() -> Self {
        Self::open_with(&[])
    }

    pub(super) fn open_with(units: &[Unit]) -> Self {
        let mut world = Self::opening(units);
        world.store_answers();
        world.effects.clear();
        world
    }

    pub(super) fn request(&mut self) -> RequestId {
        self.requests += 1;
        RequestId(self.requests)
    }

    pub(super) fn drain(&mut self) {
        while let Step::Do(effect) = self.session.poll() {
            if let Effect::Persist { record, .. } = effect {
                self.pending.push(record);
            }
            self.effects.push(effect);
        }
    }

    /// The store keeps everything that it was given.
    pub(super) fn store_answers(&mut self) {
        self.drain();
        for record in std::mem::take(&mut self.pending) {
            self.session.durable(record);
        }
        self.drain();
    }

    pub(super) fn pass(&mut self, seconds: u64) {
        self.now = self.now + Duration::from_secs(seconds);
        self.session.wake(self.now);
        self.drain();
    }

    pub(super) fn present(&mut self, ticket: TicketHash) -> Result<bool, SessionUnknown> {
        let answer = self.session.present(self.now, &ticket, Some(WIRE));
        self.drain();
        answer
    }

    /// The answers that left since the last look.
    pub(super) fn answers(&mut self) -> Vec<(u64, Answer)> {
        self.drain();
        std::mem::take(&mut self.effects)
            .into_iter()
            .filter_map(|effect| match effect {
                Effect::Answer { request, answer } => Some((request.0, answer)),
                _ => None,
            })
            .collect()
    }

    /// The events that left since the last look.
    pub(super) fn events(&mut self) -> Vec<Event> {
        self.drain();
        std::mem::take(&mut self.effects)
            .into_iter()
            .filter_map(|effect| match effect {
                Effect::Event(event) => Some(event),
                _ => None,
            })
            .collect()
    }

    pub(super) fn admit(&mut self, attempt: &str, fingerprint: u128) -> Result<Admission, AdmitError> {
        self.session.admit(call(attempt, fingerprint, Cancellation::Finish))
    }

    /// What a query is answered once the store has what it rests on.
    #[track_caller]
    pub(super) fn ask(&mut self, call: CallId, settle: bool, cancel: bool) -> CallState {
        let request = self.request();
        self.session.query(call, settle, cancel, request).unwrap();
        self.store_answers();
        let is_answer =
            |effect: &Effect| matches!(effect, Effect::Answer { request: of, .. } if *of == request);
        let at = self.effects.iter().position(is_answer).unwrap();
        match self.effects.remove(at) {
            Effect::Answer { answer: Answer::Queried(state, _), .. } => state,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    pub(super) fn run(&mut self, attempt: &str) {
        assert_eq!(self.admit(attempt, 1), Ok(Admission::Run));
    }
}

pub(super) fn authority(until_s: u64) -> Authority {
    Authority {
        until: Timestamp::from_origin(Duration::from_secs(until_s)),
        unix_s: Some(until_s),
        scopes: Arc::from([Box::from("read")]),
    }
}

pub(super) fn call(attempt: &str, fingerprint: u128, cancellation: Cancellation) -> Admit {
    Admit {
        attempt: attempt.parse().unwrap(),
        fingerprint: Fingerprint(fingerprint),
        streams: false,
        cancellation,
        keeping: Keeping::Memory,
    }
}

pub(super) fn id(attempt: &str) -> CallId {
    attempt.parse::<CallAttempt>().unwrap().call
}

pub(super) fn reply(text: &'static str) -> Reply {
    Reply { code: 0, head: Default::default(), message: text.into(), trailer: Default::default() }
}
