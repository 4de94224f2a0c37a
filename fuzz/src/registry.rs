//! The registry of sessions, beside a plain list of them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rpc_core::config::Limits;
use rpc_core::id::{Epoch, Nonce, SessionId};
use rpc_core::principal::Principal;
use rpc_core::registry::{Place, PlaceError, Registry};
use rpc_core::time::Timestamp;

use super::choices::Choices;

const PER_PRINCIPAL: u32 = 4;
const SESSIONS: u32 = 10;
const TOMBSTONES: u32 = 6;
const RETENTION: Duration = Duration::from_secs(60);

/// Openings, ends, deadlines and time, in any order. No number is given twice, a nonce names one session until that is
/// forgotten, no bound is exceeded, nothing comes out before its time, and nothing is left behind.
pub fn run(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let mut world = World::new();
    while !choices.are_over() {
        world.step(&mut choices);
        world.check();
    }
    world.finish();
}

struct World {
    registry: Registry,
    seconds: u64,
    reserved: u64,
    numbers: BTreeSet<SessionId>,
    live: BTreeMap<SessionId, (u8, u8)>,
    /// In the order of their ends, with the time of each.
    ended: Vec<(SessionId, (u8, u8), u64)>,
    deadlines: BTreeMap<SessionId, u64>,
}

impl World {
    fn new() -> Self {
        let mut limits = Limits::default();
        limits.sessions_per_principal = PER_PRINCIPAL;
        limits.sessions = SESSIONS;
        limits.tombstones = TOMBSTONES;
        limits.retention = RETENTION;
        Self {
            registry: Registry::new(limits),
            seconds: 0,
            reserved: 1,
            numbers: BTreeSet::new(),
            live: BTreeMap::new(),
            ended: Vec::new(),
            deadlines: BTreeMap::new(),
        }
    }

    fn step(&mut self, choices: &mut Choices<'_>) {
        match choices.below(8) {
            0 | 1 => self.place(choices.byte() % 4, choices.byte() % 8),
            2 => {
                let next = self.reserved + choices.below(4) as u64;
                self.registry.refill(self.reserved..next);
                self.reserved = next;
            }
            3 => {
                let Some(id) = self.chosen(choices) else { return };
                let at = self.seconds + choices.below(100) as u64;
                self.registry.schedule(id, time(at));
                self.deadlines.insert(id, at);
            }
            4 => self.due(),
            5 => {
                let Some(id) = self.chosen(choices) else { return };
                let Some(owner) = self.live.remove(&id) else { return };
                self.end(id, owner);
                self.deadlines.remove(&id);
            }
            6 => {
                let Some(id) = self.chosen(choices) else { return };
                let Some((principal, nonce)) = self.live.remove(&id) else { return };
                self.registry.never_opened(id, &name(principal), Nonce([nonce; 16]));
                self.deadlines.remove(&id);
            }
            _ => {
                self.seconds += choices.below(40) as u64;
                self.forget();
            }
        }
    }

    fn end(&mut self, id: SessionId, (principal, nonce): (u8, u8)) {
        let epoch = Epoch(id.value());
        self.registry.end(time(self.seconds), id, epoch, &name(principal), Nonce([nonce; 16]));
        self.ended.push((id, (principal, nonce), self.seconds));
    }

    fn chosen(&self, choices: &mut Choices<'_>) -> Option<SessionId> {
        let index = choices.below(self.live.len().max(1));
        self.live.keys().nth(index).copied()
    }

    fn place(&mut self, principal: u8, nonce: u8) {
        let owner = (principal, nonce);
        let of_principal = self.live.values().filter(|(of, _)| *of == principal).count();
        let before = self.live.iter().find(|(_, of)| **of == owner).map(|(id, _)| *id);
        match self.registry.place(&name(principal), Nonce([nonce; 16])) {
            Ok(Place::New(id)) => {
                assert!(before.is_none() && !self.is_remembered(owner), "{id} is the second with its nonce");
                assert!(self.numbers.insert(id), "{id} was given before");
                assert!(id.value() < self.reserved, "{id} was not reserved");
                self.live.insert(id, owner);
            }
            Ok(Place::Existing(id)) => assert_eq!(before, Some(id)),
            Err(PlaceError::NonceUsed) => assert!(before.is_none() && self.is_remembered(owner)),
            Err(PlaceError::SessionsExhausted(bound)) => {
                assert_eq!((bound as usize, bound), (of_principal, PER_PRINCIPAL));
            }
            Err(PlaceError::ServerFull(bound)) => {
                assert_eq!((bound as usize, bound), (self.live.len(), SESSIONS));
            }
            Err(PlaceError::NoNumber) => assert_eq!(self.numbers.len() as u64, self.reserved - 1),
        }
    }

    fn is_remembered(&self, owner: (u8, u8)) -> bool {
        self.ended.iter().any(|(_, of, _)| *of == owner)
    }

    fn due(&mut self) {
        let earliest = self.deadlines.values().min().copied();
        match self.registry.due(time(self.seconds)) {
            Some(id) => {
                let at = self.deadlines.remove(&id).expect("nothing was asked for it");
                assert!(at <= self.seconds && Some(at) == earliest, "{id} at {at}");
            }
            None => assert!(earliest.is_none_or(|at| at > self.seconds)),
        }
    }

    fn forget(&mut self) {
        while let Some((id, epoch)) = self.registry.forget(time(self.seconds)) {
            let (first, _, at) = self.ended.remove(0);
            assert_eq!((id, epoch), (first, Epoch(id.value())));
            let is_over = at + RETENTION.as_secs() <= self.seconds;
            assert!(is_over || self.ended.len() >= TOMBSTONES as usize, "{id} is forgotten too early");
        }
        assert!(self.ended.len() <= TOMBSTONES as usize);
    }

    fn check(&self) {
        assert_eq!(self.registry.live(), self.live.len());
        for principal in 0..4 {
            let count = self.live.values().filter(|(of, _)| *of == principal).count();
            assert_eq!(self.registry.of_principal(&name(principal)) as usize, count);
        }
        let forget = self.ended.first().map(|(_, _, at)| time(at + RETENTION.as_secs()));
        let due = self.deadlines.values().min().map(|at| time(*at));
        assert_eq!(
            self.registry.next_wake(),
            forget.into_iter().chain(due).min().unwrap_or(Timestamp::NEVER)
        );
    }

    /// Everything ends, and is forgotten in the end.
    fn finish(&mut self) {
        for (id, owner) in std::mem::take(&mut self.live) {
            self.end(id, owner);
        }
        self.deadlines.clear();
        self.seconds += RETENTION.as_secs();
        self.forget();
        assert!(self.ended.is_empty());
        self.check();
        assert_eq!(self.registry.next_wake(), Timestamp::NEVER);
    }
}

fn time(seconds: u64) -> Timestamp {
    Timestamp::from_origin(Duration::from_secs(seconds))
}

fn name(principal: u8) -> Principal {
    Principal::new("issuer", format!("principal-{principal}"))
}
