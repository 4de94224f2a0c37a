//! Random operations on the slots and on the obvious thing: a list of what ever happened.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Op {
    Admit { slot: u32, sequence: u64, attempt: u32, fingerprint: u128 },
    Complete { slot: u32 },
    Abandon { slot: u32 },
    Settle { slot: u32, sequence: u64 },
}

#[derive(Debug, Clone, PartialEq)]
enum Fate {
    Running(u128),
    Replied(u128, u64),
    Lost(u128),
    Settled,
}

/// What ever happened, by slot and sequence. Nothing is forgotten, nothing is optimised.
#[derive(Default)]
struct Model {
    fates: BTreeMap<(u32, u64), Fate>,
    runs: BTreeMap<(u32, u64), u32>,
    attempts: BTreeMap<(u32, u64), u32>,
    replies: u64,
}

impl Model {
    fn last(&self, slot: u32) -> u64 {
        self.fates.keys().filter(|(s, _)| *s == slot).map(|(_, q)| *q).max().unwrap_or(0)
    }

    fn running(&self, slot: u32) -> Option<(u64, u128)> {
        let last = self.last(slot);
        match self.fates.get(&(slot, last)) {
            Some(Fate::Running(fingerprint)) => Some((last, *fingerprint)),
            _ => None,
        }
    }
}

fn op() -> impl Strategy<Value = Op> {
    let slot = 0..3_u32;
    let sequence = 1..6_u64;
    prop_oneof![
        4 => (slot.clone(), sequence.clone(), 0..3_u32, 1..3_u128)
            .prop_map(|(slot, sequence, attempt, fingerprint)| Op::Admit { slot, sequence, attempt, fingerprint }),
        2 => slot.clone().prop_map(|slot| Op::Complete { slot }),
        1 => slot.clone().prop_map(|slot| Op::Abandon { slot }),
        1 => (slot, sequence).prop_map(|(slot, sequence)| Op::Settle { slot, sequence }),
    ]
}

fn numbered(reply: u64) -> Reply {
    Reply { message: reply.to_le_bytes().to_vec().into(), ..super::reply("") }
}

fn apply(world: &mut World, model: &mut Model, op: &Op) {
    match *op {
        Op::Admit { slot, sequence, attempt, fingerprint } => {
            let last = model.last(slot);
            let running = model.running(slot).is_some();
            let got = world.admit(&format!("{slot}.{sequence}.{attempt}"), fingerprint);
            let known = model.fates.get(&(slot, sequence)).cloned();
            let latest = *model.attempts.get(&(slot, sequence)).unwrap_or(&0);
            match (&got, known) {
                (Ok(Admission::Run), None) => {
                    assert!(sequence == last + 1 && !running);
                    model.fates.insert((slot, sequence), Fate::Running(fingerprint));
                    *model.runs.entry((slot, sequence)).or_default() += 1;
                }
                (Ok(Admission::Attach), Some(Fate::Running(f))) => {
                    assert!(f == fingerprint && attempt >= latest);
                }
                (Ok(Admission::Replay(reply)), Some(Fate::Replied(f, n))) => {
                    assert!(f == fingerprint && attempt >= latest && *reply == numbered(n));
                }
                (Ok(Admission::Unknown), Some(Fate::Lost(f))) => {
                    assert!(f == fingerprint && attempt >= latest);
                }
                (Err(AdmitError::FalseRetry(_)), Some(fate)) => match fate {
                    Fate::Running(f) | Fate::Replied(f, _) | Fate::Lost(f) => assert_ne!(f, fingerprint),
                    Fate::Settled => panic!("a settled call has no fingerprint"),
                },
                (Err(AdmitError::Settled(_)), Some(Fate::Settled)) => {}
                (Err(AdmitError::Fenced { .. }), Some(_)) => assert!(attempt < latest),
                (Err(AdmitError::Stale { .. }), _) => assert!(sequence < last),
                (Err(AdmitError::Misordered { .. }), None) => assert!(sequence > last + 1 || running),
                (got, known) => panic!("{op:?}: {got:?} where the model has {known:?}"),
            }
            if got.is_ok() {
                model.attempts.insert((slot, sequence), attempt);
            }
        }
        Op::Complete { slot } => {
            let Some((sequence, fingerprint)) = model.running(slot) else { return };
            model.replies += 1;
            let call = CallId { slot: SlotId(slot), sequence: Sequence(sequence) };
            world.session.complete(call, numbered(model.replies), None);
            model.fates.insert((slot, sequence), Fate::Replied(fingerprint, model.replies));
        }
        Op::Abandon { slot } => {
            let Some((sequence, fingerprint)) = model.running(slot) else { return };
            world.session.abandon(CallId { slot: SlotId(slot), sequence: Sequence(sequence) });
            model.fates.insert((slot, sequence), Fate::Lost(fingerprint));
        }
        Op::Settle { slot, sequence } => {
            let call = CallId { slot: SlotId(slot), sequence: Sequence(sequence) };
            let may = sequence == model.last(slot) + 1 && model.running(slot).is_none();
            let got = world.ask(call, true, false);
            if may {
                assert_eq!(got, CallState::NotExecuted);
                model.fates.insert((slot, sequence), Fate::Settled);
            }
        }
    }
}

proptest! {
    //= test I1
    //= test I2
    //= test I3
    //= test I5
    #[test]
    fn the_slots_do_what_the_list_says(ops in proptest::collection::vec(op(), 1..200)) {
        let mut world = World::open();
        let mut model = Model::default();
        let mut last = [Sequence(0); 3];
        for op in &ops {
            apply(&mut world, &mut model, op);
            for slot in 0..3_u32 {
                let reached = world.session.last_sequence(SlotId(slot));
                prop_assert!(reached >= last[slot as usize], "a sequence went down");
                last[slot as usize] = reached;
            }
            let running = (0..3).filter(|slot| model.running(*slot).is_some()).count();
            prop_assert_eq!(world.session.running() as usize, running);
        }
        prop_assert!(model.runs.values().all(|runs| *runs == 1), "a call ran twice");
    }
}
