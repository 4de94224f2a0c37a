//! Identifiers. Numbers that could be confused are types of their own; secrets do not print.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::num::NonZeroU64;
use std::str::FromStr;

use subtle::ConstantTimeEq;

use crate::planted::{self, Bug};

/// The number of a session: unique for the life of the store that issued it, never reused, never a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(NonZeroU64);

impl SessionId {
    /// The session numbered `number`, or `None` for 0, which is no session's number.
    pub const fn new(number: u64) -> Option<Self> {
        match NonZeroU64::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// The plain number.
    pub const fn value(self) -> u64 {
        self.0.get()
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// How many servers have owned the session. Every write carries it, and an older one is fenced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The epoch of the server that opened the session.
    pub const FIRST: Self = Self(1);

    /// The epoch of the server after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A place for one outstanding call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotId(pub u32);

impl fmt::Display for SlotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The count of calls made in a slot. The first call has sequence 1; 0 is the state before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Sequence(pub u64);

impl Sequence {
    /// The sequence of the next call in the slot. There is none after 2^64 - 1, which a slot does not reach by counting.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Try number of one call, from 0. A higher one fences the lower.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Attempt(pub u32);

impl Attempt {
    /// The try after this one. Stays at the largest value: a call is not tried four thousand million times.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// One call of a session: where it is outstanding and which one it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId {
    /// The place.
    pub slot: SlotId,
    /// The count in that place.
    pub sequence: Sequence,
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.slot, self.sequence)
    }
}

/// One try of one call, as the header `session-call` carries it: `slot.sequence.attempt`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallAttempt {
    /// The call.
    pub call: CallId,
    /// The try.
    pub attempt: Attempt,
}

impl fmt::Display for CallAttempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.call, self.attempt)
    }
}

/// A text that is not what [`CallAttempt`] prints. It does not repeat the text, which a stranger sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not three decimal numbers `slot.sequence.attempt`")]
pub struct ParseCallError;

impl FromStr for CallAttempt {
    type Err = ParseCallError;

    /// Accepts exactly what `Display` prints: decimal digits without sign or leading zeros, and a sequence from 1.
    fn from_str(text: &str) -> Result<Self, ParseCallError> {
        let mut parts = text.split('.');
        let mut part = || parts.next().and_then(parse_decimal).ok_or(ParseCallError);
        let (slot, sequence, attempt) = (part()?, part()?, part()?);
        if parts.next().is_some() || sequence == 0 {
            return Err(ParseCallError);
        }
        Ok(Self {
            call: CallId {
                slot: SlotId(u32::try_from(slot).map_err(|_| ParseCallError)?),
                sequence: Sequence(sequence),
            },
            attempt: Attempt(u32::try_from(attempt).map_err(|_| ParseCallError)?),
        })
    }
}

impl FromStr for SessionId {
    type Err = ParseSessionIdError;

    /// Accepts exactly what `Display` prints.
    fn from_str(text: &str) -> Result<Self, ParseSessionIdError> {
        parse_decimal(text).and_then(Self::new).ok_or(ParseSessionIdError)
    }
}

/// A text that is not a session's number. It does not repeat the text, which a stranger sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a decimal number from 1 to 2^64-1")]
pub struct ParseSessionIdError;

/// `u64::from_str` takes `+7` and `007`; one call must have one spelling only.
//= W-3
fn parse_decimal(text: &str) -> Option<u64> {
    let canonical = text == "0" || (text.starts_with(|c: char| ('1'..='9').contains(&c)));
    if !canonical || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// The connection a request came on, counted by the server that accepted it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// What names one opening of a session, chosen by the initiator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nonce(pub [u8; Nonce::BYTES]);

impl Nonce {
    /// Its size.
    pub const BYTES: usize = 16;
}

/// The secret that proves that the caller owns the session. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Ticket(pub [u8; Ticket::BYTES]);

impl Ticket {
    /// Its size.
    pub const BYTES: usize = 32;
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        //= W-13
        f.write_str("Ticket(..)")
    }
}

/// What the server keeps of a ticket: its SHA-256, made by the shell. Compared in constant time.
#[derive(Clone, Copy)]
pub struct TicketHash(pub [u8; 32]);

impl PartialEq for TicketHash {
    //= A-18
    fn eq(&self, other: &Self) -> bool {
        let bytes = if planted::is(Bug::TicketPrefix) { 8 } else { self.0.len() };
        // All words, in the same time wherever they differ.
        let pairs = words(&self.0[..bytes]).zip(words(&other.0[..bytes]));
        let differences = pairs.fold(0, |differences, (own, others)| differences | (own ^ others));
        differences.ct_eq(&0).into()
    }
}

impl Eq for TicketHash {}

/// The bytes eight at a time.
fn words(bytes: &[u8]) -> impl Iterator<Item = u64> + '_ {
    bytes.as_chunks::<8>().0.iter().map(|word| u64::from_ne_bytes(*word))
}

impl Hash for TicketHash {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl fmt::Debug for TicketHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TicketHash(..)")
    }
}

/// XXH3-128 of a method's path and its request, made by the server: tells a retry from another call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub u128);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_prints_and_parses() {
        let call: CallAttempt = "3.17.2".parse().expect("well formed");
        assert_eq!(call.call, CallId { slot: SlotId(3), sequence: Sequence(17) });
        assert_eq!(call.attempt, Attempt(2));
        assert_eq!(call.to_string(), "3.17.2");
    }

    #[test]
    //= test W-5
    fn a_call_has_one_spelling() {
        for text in [
            "",
            ".",
            "1.2",
            "1.2.3.4",
            "1.0.0",
            "+1.2.3",
            "01.2.3",
            "1.02.3",
            "1.2.-3",
            " 1.2.3",
            "1.2.3 ",
            "1..3",
            "4294967296.1.0",
            "1.18446744073709551616.0",
            "1.1.4294967296",
            "١.1.0",
        ] {
            assert_eq!(text.parse::<CallAttempt>(), Err(ParseCallError), "{text:?}");
        }
    }

    #[test]
    //= test W-3
    fn a_session_number_has_one_spelling() {
        assert_eq!("4711".parse::<SessionId>().map(SessionId::value), Ok(4711));
        for text in ["", "0", "-1", "+1", "01", "1 ", "1.0", "0x1", "18446744073709551616"] {
            assert_eq!(text.parse::<SessionId>(), Err(ParseSessionIdError), "{text:?}");
        }
    }

    #[test]
    //= test W-13
    //= test A-18
    fn secrets_do_not_print() {
        assert_eq!(format!("{:?}", Ticket([7; 32])), "Ticket(..)");
        assert_eq!(format!("{:?}", TicketHash([7; 32])), "TicketHash(..)");
    }

    #[test]
    fn each_byte_of_a_ticket_counts() {
        let ticket = TicketHash([7; 32]);
        for byte in 0..32 {
            let mut other = ticket;
            other.0[byte] ^= 1;
            assert_ne!(ticket, other, "byte {byte}");
        }
    }
}
