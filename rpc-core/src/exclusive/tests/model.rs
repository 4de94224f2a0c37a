//! Random operations on the queues and on the obvious thing: one list for each class.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Op {
    Enter { class: usize, call: u64, attempt: u32, seconds: Option<u64> },
    Plain { class: usize },
    Begin { which: usize },
    Leave { which: usize },
    StepAside { which: usize },
    Withdraw { call: u64 },
    End,
    Pass { seconds: u64 },
}

fn op() -> impl Strategy<Value = Op> {
    let class = 0..2_usize;
    prop_oneof![
        6 => (class.clone(), 0..6_u64, 0..4_u32, proptest::option::of(1..8_u64))
            .prop_map(|(class, call, attempt, seconds)| Op::Enter { class, call, attempt, seconds }),
        3 => class.prop_map(|class| Op::Plain { class }),
        5 => (0..16_usize).prop_map(|which| Op::Begin { which }),
        5 => (0..16_usize).prop_map(|which| Op::Leave { which }),
        3 => (0..16_usize).prop_map(|which| Op::StepAside { which }),
        1 => (0..6_u64).prop_map(|call| Op::Withdraw { call }),
        1 => Just(Op::End),
        2 => (1..4_u64).prop_map(|seconds| Op::Pass { seconds }),
    ]
}

/// One that has the class or waits, in the order of the list.
#[derive(Debug, Clone)]
struct One {
    place: Place,
    /// Session, call and attempt, where it has an identity.
    id: Option<(u64, u32)>,
    until: Timestamp,
    /// Number of the visit that is there.
    there: Option<u64>,
    has: Has,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Has {
    Nothing,
    Class,
    Begun,
}

/// Calls 0 to 2 are of session 1, 3 to 5 of session 2.
fn identity(call: u64, attempt: u32) -> (SessionId, CallAttempt) {
    (session(1 + call / 3), format!("{}.1.{attempt}", call % 3).parse().unwrap())
}

const PER_CLASS: usize = 3;
const IN_ALL: usize = 5;

struct World {
    all: Exclusion,
    lists: [Vec<One>; 2],
    visits: Vec<(usize, Visit)>,
    now: Timestamp,
}

impl World {
    fn waiting(&self, class: usize) -> usize {
        self.lists[class].iter().filter(|one| one.has == Has::Nothing).count()
    }

    fn expire(&mut self) {
        let now = self.now;
        for list in &mut self.lists {
            list.retain(|one| one.has != Has::Nothing || one.until > now);
        }
    }

    /// The first that is there has the class if nobody has.
    fn serve(&mut self, class: usize) -> Vec<Place> {
        let list = &mut self.lists[class];
        if list.iter().any(|one| one.has != Has::Nothing) {
            return Vec::new();
        }
        let next = list.iter_mut().filter(|one| one.there.is_some()).min_by_key(|one| one.place);
        next.map(|one| {
            one.has = Has::Class;
            vec![one.place]
        })
        .unwrap_or_default()
    }

    fn find(&mut self, visit: &Visit) -> Option<(usize, usize)> {
        (0..2).find_map(|class| {
            let at = self.lists[class].iter().position(|one| one.there == Some(visit.number))?;
            Some((class, at))
        })
    }

    fn enter(&mut self, class: usize, id: Option<(u64, u32)>, until: Timestamp) {
        self.expire();
        let caller = id.map_or(Caller::Plain, |(call, attempt)| {
            let (session, attempt) = identity(call, attempt);
            Caller::Call(session, attempt)
        });
        let key = key(ExclusiveScope::Principal, ["alice", "bob"][class], 1);
        let got = self.all.enter(self.now, key, caller, until);
        let before = id.and_then(|(call, _)| {
            (0..2).find_map(|class| {
                let same = |one: &One| one.id.is_some_and(|(of, _)| of == call) && one.has != Has::Begun;
                Some((class, self.lists[class].iter().position(same)?))
            })
        });
        let is_free = self.lists[class].iter().all(|one| one.has == Has::Nothing);
        let full =
            !is_free && (self.waiting(class) >= PER_CLASS || self.waiting(0) + self.waiting(1) >= IN_ALL);
        match before {
            Some((other, _)) if other != class => assert!(matches!(got, Err(EnterError::FalseRetry(_)))),
            Some((_, at)) if id.unwrap().1 < self.lists[class][at].id.unwrap().1 => {
                assert!(matches!(got, Err(EnterError::Fenced { .. })));
            }
            Some((_, at)) => {
                let entered = got.unwrap();
                let one = &mut self.lists[class][at];
                assert_eq!(entered.visit.place, one.place);
                (one.id, one.until, one.there) = (id, until, Some(entered.visit.number));
                self.serve(class);
                assert_eq!(entered.is_granted, self.lists[class][at].has == Has::Class);
                self.visits.push((class, entered.visit));
            }
            None if full => assert_eq!(got.unwrap_err().reason(), Reason::ExclusiveExhausted),
            None => {
                let entered = got.unwrap();
                let (place, there) = (entered.visit.place, Some(entered.visit.number));
                self.lists[class].push(One { place, id, until, there, has: Has::Nothing });
                self.serve(class);
                assert_eq!(entered.is_granted, self.lists[class].last().unwrap().has == Has::Class);
                self.visits.push((class, entered.visit));
            }
        }
    }

    fn withdraw(&mut self, gone: impl Fn(u64) -> bool) -> Vec<Place> {
        let mut removed = Vec::new();
        for list in &mut self.lists {
            list.retain(|one| {
                let stays = one.has == Has::Begun || !one.id.is_some_and(|(call, _)| gone(call));
                if !stays {
                    removed.push(one.place);
                }
                stays
            });
        }
        removed
    }

    #[track_caller]
    fn expect(&mut self, moves: Moves, removed: Vec<Place>) {
        let sorted = |mut places: Vec<Place>| {
            places.sort_unstable();
            places
        };
        let granted = [self.serve(0), self.serve(1)].concat();
        assert_eq!(sorted(moves.granted), sorted(granted));
        assert_eq!(sorted(moves.removed), sorted(removed));
    }

    fn visit(&self, which: usize) -> Option<Visit> {
        let at = which.checked_rem(self.visits.len())?;
        Some(self.visits[self.visits.len() - 1 - at].1.clone())
    }

    fn apply(&mut self, op: &Op) {
        match *op {
            Op::Enter { class, call, attempt, seconds } => {
                let until = seconds
                    .map_or(Timestamp::NEVER, |seconds| self.now + std::time::Duration::from_secs(seconds));
                self.enter(class, Some((call, attempt)), until);
            }
            Op::Plain { class } => self.enter(class, None, Timestamp::NEVER),
            Op::Begin { which } => {
                let Some(visit) = self.visit(which) else { return };
                let found = self.find(&visit).filter(|(class, at)| self.lists[*class][*at].has == Has::Class);
                assert_eq!(self.all.begin(&visit), found.is_some());
                if let Some((class, at)) = found {
                    self.lists[class][at].has = Has::Begun;
                }
            }
            Op::Leave { which } => {
                let Some(visit) = self.visit(which) else { return };
                if let Some((class, at)) = self.find(&visit) {
                    self.lists[class].remove(at);
                }
                let moves = self.all.leave(&visit);
                self.expect(moves, Vec::new());
            }
            Op::StepAside { which } => {
                let Some(visit) = self.visit(which) else { return };
                self.expire();
                if let Some((class, at)) = self.find(&visit)
                    && self.lists[class][at].has != Has::Begun
                {
                    if self.lists[class][at].id.is_none() {
                        return self.apply(&Op::Leave { which });
                    }
                    let full =
                        self.waiting(class) >= PER_CLASS || self.waiting(0) + self.waiting(1) >= IN_ALL;
                    let one = &mut self.lists[class][at];
                    let had = std::mem::replace(&mut one.has, Has::Nothing) == Has::Class;
                    one.there = None;
                    if had && (full || one.until <= self.now) {
                        self.lists[class].remove(at);
                    }
                }
                let moves = self.all.step_aside(self.now, &visit);
                self.expect(moves, Vec::new());
            }
            Op::Withdraw { call } => {
                let removed = self.withdraw(|of| of == call);
                let (session, attempt) = identity(call, 0);
                let moves = self.all.withdraw(session, attempt.call);
                self.expect(moves, removed);
            }
            Op::End => {
                let removed = self.withdraw(|of| of < 3);
                let moves = self.all.end(session(1));
                self.expect(moves, removed);
            }
            Op::Pass { seconds } => self.now = self.now + std::time::Duration::from_secs(seconds),
        }
    }

    fn check(&mut self) {
        for list in &self.lists {
            assert!(list.iter().filter(|one| one.has != Has::Nothing).count() <= 1, "two have the class");
        }
        self.expire();
        // Whatever it is told: those whose time is over are gone then.
        self.all.behind(self.now, session(9), identity(0, 0).1.call);
        for (class, call) in (0..2).flat_map(|class| (0..6).map(move |call| (class, call))) {
            let of = |one: &&One| one.id.is_some_and(|(of, _)| of == call) && one.has != Has::Begun;
            let Some(one) = self.lists[class].iter().find(of) else { continue };
            let before = |other: &&One| other.has != Has::Nothing || other.place < one.place;
            let expected = match one.has {
                Has::Nothing => self.lists[class].iter().filter(before).count(),
                Has::Class | Has::Begun => 0,
            };
            let (session, attempt) = identity(call, 0);
            let behind = self.all.behind(self.now, session, attempt.call);
            assert_eq!(behind as usize, expected);
        }
        assert_eq!(self.all.waiting() as usize, self.waiting(0) + self.waiting(1));
    }
}

proptest! {
    //= test D-10
    //= test D-40
    #[test]
    fn the_queues_do_what_the_lists_say(ops in proptest::collection::vec(op(), 1..120)) {
        let all = exclusion(PER_CLASS as u32, IN_ALL as u32);
        let mut world = World { all, lists: [Vec::new(), Vec::new()], visits: Vec::new(), now: NOW };
        for op in &ops {
            world.apply(op);
            world.check();
        }
        for (_, visit) in world.visits.clone() {
            let _ = world.all.leave(&visit);
        }
        let _ = world.all.disperse();
        prop_assert!(world.all.is_empty() && world.all.waiting() == 0);
    }
}
