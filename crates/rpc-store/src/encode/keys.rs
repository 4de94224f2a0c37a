//! Keys: which record is where. They are ordered by their bytes, and the order is used: the slots of a session follow it.

use std::ops::Bound;

use bytes::Bytes;
use rpc_core::activity::{self, NAME_BYTES_MAX, Name};
use rpc_core::id::{SessionId, SlotId};
use rpc_core::principal::Principal;
use rpc_core::transaction::KEY_BYTES_MAX;

use super::EncodeError;

/// The store's own keys begin with 0, sessions and their slots with 1, the application's with 2, activities with 3.
pub(crate) const HEADER_KEY: &[u8] = b"\0header";
pub(crate) const NUMBERS_KEY: &[u8] = b"\0numbers";
pub(crate) const COMMITS_KEY: &[u8] = b"\0commits";
const SESSION_TABLE: u8 = 1;
const VALUE_TABLE: u8 = 2;
const ACTIVITY_TABLE: u8 = 3;

/// Longest issuer and longest subject of a principal that has activities: keys of the engine have less than 64 KiB.
const PRINCIPAL_TEXT_BYTES_MAX: usize = 16 << 10;

/// From where to where a scan goes.
pub(crate) type KeyRange = (Bound<Vec<u8>>, Bound<Vec<u8>>);

/// What a key names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key<'a> {
    /// The store's own: header, numbers, commits.
    Own,
    Session(SessionId),
    Slot(SessionId, SlotId),
    /// The application's, under a key of its own.
    Value(&'a [u8]),
    Activity(ActivityKey<'a>),
}

/// Whose activity, and which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ActivityKey<'a> {
    issuer: &'a str,
    subject: &'a str,
    name: &'a [u8],
}

impl<'a> ActivityKey<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (issuer, rest) = text(bytes)?;
        let (subject, name) = text(rest)?;
        let is_name = !name.is_empty() && name.len() <= NAME_BYTES_MAX;
        is_name.then_some(Self { issuer, subject, name })
    }

    pub(crate) fn to_key(self) -> Option<activity::Key> {
        let name = Name::new(Bytes::copy_from_slice(self.name)).ok()?;
        Some(activity::Key { principal: Principal::new(self.issuer, self.subject), name })
    }
}

/// Text with its length before it.
fn text(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    let (text, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    Some((std::str::from_utf8(text).ok()?, rest))
}

impl<'a> Key<'a> {
    /// `None`: nothing of ours.
    pub(crate) fn parse(key: &'a [u8]) -> Option<Self> {
        if [HEADER_KEY, NUMBERS_KEY, COMMITS_KEY].contains(&key) {
            return Some(Self::Own);
        }
        match key.split_first()? {
            (&SESSION_TABLE, rest) => {
                let (number, slot) = rest.split_first_chunk()?;
                let session = SessionId::new(u64::from_be_bytes(*number))?;
                if slot.is_empty() {
                    return Some(Self::Session(session));
                }
                Some(Self::Slot(session, SlotId(u32::from_be_bytes(slot.try_into().ok()?))))
            }
            (&VALUE_TABLE, key) if is_value_key(key) => Some(Self::Value(key)),
            (&ACTIVITY_TABLE, key) => ActivityKey::parse(key).map(Self::Activity),
            _ => None,
        }
    }
}

/// Whether the application can have anything under `key`.
pub(crate) fn is_value_key(key: &[u8]) -> bool {
    !key.is_empty() && key.len() <= KEY_BYTES_MAX
}

/// The key of a session. Numbers are big-endian, unlike everywhere else.
pub(crate) fn session_key(session: SessionId) -> [u8; 9] {
    let mut key = [SESSION_TABLE; 9];
    key[1..].copy_from_slice(&session.value().to_be_bytes());
    key
}

/// The key of what a slot remembers: behind its session's, and before the next one's.
pub(crate) fn slot_key(session: SessionId, slot: SlotId) -> [u8; 13] {
    let mut key = [0; 13];
    key[..9].copy_from_slice(&session_key(session));
    key[9..].copy_from_slice(&slot.0.to_be_bytes());
    key
}

/// The key of the application's value under `key`.
pub(crate) fn value_key(key: &[u8]) -> Vec<u8> {
    [&[VALUE_TABLE], key].concat()
}

/// The key of an activity: those of one principal stand together.
pub(crate) fn activity_key(key: &activity::Key) -> Result<Vec<u8>, EncodeError> {
    let mut bytes = vec![ACTIVITY_TABLE];
    for (field, text) in [("issuer", key.principal.issuer()), ("subject", key.principal.subject())] {
        let (size, max) = (text.len(), PRINCIPAL_TEXT_BYTES_MAX);
        let length = u16::try_from(size).ok().filter(|_| size <= max);
        bytes.extend(length.ok_or(EncodeError::TooLong { field, size, max })?.to_be_bytes());
        bytes.extend(text.as_bytes());
    }
    bytes.extend(key.name.as_bytes());
    Ok(bytes)
}

/// The activities behind `after`.
pub(crate) fn activities_above(after: Option<Vec<u8>>) -> KeyRange {
    let first = after.map_or(Bound::Included(vec![ACTIVITY_TABLE]), Bound::Excluded);
    (first, Bound::Excluded(vec![ACTIVITY_TABLE + 1]))
}

/// A session and its slots.
pub(crate) fn range_of(session: SessionId) -> KeyRange {
    (Bound::Included(session_key(session).to_vec()), Bound::Included(last_of(session)))
}

/// The sessions above `after`, each followed by its slots.
pub(crate) fn range_above(after: Option<SessionId>) -> KeyRange {
    let first = after.map_or(Bound::Included(vec![SESSION_TABLE]), |after| Bound::Excluded(last_of(after)));
    (first, Bound::Excluded(vec![SESSION_TABLE + 1]))
}

/// Nothing of a session is above this key.
fn last_of(session: SessionId) -> Vec<u8> {
    slot_key(session, SlotId(u32::MAX)).to_vec()
}

#[cfg(test)]
mod tests {
    use std::ops::RangeBounds;

    use super::*;

    fn session(number: u64) -> SessionId {
        SessionId::new(number).unwrap()
    }

    fn dump(subject: &str) -> activity::Key {
        let name = Name::new(&b"dump"[..]).unwrap();
        activity::Key { principal: Principal::new("https://id.test", subject), name }
    }

    #[test]
    fn the_key_of_an_activity_says_whose_it_is() {
        for subject in ["", "alice", "\u{ff}", "3\0"] {
            let bytes = activity_key(&dump(subject)).unwrap();
            let Some(Key::Activity(key)) = Key::parse(&bytes) else { panic!("{bytes:?}") };
            assert_eq!(key.to_key(), Some(dump(subject)));
            for length in 0..bytes.len() - 4 {
                assert_eq!(Key::parse(&bytes[..length]), None, "{length}");
            }
            let all = activities_above(None);
            assert!(all.contains(&bytes) && !all.contains(&value_key(b"x")));
            assert!(!activities_above(Some(bytes.clone())).contains(&bytes));
        }
        assert!(activity_key(&dump(&"x".repeat(20_000))).is_err());
    }

    #[test]
    fn keys_are_ordered_like_numbers_and_slots_follow_their_session() {
        let numbers = [1, 2, 255, 256, 65_535, 65_536, u64::MAX];
        let slots = [0, 1, 255, 256, u32::MAX];
        let mut keys: Vec<Vec<u8>> = [COMMITS_KEY, HEADER_KEY, NUMBERS_KEY].map(Vec::from).into();
        for number in numbers.map(session) {
            keys.push(session_key(number).to_vec());
            keys.extend(slots.map(|slot| slot_key(number, SlotId(slot)).to_vec()));
        }
        keys.push(value_key(&[0]));
        assert!(keys.is_sorted());
        for number in numbers.map(session) {
            let within = |range: &KeyRange| keys.iter().filter(|key| range.contains(*key)).count();
            assert_eq!(within(&range_of(number)), 1 + slots.len());
            let above = numbers.iter().filter(|other| **other > number.value()).count();
            assert_eq!(within(&range_above(Some(number))), above * (1 + slots.len()));
        }
    }

    #[test]
    fn a_key_says_what_it_names() {
        let (number, slot) = (session(4711), SlotId(7));
        assert_eq!(Key::parse(&session_key(number)), Some(Key::Session(number)));
        assert_eq!(Key::parse(&slot_key(number, slot)), Some(Key::Slot(number, slot)));
        assert_eq!(Key::parse(&value_key(b"alice")), Some(Key::Value(b"alice")));
        assert_eq!(Key::parse(HEADER_KEY), Some(Key::Own));
        let long = value_key(&[1; KEY_BYTES_MAX + 1]);
        let foreign: [&[u8]; 8] =
            [&[], &[0], &[1], &[1; 8], &[1; 10], &[1, 0, 0, 0, 0, 0, 0, 0, 0], &[2], &long];
        for key in foreign {
            assert_eq!(Key::parse(key), None, "{key:?}");
        }
    }
}
