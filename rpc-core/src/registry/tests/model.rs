//! Random operations on the sessions of a server and on the obvious thing: a list of them.

use proptest::prelude::*;

use super::server::{LEASE, LINGER, Opened, Server};
use super::*;

const SESSIONS: u32 = 6;
const PER_PRINCIPAL: u32 = 3;
const TOMBSTONES: u32 = 4;
const RETENTION: Duration = Duration::from_secs(40);

#[derive(Debug, Clone)]
enum Op {
    Open { who: usize, nonce: u8, refused: bool },
    Present { which: usize, ticket: usize, wire: bool },
    Renew { which: usize, ticket: usize, by: usize },
    Lose { which: usize },
    Release { which: usize, ticket: usize },
    Abort { which: usize, ticket: usize },
    Pass { seconds: u64 },
    Wake,
    Forget,
    Restart,
}

fn op() -> impl Strategy<Value = Op> {
    let (which, ticket) = (0..8_usize, 0..6_usize);
    let asked = || (which.clone(), ticket.clone());
    prop_oneof![
        6 => (0..3_usize, 0..4_u8, proptest::bool::weighted(0.1))
            .prop_map(|(who, nonce, refused)| Op::Open { who, nonce, refused }),
        6 => (asked(), proptest::bool::ANY)
            .prop_map(|((which, ticket), wire)| Op::Present { which, ticket, wire }),
        4 => (asked(), 0..3_usize).prop_map(|((which, ticket), by)| Op::Renew { which, ticket, by }),
        2 => which.clone().prop_map(|which| Op::Lose { which }),
        2 => asked().prop_map(|(which, ticket)| Op::Release { which, ticket }),
        1 => asked().prop_map(|(which, ticket)| Op::Abort { which, ticket }),
        4 => (1..14_u64).prop_map(|seconds| Op::Pass { seconds }),
        3 => Just(Op::Wake),
        2 => Just(Op::Forget),
        1 => Just(Op::Restart),
    ]
}

/// A session that has not been forgotten.
#[derive(Debug, Clone)]
struct One {
    id: SessionId,
    who: usize,
    nonce: u8,
    /// Those that are valid: the current one, and the next where there is one.
    tickets: Vec<u32>,
    life: Life,
}

#[derive(Debug, Clone, PartialEq)]
enum Life {
    /// Until then, if nothing comes; `wire`: a connection carries it.
    Lives {
        until: Timestamp,
        wire: bool,
    },
    Ended {
        at: Timestamp,
        released: bool,
    },
}

impl One {
    fn lives(&self) -> bool {
        matches!(self.life, Life::Lives { .. })
    }

    /// Whether it can be reached; nobody need have noticed that its time is over.
    fn is_there(&self, now: Timestamp) -> bool {
        matches!(self.life, Life::Lives { until, .. } if now < until)
    }
}

struct World {
    server: Server,
    /// In the order of their ends, where they have ended; those that live are behind.
    list: Vec<One>,
    numbers: Vec<SessionId>,
    tickets: u32,
    now: Timestamp,
}

/// Differs in its last bytes only, which count like all others.
fn ticket(number: u32) -> TicketHash {
    let mut bytes = [9; 32];
    bytes[28..].copy_from_slice(&number.to_be_bytes());
    TicketHash(bytes)
}

fn principal(who: usize) -> Principal {
    Principal::new("issuer", ["alice", "bob", "carol"][who])
}

impl World {
    fn new() -> Self {
        let mut limits = Limits { retention: RETENTION, ..Limits::default() };
        limits.sessions_per_principal = PER_PRINCIPAL;
        (limits.sessions, limits.tombstones) = (SESSIONS, TOMBSTONES);
        let (server, now) = (Server::new(limits), at(100));
        Self { server, list: Vec::new(), numbers: Vec::new(), tickets: 0, now }
    }

    fn apply(&mut self, op: &Op) {
        match *op {
            Op::Open { who, nonce, refused } => self.open(who, nonce, refused),
            Op::Present { which, ticket, wire } => _ = self.present(which, ticket, wire),
            Op::Renew { which, ticket, by } => self.renew(which, ticket, by),
            Op::Lose { which } => self.lose(which),
            Op::Release { which, ticket } => {
                let Some(id) = self.present(which, ticket, true) else { return };
                self.server.release(self.now, id);
                self.ends(id, true);
            }
            Op::Abort { which, ticket } => {
                let Some(id) = self.present(which, ticket, true) else { return };
                self.server.abort(self.now, id);
                self.ends(id, false);
            }
            Op::Pass { seconds } => self.now = self.now + Duration::from_secs(seconds),
            Op::Wake => self.wake(),
            Op::Forget => self.forget(),
            Op::Restart => self.restart(),
        }
    }

    fn open(&mut self, who: usize, nonce: u8, refused: bool) {
        self.tickets += 1;
        let hash = ticket(self.tickets);
        let opened = self.server.open(self.now, &principal(who), Nonce([nonce; 16]), hash, refused);
        let (until, lives) = (self.now + LEASE, self.list.iter().filter(|one| one.lives()).count());
        let of_principal = self.list.iter().filter(|one| one.lives() && one.who == who).count();
        let known = self.list.iter_mut().find(|one| (one.who, one.nonce) == (who, nonce));
        match known {
            Some(one) if !one.lives() => assert_eq!(opened, Opened::Refused(PlaceError::NonceUsed)),
            Some(one) if !one.is_there(self.now) => assert_eq!(opened, Opened::Over),
            Some(one) => {
                assert_eq!(opened, Opened::Again(one.id));
                one.tickets.truncate(1);
                one.tickets.push(self.tickets);
                let wire = matches!(one.life, Life::Lives { wire: true, .. });
                one.life = Life::Lives { until, wire };
            }
            None if lives >= SESSIONS as usize => {
                assert_eq!(opened, Opened::Refused(PlaceError::ServerFull(SESSIONS)));
            }
            None if of_principal >= PER_PRINCIPAL as usize => {
                assert_eq!(opened, Opened::Refused(PlaceError::SessionsExhausted(PER_PRINCIPAL)));
            }
            None if refused => assert_eq!(opened, Opened::NotKept),
            None => {
                let Opened::New(id) = opened else { panic!("{opened:?}") };
                assert!(!self.numbers.contains(&id), "{id} was given before");
                self.numbers.push(id);
                let life = Life::Lives { until, wire: false };
                self.list.push(One { id, who, nonce, tickets: vec![self.tickets], life });
            }
        }
    }

    /// One of the last numbers that were given, whatever became of it, and one that never was.
    fn number(&self, which: usize) -> SessionId {
        let given = self.numbers.len().checked_sub(which).and_then(|at| self.numbers.get(at));
        given.copied().unwrap_or_else(|| SessionId::new(9_999).unwrap())
    }

    fn find(&mut self, id: SessionId) -> Option<&mut One> {
        self.list.iter_mut().find(|one| one.id == id)
    }

    /// A request with one of its tickets, or with one of the last that were given to anybody.
    fn present(&mut self, which: usize, ticket_of: usize, wire: bool) -> Option<SessionId> {
        let (id, now, last) = (self.number(which), self.now, self.tickets);
        let one = self.find(id);
        let own = one.as_ref().and_then(|one| one.tickets.get(ticket_of).copied());
        let shown = own.unwrap_or_else(|| last.saturating_sub(ticket_of as u32));
        let valid = one.filter(|one| one.is_there(now) && one.tickets.contains(&shown));
        let is_valid = valid.is_some();
        if let Some(one) = valid {
            if one.tickets.first() != Some(&shown) {
                one.tickets = vec![shown];
            }
            let carried = matches!(one.life, Life::Lives { wire: true, .. });
            one.life = Life::Lives { until: now + LEASE, wire: wire || carried };
        }
        assert_eq!(self.server.present(now, id, &ticket(shown), wire).is_ok(), is_valid);
        is_valid.then_some(id)
    }

    fn renew(&mut self, which: usize, ticket_of: usize, by: usize) {
        let Some(id) = self.present(which, ticket_of, false) else { return };
        self.tickets += 1;
        let fresh = self.tickets;
        let renewed = self.server.renew(self.now, id, ticket(fresh), &principal(by));
        let one = self.find(id).unwrap();
        assert_eq!(renewed.is_ok(), one.who == by);
        if renewed.is_ok() {
            one.tickets.truncate(1);
            one.tickets.push(fresh);
        }
    }

    fn lose(&mut self, which: usize) {
        let (id, now) = (self.number(which), self.now);
        let Some(one) = self.find(id).filter(|one| one.lives()) else { return };
        // What is over stays so: its owner may have been told.
        if one.is_there(now) && matches!(one.life, Life::Lives { wire: true, .. }) {
            one.life = Life::Lives { until: now + LINGER, wire: false };
        }
        self.server.lose(now, id);
    }

    fn ends(&mut self, id: SessionId, released: bool) {
        let index = self.list.iter().position(|one| one.id == id).unwrap();
        let mut one = self.list.remove(index);
        one.life = Life::Ended { at: self.now, released };
        let ended = self.list.iter().filter(|one| !one.lives()).count();
        self.list.insert(ended, one);
    }

    fn wake(&mut self) {
        self.server.wake(self.now);
        let now = self.now;
        let mut over: Vec<_> = self
            .list
            .iter()
            .filter_map(|one| match one.life {
                Life::Lives { until, .. } if until <= now => Some((until, one.id)),
                Life::Lives { .. } | Life::Ended { .. } => None,
            })
            .collect();
        over.sort_unstable();
        for (_, id) in over {
            self.ends(id, false);
        }
    }

    fn forget(&mut self) {
        for id in self.server.forget(self.now) {
            let ended = self.list.iter().filter(|one| !one.lives()).count();
            let first = self.list.remove(0);
            let Life::Ended { at, .. } = first.life else { panic!("{id} lives") };
            assert_eq!(id, first.id, "who ended first is forgotten first");
            assert!(at + RETENTION <= self.now || ended > TOMBSTONES as usize, "{id} is forgotten too early");
        }
        let left = self.list.iter().filter(|one| !one.lives()).count();
        assert!(left <= TOMBSTONES as usize);
        if let Some(One { life: Life::Ended { at, .. }, .. }) = self.list.first() {
            assert!(*at + RETENTION > self.now, "it is remembered for too long");
        }
    }

    /// All that live linger, and all that ended are remembered anew.
    fn restart(&mut self) {
        self.server.restart(self.now);
        for one in &mut self.list {
            one.life = match one.life {
                Life::Lives { .. } => Life::Lives { until: self.now + LINGER, wire: false },
                Life::Ended { released, .. } => Life::Ended { at: self.now, released },
            };
        }
        let ended = self.list.iter().take_while(|one| !one.lives()).count();
        self.list[..ended].sort_unstable_by_key(|one| one.id);
    }

    fn check(&self) {
        let registry = &self.server.registry;
        assert_eq!(registry.live(), self.list.iter().filter(|one| one.lives()).count());
        assert_eq!(self.server.sessions.len(), registry.live());
        for who in 0..3 {
            let count = self.list.iter().filter(|one| one.lives() && one.who == who).count();
            assert_eq!(registry.of_principal(&principal(who)) as usize, count);
        }
        let next = self.list.iter().map(|one| match one.life {
            Life::Lives { until, .. } => until,
            Life::Ended { at, .. } => at + RETENTION,
        });
        assert!(registry.next_wake() <= next.min().unwrap_or(Timestamp::NEVER), "somebody is not looked at");
        for id in self.numbers.iter().rev().take(6) {
            let one = self.list.iter().find(|one| one.id == *id);
            let released = one.filter(|one| matches!(one.life, Life::Ended { released: true, .. }));
            for number in self.tickets.saturating_sub(20)..=self.tickets {
                let is_told = released.is_some_and(|one| one.tickets.contains(&number));
                let told = registry.receipt(*id, &ticket(number));
                assert_eq!(told.is_some(), is_told, "{id} with ticket {number}");
                let (Some((owner, told)), Some(one)) = (told, one) else { continue };
                assert_eq!(*owner, principal(one.who));
                assert_eq!(told, Released::Done(Summary::default()));
            }
        }
    }
}

proptest! {
    //= test O-3
    //= test O-15
    //= test O-18
    //= test L-13
    //= test L-14
    //= test L-43
    //= test I8
    //= test I23
    #[test]
    fn the_sessions_do_what_the_list_says(ops in proptest::collection::vec(op(), 1..150)) {
        let mut world = World::new();
        for op in &ops {
            world.apply(op);
            world.check();
        }
        // Nothing is left of any of them in the end.
        world.now = world.now + LINGER;
        world.wake();
        world.now = world.now + RETENTION;
        world.forget();
        world.check();
        prop_assert!(world.list.is_empty());
        prop_assert_eq!(world.server.registry.next_wake(), Timestamp::NEVER);
    }
}
