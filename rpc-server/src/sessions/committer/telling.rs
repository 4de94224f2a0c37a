//! How those who wait for the store are told what it has answered.
//!
//! A session is told in a runtime, its *home*, where its handlers wait. Told by the store's thread, each of them would be
//! woken by the system, alone, and mostly sleep again before the next is. So the thread hands over all that a batch has
//! for a home, and wakes it once.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use rpc_core::record::{Change, Write};
use rpc_core::session::RecordId;
use rpc_core::store::{StoreError, WriteError};
use tokio::runtime::{self, Handle};
use tokio::sync::oneshot;

use crate::sessions::live::Live;

/// Who waits for a write.
pub(super) enum Waiter {
    /// A session.
    Session(Told, RecordId, Arc<Home>),
    /// Whoever forgets something.
    Forgetting(oneshot::Sender<Result<(), WriteError>>),
    Nobody,
}

/// The session that waits.
pub(super) enum Told {
    /// If it is still there when the store answers.
    IfThere(Weak<Live>),
    /// It stays for the answer, although nothing else may hold it any more: its end is told when that is recorded.
    Ended(Arc<Live>),
}

impl Told {
    pub(super) fn of(live: &Arc<Live>, write: &Write) -> Self {
        match write.change {
            Change::End(_) => Self::Ended(Arc::clone(live)),
            _ => Self::IfThere(Arc::downgrade(live)),
        }
    }

    /// The session. One that is gone needs no answer: nobody waits for it.
    fn session(self) -> Option<Arc<Live>> {
        match self {
            Self::IfThere(live) => live.upgrade(),
            Self::Ended(live) => Some(live),
        }
    }
}

/// Tells everybody; sessions where their home is.
pub(super) fn tell(waiting: Vec<Waiter>, answers: Result<Vec<Result<(), WriteError>>, StoreError>) {
    let answers = answers.unwrap_or_else(|error| {
        tracing::debug!(%error, writes = waiting.len(), "writes were not made");
        vec![Err(error.into()); waiting.len()]
    });
    let mut homes: Vec<(Arc<Home>, Answered)> = Vec::new();
    for (waiter, answer) in waiting.into_iter().zip(answers) {
        match waiter {
            Waiter::Session(told, record, home) => {
                let Some(live) = told.session() else { continue };
                match homes.iter_mut().find(|(other, _)| Arc::ptr_eq(other, &home)) {
                    Some((_, answered)) => answered.push(live, record, answer),
                    None => {
                        let mut answered = Answered::default();
                        answered.push(live, record, answer);
                        homes.push((home, answered));
                    }
                }
            }
            Waiter::Forgetting(told) => {
                // Whoever waited may have gone away; it is forgotten all the same.
                let _ = told.send(answer);
            }
            Waiter::Nobody => {}
        }
    }
    for (home, answered) in homes {
        home.tell(answered);
    }
}

/// What a batch has for the sessions of one home.
///
/// What stands together of one session is told together: its handlers, who wait for its lock meanwhile, would wait once
/// for each record.
#[derive(Default)]
struct Answered(Vec<(Arc<Live>, Vec<Answer>)>);

type Answer = (RecordId, Result<(), WriteError>);

impl Answered {
    fn push(&mut self, live: Arc<Live>, record: RecordId, answer: Result<(), WriteError>) {
        match self.0.last_mut() {
            Some((last, answers)) if Arc::ptr_eq(last, &live) => answers.push((record, answer)),
            _ => self.0.push((live, vec![(record, answer)])),
        }
    }

    /// What panics while one session is told, a waker of its handlers perhaps, is not to keep the others from their answers.
    fn tell(self) {
        for (live, answers) in self.0 {
            if catch_unwind(AssertUnwindSafe(|| live.stored(&answers))).is_err() {
                tracing::error!(session = %live.id(), "panicked while it was told what the store has answered");
            }
        }
    }
}

/// The homes of a server's sessions: one for each runtime in which there are any, and one for those that have none.
#[derive(Clone)]
pub(super) struct Homes(Arc<Known>);

struct Known {
    /// Sessions are told in runtimes at all.
    in_runtimes: bool,
    homes: Mutex<Vec<Weak<Home>>>,
}

impl Homes {
    /// Each session is told in the runtime in which it is first written.
    pub(super) fn in_runtimes() -> Self {
        Self::new(true)
    }

    /// All are told where the store is asked: in a simulation, which has one runtime and its own order of things.
    pub(super) fn at_the_store() -> Self {
        Self::new(false)
    }

    fn new(in_runtimes: bool) -> Self {
        Self(Arc::new(Known { in_runtimes, homes: Mutex::default() }))
    }

    /// The home of sessions that are first written here.
    fn here(&self) -> Arc<Home> {
        let runtime = self.0.in_runtimes.then(Handle::try_current).and_then(Result::ok);
        let id = runtime.as_ref().map(Handle::id);
        let mut homes = self.0.homes.lock().unwrap_or_else(PoisonError::into_inner);
        let there = homes.iter().filter_map(Weak::upgrade).find(|home| home.id() == id);
        there.unwrap_or_else(|| {
            homes.retain(|home| home.strong_count() > 0);
            let home = Arc::new(Home { runtime, queue: Mutex::default() });
            homes.push(Arc::downgrade(&home));
            home
        })
    }
}

/// Where a session is told: always in the same runtime, so that its answers come in the order of its records.
pub(in crate::sessions) struct Home {
    /// `None`: by whoever asks the store.
    runtime: Option<Handle>,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    answered: VecDeque<Answered>,
    /// There is a task that tells.
    is_told: bool,
}

impl Home {
    fn id(&self) -> Option<runtime::Id> {
        self.runtime.as_ref().map(Handle::id)
    }

    fn tell(self: &Arc<Self>, answered: Answered) {
        let Some(runtime) = &self.runtime else { return answered.tell() };
        let mut queue = self.lock();
        queue.answered.push_back(answered);
        if !std::mem::replace(&mut queue.is_told, true) {
            drop(queue);
            let telling = Telling(Arc::clone(self));
            drop(runtime.spawn(async move { drop(telling) }));
        }
    }

    fn next(&self) -> Option<Answered> {
        let mut queue = self.lock();
        let next = queue.answered.pop_front();
        queue.is_told = next.is_some();
        next
    }

    /// Batches that wait for the runtime.
    #[cfg(test)]
    pub(in crate::sessions) fn waiting(&self) -> usize {
        self.lock().answered.len()
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells when it is dropped: also by a runtime that shuts down, or has. What is stored is told in any case.
struct Telling(Arc<Home>);

impl Drop for Telling {
    fn drop(&mut self) {
        while let Some(answered) = self.0.next() {
            answered.tell();
        }
    }
}

/// The home of one session, chosen by its first write.
#[derive(Default)]
pub(in crate::sessions) struct HomeOf(Option<Arc<Home>>);

impl HomeOf {
    pub(super) fn choose(&mut self, homes: &Homes) -> Arc<Home> {
        Arc::clone(self.0.get_or_insert_with(|| homes.here()))
    }

    #[cfg(test)]
    pub(in crate::sessions) fn get(&self) -> Option<Arc<Home>> {
        self.0.clone()
    }
}
