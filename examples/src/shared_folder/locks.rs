//! Who has which bytes of which file.

use std::collections::BTreeMap;
use std::ops::Range;

use rpc_server::id::SessionId;

use super::share::FileId;

/// Locks of one session at the same time.
const LOCKS_MAX: usize = 1_000;

/// The locks of all files.
#[derive(Debug, Default)]
pub struct Locks {
    held: BTreeMap<FileId, Vec<Lock>>,
}

/// Bytes of a file that a session has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lock {
    /// Whose it is.
    pub session: SessionId,
    /// The open file of the session that it belongs to.
    pub file: u64,
    /// The bytes.
    pub bytes: Range<u64>,
    /// Others may have such a lock of the same bytes, and read them.
    pub shared: bool,
}

/// Why there is no lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// This session has some of the bytes.
    By(SessionId),
    /// The session has 1,000 locks.
    TooMany,
}

impl Locks {
    /// Takes a lock.
    ///
    /// # Errors
    ///
    /// Another session has some of the bytes, or this one has too many locks. A session is never in its own way.
    pub fn lock(&mut self, id: FileId, lock: Lock) -> Result<(), Denied> {
        let of_session = self.held.values().flatten().filter(|held| held.session == lock.session);
        if of_session.count() >= LOCKS_MAX {
            return Err(Denied::TooMany);
        }
        let in_the_way = |held: &Lock| !(held.shared && lock.shared);
        self.holder(id, lock.session, &lock.bytes, in_the_way).map_or(Ok(()), |by| Err(Denied::By(by)))?;
        self.held.entry(id).or_default().push(lock);
        Ok(())
    }

    /// Which other session keeps this one from these bytes: writing needs them unlocked, reading not locked exclusively.
    pub fn bars(&self, id: FileId, session: SessionId, bytes: &Range<u64>, write: bool) -> Option<SessionId> {
        self.holder(id, session, bytes, |held| write || !held.shared)
    }

    /// Frees one lock; false if there is none.
    pub fn unlock(&mut self, id: FileId, session: SessionId, file: u64, bytes: &Range<u64>) -> bool {
        let Some(held) = self.held.get_mut(&id) else { return false };
        let of_it = |lock: &Lock| (lock.session, lock.file, &lock.bytes) == (session, file, bytes);
        let found = held.iter().position(of_it).map(|index| held.swap_remove(index)).is_some();
        self.held.retain(|_, held| !held.is_empty());
        found
    }

    /// Frees the locks of which this is true, and tells how many they were.
    pub fn free(&mut self, which: impl Fn(&Lock) -> bool) -> usize {
        let count = |held: &BTreeMap<FileId, Vec<Lock>>| held.values().map(Vec::len).sum::<usize>();
        let before = count(&self.held);
        self.held.values_mut().for_each(|held| held.retain(|lock| !which(lock)));
        self.held.retain(|_, held| !held.is_empty());
        before - count(&self.held)
    }

    fn holder(
        &self,
        id: FileId,
        session: SessionId,
        bytes: &Range<u64>,
        in_the_way: impl Fn(&Lock) -> bool,
    ) -> Option<SessionId> {
        let meets = |held: &Lock| held.bytes.start < bytes.end && bytes.start < held.bytes.end;
        let mut others = self.held.get(&id)?.iter().filter(|held| held.session != session && meets(held));
        others.find(|held| in_the_way(held)).map(|held| held.session)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(number: u64) -> SessionId {
        SessionId::new(number).unwrap()
    }

    fn lock(number: u64, bytes: Range<u64>, shared: bool) -> Lock {
        Lock { session: session(number), file: 1, bytes, shared }
    }

    fn file() -> FileId {
        let file = tempfile::NamedTempFile::new().unwrap();
        let folder = super::super::share::Share::new(file.path().parent().unwrap()).unwrap();
        folder.open(file.path().file_name().unwrap().to_str().unwrap(), false).unwrap().1
    }

    #[test]
    fn bytes_are_had_by_one_session_or_shared() {
        let (mut locks, id) = (Locks::default(), file());
        let by_one = Err(Denied::By(session(1)));
        assert_eq!(locks.lock(id, lock(1, 10..20, false)), Ok(()));
        for (bytes, shared, expected) in [
            (0..10, false, Ok(())),
            (20..u64::MAX, false, Ok(())),
            (19..21, false, by_one),
            (0..11, true, by_one),
        ] {
            assert_eq!(locks.lock(id, lock(2, bytes.clone(), shared)), expected, "{bytes:?}");
        }
        assert_eq!(locks.lock(id, lock(1, 15..16, false)), Ok(()), "a session is not in its own way");
        assert_eq!(locks.bars(id, session(3), &(12..13), false), Some(session(1)));
        assert_eq!(locks.bars(id, session(1), &(12..13), true), None);
        assert!(locks.unlock(id, session(1), 1, &(10..20)) && !locks.unlock(id, session(1), 1, &(10..20)));
        assert_eq!(locks.bars(id, session(3), &(12..13), true), None);
        assert_eq!((locks.free(|lock| lock.session == session(2)), locks.free(|_| true)), (2, 1));
        assert!(locks.held.is_empty());
    }

    #[test]
    fn shared_locks_let_others_read_and_nobody_write() {
        let (mut locks, id) = (Locks::default(), file());
        assert_eq!(locks.lock(id, lock(1, 0..9, true)), Ok(()));
        assert_eq!(locks.lock(id, lock(2, 0..9, true)), Ok(()));
        assert_eq!(locks.bars(id, session(3), &(0..1), false), None);
        assert_eq!(locks.bars(id, session(3), &(0..1), true), Some(session(1)));
        assert_eq!(locks.lock(id, lock(3, 0..1, false)), Err(Denied::By(session(1))));
    }

    #[test]
    fn a_session_has_so_many() {
        let (mut locks, id) = (Locks::default(), file());
        (0..LOCKS_MAX as u64).for_each(|at| locks.lock(id, lock(1, at..at + 1, false)).unwrap());
        assert_eq!(locks.lock(id, lock(1, 0..1, false)), Err(Denied::TooMany));
        assert_eq!(locks.lock(id, lock(2, 2_000..2_001, false)), Ok(()));
    }
}
