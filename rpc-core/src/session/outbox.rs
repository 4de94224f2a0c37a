//! What a session wants done, in an order that cannot lie: what rests on a record waits until the record is durable.

use std::collections::{BTreeSet, VecDeque};

use super::effect::{Effect, RecordId};
use crate::id::Epoch;
use crate::record::Change;

/// The effects of a session on their way out.
///
/// Records leave in the order in which they were made. An effect that rests on a record is held until the store has
/// answered for that record, and all before it.
#[derive(Debug, Clone, Hash, Default)]
pub(super) struct Outbox {
    made: RecordId,
    durable: RecordId,
    /// What is written under a new epoch waits for the record that claims it: the epoch may go to another server.
    claim: RecordId,
    /// A session is idle for most of its life, and a server may have a million: with nothing under way it keeps no room for
    /// what may be, which would be a kilobyte each.
    under_way: Option<Box<UnderWay>>,
}

#[derive(Debug, Clone, Hash, Default)]
struct UnderWay {
    ready: VecDeque<Effect>,
    held: VecDeque<(RecordId, Effect)>,
    /// Records that were refused while earlier ones are on their way: a full queue refuses on the spot. Nothing waits for
    /// them, and they say nothing of those before them.
    refused: BTreeSet<RecordId>,
}

impl UnderWay {
    fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.held.is_empty() && self.refused.is_empty()
    }

    /// Takes back what rests on a record of which `is_lost` says so.
    fn take_back(&mut self, is_lost: impl Fn(RecordId) -> bool) -> Vec<Effect> {
        let (lost, held) = std::mem::take(&mut self.held).into_iter().partition(|(on, _)| is_lost(*on));
        self.held = held;
        lost.into_iter().map(|(_, effect): (RecordId, Effect)| effect).collect()
    }
}

impl Outbox {
    /// Sends a change to the store.
    pub(super) fn persist(&mut self, epoch: Epoch, change: Change) -> RecordId {
        self.made = self.made.next();
        self.after(self.claim, Effect::Persist { record: self.made, epoch, change });
        self.made
    }

    /// Claims the epoch `next` for what is written from now on.
    //= C-53
    pub(super) fn claim(&mut self, epoch: Epoch, next: Epoch) -> RecordId {
        self.claim = self.persist(epoch, Change::Claim(next));
        self.claim
    }

    /// The store has refused the claim: takes back everything that was to follow it.
    pub(super) fn unclaimed(&mut self, claim: RecordId) -> Vec<Effect> {
        let lost = self.failed(claim);
        self.claim = RecordId::default();
        self.durable = self.made;
        if let Some(under_way) = &mut self.under_way {
            under_way.refused.clear();
        }
        lost
    }

    /// Lets `effect` out once `record` is durable.
    //= L-17
    pub(super) fn after(&mut self, record: RecordId, effect: Effect) {
        let is_durable = record <= self.durable;
        let under_way = self.under_way.get_or_insert_default();
        if is_durable {
            under_way.ready.push_back(effect);
        } else {
            under_way.held.push_back((record, effect));
        }
    }

    /// Lets `effect` out at once: it rests on nothing.
    pub(super) fn at_once(&mut self, effect: Effect) {
        self.under_way.get_or_insert_default().ready.push_back(effect);
    }

    /// The store has `record`, and all before it.
    pub(super) fn durable(&mut self, record: RecordId) {
        self.durable = self.durable.max(record);
        let Some(under_way) = &mut self.under_way else { return };
        while under_way.refused.remove(&self.durable.next()) {
            self.durable = self.durable.next();
        }
        under_way.refused.retain(|refused| *refused > self.durable);
        for _ in 0..under_way.held.len() {
            let Some((rests_on, effect)) = under_way.held.pop_front() else { break };
            if rests_on <= self.durable {
                under_way.ready.push_back(effect);
            } else {
                under_way.held.push_back((rests_on, effect));
            }
        }
    }

    /// The store did not make `record`, and goes on with those after it: takes back what rests on it alone.
    pub(super) fn refused(&mut self, record: RecordId) -> Vec<Effect> {
        let under_way = self.under_way.get_or_insert_default();
        let lost = under_way.take_back(|on| on == record);
        under_way.refused.insert(record);
        self.durable(self.durable);
        lost
    }

    /// The store failed: takes back everything that rests on `record` or a later one.
    pub(super) fn failed(&mut self, record: RecordId) -> Vec<Effect> {
        self.under_way.as_mut().map_or_else(Vec::new, |under_way| under_way.take_back(|on| on >= record))
    }

    /// The next effect that may leave.
    pub(super) fn poll(&mut self) -> Option<Effect> {
        let under_way = self.under_way.as_mut()?;
        let next = under_way.ready.pop_front();
        if next.is_none() && under_way.is_empty() {
            self.under_way = None;
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::effect::{Answer, RequestId};

    fn answer(request: u64) -> Effect {
        Effect::Answer { request: RequestId(request), answer: Answer::Renewed }
    }

    fn drain(outbox: &mut Outbox) -> Vec<String> {
        std::iter::from_fn(|| outbox.poll())
            .map(|effect| match effect {
                Effect::Persist { record, .. } => format!("persist {record}"),
                Effect::Answer { request, .. } => format!("answer {}", request.0),
                other => format!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn with_nothing_under_way_it_takes_no_memory() {
        let mut outbox = Outbox::default();
        let first = outbox.persist(Epoch::FIRST, Change::Forget);
        outbox.after(first, answer(1));
        assert_eq!(drain(&mut outbox), ["persist 1"]);
        assert!(outbox.under_way.is_some(), "the answer waits");
        outbox.durable(first);
        assert_eq!(drain(&mut outbox), ["answer 1"]);
        assert!(outbox.under_way.is_none());
    }

    //= test L-17
    #[test]
    fn an_answer_waits_for_its_record_and_for_all_before_it() {
        let mut outbox = Outbox::default();
        let first = outbox.persist(Epoch::FIRST, Change::Forget);
        outbox.after(first, answer(1));
        let second = outbox.persist(Epoch::FIRST, Change::Forget);
        outbox.after(second, answer(2));
        outbox.at_once(answer(3));
        assert_eq!(drain(&mut outbox), ["persist 1", "persist 2", "answer 3"]);
        outbox.durable(first);
        assert_eq!(drain(&mut outbox), ["answer 1"]);
        outbox.durable(second);
        assert_eq!(drain(&mut outbox), ["answer 2"]);
        outbox.after(first, answer(4));
        assert_eq!(drain(&mut outbox), ["answer 4"]);
    }

    //= test C-53
    #[test]
    fn nothing_is_written_under_an_epoch_that_is_not_claimed_yet() {
        let mut outbox = Outbox::default();
        let next = Epoch::FIRST.next();
        let claim = outbox.claim(Epoch::FIRST, next);
        let first = outbox.persist(next, Change::Forget);
        outbox.after(first, answer(1));
        outbox.at_once(answer(2));
        assert_eq!(drain(&mut outbox), ["persist 1", "answer 2"]);
        outbox.durable(claim);
        assert_eq!(drain(&mut outbox), ["persist 2"]);
        outbox.durable(first);
        assert_eq!(drain(&mut outbox), ["answer 1"]);
        outbox.persist(next, Change::Forget);
        assert_eq!(drain(&mut outbox), ["persist 3"]);
    }

    //= test C-53
    #[test]
    fn nothing_follows_a_claim_that_was_refused() {
        let mut outbox = Outbox::default();
        let next = Epoch::FIRST.next();
        let claim = outbox.claim(Epoch::FIRST, next);
        let first = outbox.persist(next, Change::Forget);
        outbox.after(first, answer(1));
        assert_eq!(outbox.unclaimed(claim).len(), 2, "the write, and its answer");
        let second = outbox.persist(Epoch::FIRST, Change::Forget);
        outbox.after(second, answer(2));
        assert_eq!(drain(&mut outbox), ["persist 1", "persist 3"]);
        outbox.durable(second);
        assert_eq!(drain(&mut outbox), ["answer 2"]);
    }

    /// A full queue refuses on the spot, while earlier records are on their way: what rested on those left before they
    /// were durable.
    //= test L-17
    #[test]
    fn a_refused_record_says_nothing_of_those_before_it() {
        let mut outbox = Outbox::default();
        let [first, second, third] = [1, 2, 3].map(|request| {
            let record = outbox.persist(Epoch::FIRST, Change::Forget);
            outbox.after(record, answer(request));
            record
        });
        drain(&mut outbox);
        assert_eq!(outbox.refused(second).len(), 1);
        outbox.after(second, answer(4));
        assert_eq!(drain(&mut outbox), [""; 0]);
        outbox.durable(first);
        assert_eq!(drain(&mut outbox), ["answer 1", "answer 4"]);
        assert_eq!(outbox.refused(third).len(), 1);
        outbox.after(third, answer(5));
        assert_eq!(drain(&mut outbox), ["answer 5"]);
        assert!(outbox.under_way.is_none());
    }

    #[test]
    fn what_rests_on_a_failed_record_never_leaves() {
        let mut outbox = Outbox::default();
        let first = outbox.persist(Epoch::FIRST, Change::Forget);
        outbox.after(first, answer(1));
        let second = outbox.persist(Epoch::FIRST, Change::Forget);
        outbox.after(second, answer(2));
        assert_eq!(outbox.failed(second).len(), 1);
        outbox.durable(first);
        assert_eq!(drain(&mut outbox), ["persist 1", "persist 2", "answer 1"]);
    }
}
