//! Who has an exclusive class of this server, and how those are told that wait for it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rpc_core::config::Limits;
use rpc_core::exclusive::{self, Caller, EnterError, Key, Moves, Place, Visit};
use rpc_core::id::{CallId, SessionId};
use rpc_core::time::Timestamp;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Clock;

/// The exclusive classes of all sessions. Its lock is the last that is taken, after any session's and the activities'.
#[derive(Debug)]
pub(crate) struct Exclusion {
    clock: Clock,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    table: exclusive::Exclusion,
    /// Those that wait and are there.
    waiting: BTreeMap<Place, oneshot::Sender<News>>,
}

/// What a call is told that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum News {
    /// It has the class.
    Granted,
    /// A later attempt has its place.
    Superseded,
    /// It waits no more: the session is asked again.
    Removed,
}

/// What a call gets that wants the class.
#[derive(Debug)]
pub(crate) enum Entered {
    /// The class.
    Turn(Turn),
    /// A place in the queue.
    Waits(Waiter),
}

/// A place in the queue. Dropped, a call with an identity keeps it for its next attempt, and a plain one gives it up.
#[derive(Debug)]
pub(crate) struct Waiter {
    visit: Option<Visit>,
    news: oneshot::Receiver<News>,
    exclusion: Arc<Exclusion>,
}

/// The class, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Turn {
    visit: Visit,
    exclusion: Arc<Exclusion>,
}

impl Exclusion {
    pub(super) fn new(clock: Clock, limits: &Limits) -> Arc<Self> {
        let table = exclusive::Exclusion::new(limits);
        Arc::new(Self { clock, inner: Mutex::new(Inner { table, waiting: BTreeMap::new() }) })
    }

    /// Takes the class, or a place in its queue until `deadline`.
    ///
    /// # Errors
    ///
    /// As many wait as may, or a later attempt of the call does.
    pub(crate) fn enter(
        self: &Arc<Self>,
        key: Key,
        caller: Caller,
        deadline: Option<Instant>,
    ) -> Result<Entered, EnterError> {
        let deadline = deadline.map_or(Timestamp::NEVER, |at| self.clock.timestamp(at));
        let mut inner = self.lock();
        let entered = inner.table.enter(self.clock.now(), key, caller, deadline)?;
        let (told, news) = oneshot::channel();
        let before = inner.waiting.remove(&entered.visit.place());
        if let Some(before) = before {
            // It may be gone: then nobody has to know.
            let _ = before.send(News::Superseded);
        }
        let exclusion = Arc::clone(self);
        if entered.is_granted && inner.table.begin(&entered.visit) {
            return Ok(Entered::Turn(Turn { visit: entered.visit, exclusion }));
        }
        inner.waiting.insert(entered.visit.place(), told);
        Ok(Entered::Waits(Waiter { visit: Some(entered.visit), news, exclusion }))
    }

    /// The call will never run: it waits no more.
    pub(crate) fn withdraw(&self, session: SessionId, call: CallId) {
        self.change(|table, _| table.withdraw(session, call));
    }

    /// The session has ended: none of its calls waits.
    //= D-43
    pub(super) fn end(&self, session: SessionId) {
        self.change(|table, _| table.end(session));
    }

    /// No protected call is to begin here any more.
    pub(super) fn disperse(&self) {
        self.change(|table, _| table.disperse());
    }

    /// How many calls run or wait before one that waits; 0 if it does not.
    pub(crate) fn behind(&self, session: SessionId, call: CallId) -> u32 {
        self.lock().table.behind(self.clock.now(), session, call)
    }

    fn change(&self, change: impl FnOnce(&mut exclusive::Exclusion, Timestamp) -> Moves) {
        let now = self.clock.now();
        let mut inner = self.lock();
        let moves = change(&mut inner.table, now);
        inner.tell(moves);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // The table does not panic half-way through a change on purpose.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Whoever is gone meanwhile hands on what it was given when it is dropped.
    fn tell(&mut self, moves: Moves) {
        let news = moves.granted.into_iter().map(|place| (place, News::Granted));
        let removed = moves.removed.into_iter().map(|place| (place, News::Removed));
        for (place, news) in news.chain(removed) {
            if let Some(waiting) = self.waiting.remove(&place) {
                let _ = waiting.send(news);
            }
        }
    }
}

impl Waiter {
    /// Waits until there is something new.
    ///
    /// # Cancel safety
    ///
    /// May be dropped and asked for again until it has told something.
    pub(crate) async fn news(&mut self) -> News {
        (&mut self.news).await.unwrap_or(News::Removed)
    }

    /// The handler begins. `None` if the class is another's meanwhile.
    pub(crate) fn begin(mut self) -> Option<Turn> {
        let visit = self.visit.take_if(|visit| self.exclusion.lock().table.begin(visit))?;
        Some(Turn { visit, exclusion: Arc::clone(&self.exclusion) })
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let Some(visit) = self.visit.take() else { return };
        self.news.close();
        let now = self.exclusion.clock.now();
        let mut inner = self.exclusion.lock();
        let place = visit.place();
        // Another attempt may be told there now.
        if inner.waiting.get(&place).is_some_and(oneshot::Sender::is_closed) {
            inner.waiting.remove(&place);
        }
        let moves = inner.table.step_aside(now, &visit);
        inner.tell(moves);
    }
}

impl Drop for Turn {
    //= D-40
    fn drop(&mut self) {
        self.exclusion.change(|table, _| table.leave(&self.visit));
    }
}
