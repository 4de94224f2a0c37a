//! Activities: named pieces of work that outlive the calls, and the sessions, that do them.
//!
//! A stream that has a name leaves under it where it can go on. One call at a time works on an activity; when that has
//! ended otherwise than well, another one resumes from the points that both sides had secured, in any session of the same
//! principal.
//!
//! ```text
//!            begin ▼                       ended: done
//!   absent ──────▶ running ──────────────────────────▶ done
//!            begin ▲  │ ended: interrupted              │
//!                  │  ▼                                 │
//!               interrupted ◀─ ─ ─ ─ begin (anew) ─ ─ ─ ┘
//! ```

mod entry;
mod name;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

pub(crate) use entry::state_bytes;
use entry::{Entry, Phase};
pub use name::{InvalidName, NAME_BYTES_MAX, Name};

use crate::config::Limits;
use crate::error::Reason;
use crate::id::{CallId, SessionId};
use crate::principal::Principal;
use crate::record::ActivityRecord;
use crate::session::Kept;
use crate::stream::position::{Position, Serial};
use crate::stream::resume::Resume;
use crate::stream::secured::{Resumption, Secured};
use crate::time::Timestamp;

/// The call that works on an activity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Worker {
    /// Its session.
    pub session: SessionId,
    /// Its slot and sequence.
    pub call: CallId,
}

/// Whose activity, and which.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Whose. Only calls of the same principal find it.
    pub principal: Principal,
    /// What it is called.
    pub name: Name,
}

/// How an activity stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// There is none of that name, or it was forgotten.
    Absent,
    /// A call works on it.
    Running(Worker),
    /// No call works on it; one may resume it from here.
    Interrupted(Resumption),
    /// It came to its end.
    Done(Resumption, Kept),
}

/// How the work of one call on an activity ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// It was not brought to its end: this was secured.
    Interrupted(Resumption),
    /// The handler came to its end, and what it answered has arrived or is kept here.
    Done(Resumption, Kept),
    /// The store did not hear of the call: the activity is what it was before.
    NotBegun,
}

/// Why a call may not work on an activity. Nothing has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BeginError {
    /// Another call does.
    #[error("another call works on the activity")]
    Busy,
    /// It does not stand where the call says, or is not there at all, or belongs to another method.
    #[error("the activity does not stand where the call wants to go on; ask where it does")]
    Moved,
    /// There are as many as there may be, and none of them is done and can be forgotten.
    #[error("there are {count} activities, which is the bound")]
    TooMany {
        /// How many, of the principal or in all.
        count: u32,
    },
    /// What is kept of activities takes all the memory that it may, and none of them is done and can be forgotten.
    #[error("what is kept of activities takes {bytes} bytes, which is the bound")]
    TooLarge {
        /// How much.
        bytes: u64,
    },
}

impl BeginError {
    /// The stable reason.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Busy => Reason::ActivityBusy,
            Self::Moved => Reason::ActivityMoved,
            Self::TooMany { .. } | Self::TooLarge { .. } => Reason::ActivitiesExhausted,
        }
    }
}

/// The activities of one server.
///
/// All that is kept is bounded: by number for each principal and in all, by bytes in all. The bounds are looked at when an
/// activity begins; the bytes of those that run then may exceed theirs by what their last points carry.
#[derive(Debug)]
pub struct Activities {
    of_principal_max: u32,
    max: u32,
    bytes_max: u64,
    retention: Duration,
    by_key: BTreeMap<Key, Entry>,
    per_principal: BTreeMap<Principal, u32>,
    /// Those that no call works on, by the time at which they are forgotten.
    interrupted: BTreeSet<(Timestamp, Key)>,
    done: BTreeSet<(Timestamp, Key)>,
    bytes: u64,
    /// Those that are no longer there, until somebody asks.
    forgotten: Vec<(Key, Worker)>,
}

impl Activities {
    /// No activities.
    pub fn new(limits: &Limits) -> Self {
        Self {
            of_principal_max: limits.activities_per_principal,
            max: limits.activities,
            bytes_max: limits.activity_bytes,
            retention: limits.activity_retention,
            by_key: BTreeMap::new(),
            per_principal: BTreeMap::new(),
            interrupted: BTreeSet::new(),
            done: BTreeSet::new(),
            bytes: 0,
            forgotten: Vec::new(),
        }
    }

    /// Takes in an activity that an earlier server left in the store. No call works on it; its retention begins at `now`.
    pub fn adopt(&mut self, now: Timestamp, record: ActivityRecord) {
        let ActivityRecord { key, method, worker, at, done } = record;
        let until = now + self.retention;
        let phase = match done {
            None => Phase::Interrupted { until, at },
            Some(kept) => Phase::Done { until, at, kept },
        };
        self.add(&key);
        self.put(&key, Entry { method, worker, phase });
    }

    /// Whether a call of `method` may work on the activity, and from where: [`begin`](Self::begin) without a change, for
    /// a call that may be refused for something else.
    ///
    /// # Errors
    ///
    /// See [`BeginError`].
    //= D-25
    //= D-26
    pub fn check(
        &self,
        key: &Key,
        method: &str,
        from: Option<&Resume>,
    ) -> Result<Option<Resumption>, BeginError> {
        let resume = from.filter(|resume| !is_beginning(resume));
        let found = self.by_key.get(key);
        match (found.map(|entry| (&entry.phase, &*entry.method)), resume) {
            (Some((Phase::Running { .. }, _)), _) => Err(BeginError::Busy),
            (None, None) => self.has_room(&key.principal).map(|()| None),
            (Some((Phase::Interrupted { .. } | Phase::Done { .. }, _)), None) => Ok(None),
            (Some((Phase::Interrupted { at, .. }, of)), Some(resume))
                if of == method && is_at(at, resume) =>
            {
                Ok(Some(at.clone()))
            }
            (None | Some((Phase::Interrupted { .. } | Phase::Done { .. }, _)), Some(_)) => {
                Err(BeginError::Moved)
            }
        }
    }

    /// Whether a call may go on with the activity that it worked on at a server that is gone, and from where.
    ///
    /// # Errors
    ///
    /// Another call works on it, or has.
    //= D-26
    pub fn check_again(&self, key: &Key, worker: Worker) -> Result<Resumption, BeginError> {
        match self.by_key.get(key) {
            Some(Entry { phase: Phase::Interrupted { at, .. }, worker: last, .. }) if *last == worker => {
                Ok(at.clone())
            }
            Some(Entry { phase: Phase::Running { .. }, .. }) => Err(BeginError::Busy),
            Some(_) | None => Err(BeginError::Moved),
        }
    }

    /// That call works on it from here on, until [`ended`](Self::ended). Nothing happens if it may not.
    pub fn begin_again(&mut self, key: &Key, worker: Worker) {
        if self.check_again(key, worker).is_ok()
            && let Some(entry) = self.by_key.get(key)
        {
            let method = Arc::clone(&entry.method);
            self.run(key, method, worker);
        }
    }

    /// A call of `method` works on the activity from here on, until [`ended`](Self::ended). It begins from the beginning,
    /// whatever was kept under the name, or where `from` says it goes on, if that is where the activity stands.
    ///
    /// Returns from where it goes on; `None`: from the beginning.
    ///
    /// # Errors
    ///
    /// See [`BeginError`].
    pub fn begin(
        &mut self,
        key: &Key,
        method: &str,
        worker: Worker,
        from: Option<&Resume>,
    ) -> Result<Option<Resumption>, BeginError> {
        let resumption = self.check(key, method, from)?;
        if !self.by_key.contains_key(key) {
            self.make_room(&key.principal);
        }
        self.add(key);
        self.run(key, method.into(), worker);
        Ok(resumption)
    }

    /// The handler of that call runs: what the activity was before is forgotten.
    pub fn begun(&mut self, key: &Key, worker: Worker) {
        if let Some(entry) = self.by_key.get_mut(key)
            && entry.worker == worker
            && let Phase::Running { before } = &mut entry.phase
            && let Some(before) = before.take()
        {
            self.bytes -= before.phase.bytes();
        }
    }

    /// The work of `worker` has ended. Nothing happens if it is another that works on the activity.
    ///
    /// What is kept is forgotten after the retention.
    pub fn ended(&mut self, now: Timestamp, key: &Key, worker: Worker, ending: Ending) {
        let Some(entry) = self.by_key.get_mut(key).filter(|entry| entry.worker == worker) else { return };
        let Phase::Running { before } = &mut entry.phase else { return };
        let before = before.take();
        self.bytes -= before.as_ref().map_or(0, |before| before.phase.bytes());
        let (method, until) = (Arc::clone(&entry.method), now + self.retention);
        let phase = match (ending, before) {
            (Ending::Interrupted(at), _) => Phase::Interrupted { until, at },
            (Ending::Done(at, kept), _) => Phase::Done { until, at, kept },
            (Ending::NotBegun, Some(before)) => return self.put(key, *before),
            (Ending::NotBegun, None) => {
                // The store has nothing of it that would have to be forgotten.
                self.discard(key);
                return;
            }
        };
        self.put(key, Entry { method, worker, phase });
    }

    /// Whether some were forgotten since that was asked last.
    pub fn has_forgotten(&self) -> bool {
        !self.forgotten.is_empty()
    }

    /// Those that were forgotten since this was asked last, for more room or since their time was over, with the calls that
    /// worked on them last.
    pub fn take_forgotten(&mut self) -> Vec<(Key, Worker)> {
        std::mem::take(&mut self.forgotten)
    }

    /// Forgets those whose time is over.
    //= D-20
    pub fn forget(&mut self, now: Timestamp) {
        for idle in [|it: &Self| it.interrupted.first().cloned(), |it: &Self| it.done.first().cloned()] {
            while let Some((_, key)) = idle(self).filter(|(until, _)| *until <= now) {
                self.remove(&key);
            }
        }
    }

    /// Forgets an activity that no call works on, before its time. The call that worked on it last, if it was there: the
    /// store is to forget that, too.
    //= D-45
    pub fn give_up(&mut self, key: &Key) -> Option<Worker> {
        let entry = self.by_key.get(key)?;
        match entry.phase {
            Phase::Running { .. } => None,
            Phase::Interrupted { .. } | Phase::Done { .. } => self.discard(key).map(|entry| entry.worker),
        }
    }

    /// How an activity stands.
    //= D-19
    pub fn state(&self, key: &Key) -> State {
        let Some(Entry { phase, worker, .. }) = self.by_key.get(key) else { return State::Absent };
        match phase {
            Phase::Running { .. } => State::Running(*worker),
            Phase::Interrupted { at, .. } => State::Interrupted(at.clone()),
            Phase::Done { at, kept, .. } => State::Done(at.clone(), kept.clone()),
        }
    }

    /// When [`forget`](Self::forget) has the next one.
    pub fn next_wake(&self) -> Timestamp {
        let first =
            |idle: &BTreeSet<(Timestamp, Key)>| idle.first().map_or(Timestamp::NEVER, |(until, _)| *until);
        first(&self.interrupted).min(first(&self.done))
    }

    /// How many there are, in whatever state.
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// Bytes of states and replies that are kept.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether another one of `principal` has room, if some that are done are forgotten for it.
    //= D-28
    fn has_room(&self, principal: &Principal) -> Result<(), BeginError> {
        match self.full(principal) {
            Some(full) if self.oldest_done(principal).is_none() => Err(full),
            Some(_) | None => Ok(()),
        }
    }

    /// Forgets those that are done, oldest first, until another one of `principal` has room.
    fn make_room(&mut self, principal: &Principal) {
        while self.full(principal).is_some()
            && let Some(key) = self.oldest_done(principal)
        {
            self.remove(&key);
        }
    }

    /// Which bound another one would exceed.
    fn full(&self, principal: &Principal) -> Option<BeginError> {
        let own = self.of_principal(principal);
        let all = u32::try_from(self.by_key.len()).unwrap_or(u32::MAX);
        if own >= self.of_principal_max {
            Some(BeginError::TooMany { count: own })
        } else if all >= self.max {
            Some(BeginError::TooMany { count: all })
        } else if self.bytes > self.bytes_max {
            Some(BeginError::TooLarge { bytes: self.bytes })
        } else {
            None
        }
    }

    /// The one to forget for another one of `principal`: of its own, if it has as many as it may.
    fn oldest_done(&self, principal: &Principal) -> Option<Key> {
        if self.of_principal(principal) < self.of_principal_max {
            return self.done.first().map(|(_, key)| key.clone());
        }
        let first = Key { principal: principal.clone(), name: Name::before_all() };
        let own = self.by_key.range(first..).take_while(|(key, _)| key.principal == *principal);
        let done = own.filter(|(_, entry)| matches!(entry.phase, Phase::Done { .. }));
        done.min_by_key(|(_, entry)| entry.phase.until()).map(|(key, _)| key.clone())
    }

    fn of_principal(&self, principal: &Principal) -> u32 {
        self.per_principal.get(principal).copied().unwrap_or(0)
    }

    /// Counts one more, if it is not there.
    fn add(&mut self, key: &Key) {
        if !self.by_key.contains_key(key) {
            *self.per_principal.entry(key.principal.clone()).or_default() += 1;
        }
    }

    /// That call works on it. What the activity was stays with it, until the handler runs.
    fn run(&mut self, key: &Key, method: Arc<str>, worker: Worker) {
        let before = self.by_key.remove(key).map(Box::new);
        if let Some(before) = &before {
            self.left(key, before);
        }
        self.put(key, Entry { method, worker, phase: Phase::Running { before } });
    }

    fn put(&mut self, key: &Key, entry: Entry) {
        self.bytes += entry.phase.bytes();
        match entry.phase {
            Phase::Running { .. } => false,
            Phase::Interrupted { until, .. } => self.interrupted.insert((until, key.clone())),
            Phase::Done { until, .. } => self.done.insert((until, key.clone())),
        };
        if let Some(before) = self.by_key.insert(key.clone(), entry) {
            self.left(key, &before);
        }
    }

    fn remove(&mut self, key: &Key) {
        if let Some(entry) = self.discard(key) {
            self.forgotten.push((key.clone(), entry.worker));
        }
    }

    fn discard(&mut self, key: &Key) -> Option<Entry> {
        let entry = self.by_key.remove(key)?;
        self.left(key, &entry);
        if let Some(count) = self.per_principal.get_mut(&key.principal) {
            *count -= 1;
            if *count == 0 {
                self.per_principal.remove(&key.principal);
            }
        }
        Some(entry)
    }

    fn left(&mut self, key: &Key, entry: &Entry) {
        self.bytes -= entry.phase.bytes();
        match entry.phase {
            Phase::Running { .. } => false,
            Phase::Interrupted { until, .. } => self.interrupted.remove(&(until, key.clone())),
            Phase::Done { until, .. } => self.done.remove(&(until, key.clone())),
        };
    }
}

/// A call says that it goes on from the beginning: the same as if it did not say that it goes on.
fn is_beginning(resume: &Resume) -> bool {
    resume.send_from == Position::ORIGIN && resume.received.position == Position::ORIGIN
}

/// Whether what a call says is where the activity stands. Of the requests it says the place only: the digest comes in AT.
fn is_at(at: &Resumption, resume: &Resume) -> bool {
    let requests = at.requests.as_ref().map_or(Position::ORIGIN, |secured| secured.position);
    let responses = at
        .responses
        .as_ref()
        .map_or((Serial::NONE, Position::ORIGIN, 0), |Secured { serial, position, digest, .. }| {
            (*serial, *position, digest.crc)
        });
    let received = &resume.received;
    resume.send_from == requests && (received.secured, received.position, received.crc) == responses
}
