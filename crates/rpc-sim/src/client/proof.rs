//! What a client does when everything is repaired: it shows that all works, and releases its session.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use rpc_client::ReleaseError;
use rpc_core::id::SlotId;
use tokio::time::{sleep, timeout};

use super::{Caller, builder};
use crate::random::Random;
use crate::witness::{Kind, What};

/// Calls of an exclusive class that come one after another: how many, how long after the one before, and how long each takes
/// before its effect, and again after it.
const QUEUE: (u32, Duration, u32) = (3, Duration::from_millis(250), 300);
/// When a call is given up that takes twice as long.
const GIVEN_UP: Duration = Duration::from_millis(150);

impl Caller {
    /// Makes one call of each kind, all of which must succeed, and takes all slots, in which what was given up is over.
    pub(super) async fn prove(&self) -> bool {
        let mut random = Random::new(self.world.config.seed, self.session.number().value());
        for kind in Kind::ALL {
            let id = self.id("proof");
            self.does(format!("proves {kind:?}"));
            let what = if kind.streams() {
                self.stream_for(&id, kind, 8, &mut random).await
            } else {
                self.ask_once(&id, kind).await
            };
            if !matches!(what, What::Replied { .. } | What::Streamed) {
                self.world.witness.event(|| format!("{kind:?} is not proven: {what:?}"));
                return false;
            }
        }
        self.queue().await;
        self.give_up().await;
        for _ in 0..20 {
            if self.take_all_slots().await {
                return true;
            }
            sleep(GIVEN_UP).await;
        }
        false
    }

    /// Those who come to an exclusive class run in that order; the oracle looks at it.
    async fn queue(&self) {
        self.does("waits for an exclusive class".into());
        let (count, apart, delay_ms) = QUEUE;
        let calls: Vec<_> = (0..count).map(|at| (at, self.id(&format!("queue.{at}")))).collect();
        let ids = calls.iter().map(|(_, id)| id.clone()).collect();
        self.world.witness.note(|| "a queue".into(), |seen, _| seen.queues.push(ids));
        join_all(calls.iter().map(async |(at, id)| {
            sleep(apart * *at).await;
            self.ask_slowly(id, Kind::Sole, delay_ms).await
        }))
        .await;
    }

    /// A call whose handler runs when its caller gives up.
    async fn give_up(&self) {
        self.does("gives a call up".into());
        let id = self.id("given-up");
        if timeout(GIVEN_UP, self.ask_slowly(&id, Kind::Durable, 150)).await.is_err() {
            self.is_told(&id, &What::Cancelled);
        }
    }

    /// As many calls as there are slots, each in one of its own.
    async fn take_all_slots(&self) -> bool {
        let slots = self.session.agreement().slots;
        let ids: Vec<_> = (0..slots).map(|at| self.id(&format!("slot.{at}"))).collect();
        let told = join_all(ids.iter().map(|id| self.ask_slowly(id, Kind::Memory, 200))).await;
        let taken: BTreeSet<SlotId> = self.world.witness.look(|seen| {
            ids.iter().filter_map(|id| seen.asked.get(id)?.call).map(|call| call.slot).collect()
        });
        let never = (0..slots).map(SlotId).filter(|slot| !taken.contains(slot)).collect::<Vec<_>>();
        self.does(format!("waits for slots {never:?}, told {told:?}"));
        never.is_empty() && told.iter().all(|told| matches!(told, What::Replied { .. }))
    }

    /// Releases the session, after which nothing of it runs.
    pub(super) async fn release(&self) -> bool {
        self.does("releases its session".into());
        let mut random = Random::new(self.world.config.seed, !self.session.number().value());
        // A call that is under way is answered first, or refused.
        let id = self.id("last");
        let (_, released) = if random.percent(50) {
            tokio::join!(self.ask_slowly(&id, Kind::Durable, 600), self.release_elsewhere(&id))
        } else {
            let release = async { self.session.release().await.map(drop) };
            tokio::join!(self.ask_slowly(&id, Kind::Durable, 150), release)
        };
        match released {
            Ok(()) => {
                self.session_over(true);
                *self.world.people[self.client.0].saved() = None;
                true
            }
            Err(error) => {
                self.world.witness.event(|| format!("client {:?} is not released: {error}", self.client));
                false
            }
        }
    }

    /// The same by the next process, which does not know that a call of this one runs.
    async fn release_elsewhere(&self, id: &str) -> Result<(), ReleaseError> {
        let runs = || self.world.witness.look(|seen| seen.runs.iter().any(|run| run.id == id));
        for _ in 0..40 {
            if runs() {
                break;
            }
            sleep(Duration::from_millis(5)).await;
        }
        let salt = self.world.witness.look(|seen| seen.order);
        let next = builder(&self.world, self.client.0, salt).resume(self.session.export()).await;
        match next {
            Ok(next) => next.release().await.map(drop),
            Err(_) => self.session.release().await.map(drop),
        }
    }

    fn does(&self, what: String) {
        self.world.people[self.client.0].does(what);
    }

    /// An id that no other call has.
    fn id(&self, what: &str) -> String {
        let order = self.world.witness.look(|seen| seen.order);
        format!("{}.{}.{what}.{order}", self.client.0, self.client.1)
    }
}
