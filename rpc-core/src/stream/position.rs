//! Places in one direction of a stream.

use std::fmt;

use super::run::PREFIX_BYTES;

/// A place between two messages of one direction, counted from its beginning over all attempts.
///
/// Both counts are of whole messages as gRPC frames them, that is with the five bytes before each; control frames do not
/// count. Of two positions of the same stream the one with more messages also has more bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position {
    /// Messages before this place.
    pub messages: u64,
    /// Their bytes, five bytes of framing each included.
    pub bytes: u64,
}

impl Position {
    /// Before the first message.
    pub const ORIGIN: Self = Self { messages: 0, bytes: 0 };

    /// The place `messages` and `bytes` further on. Stops at the largest numbers, which no stream reaches.
    #[must_use]
    pub fn plus(self, messages: u64, bytes: u64) -> Self {
        Self { messages: self.messages.saturating_add(messages), bytes: self.bytes.saturating_add(bytes) }
    }

    /// Messages and bytes from `earlier` to here; zero where `earlier` is further on.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            messages: self.messages.saturating_sub(earlier.messages),
            bytes: self.bytes.saturating_sub(earlier.bytes),
        }
    }

    /// The further of the two, for each count by itself.
    #[must_use]
    pub fn furthest(self, other: Self) -> Self {
        Self { messages: self.messages.max(other.messages), bytes: self.bytes.max(other.bytes) }
    }

    /// Whether a stream can have messages that end here and at `other`.
    pub(super) fn agrees_with(self, other: Self) -> bool {
        let (first, last) = if self.messages < other.messages { (self, other) } else { (other, self) };
        let between = last.since(first);
        let least = between.messages.saturating_mul(PREFIX_BYTES as u64);
        first.bytes.saturating_add(least) <= last.bytes && (between.messages > 0 || between.bytes == 0)
    }

    /// Whether neither count is beyond that of `limit`.
    pub fn within(self, limit: Self) -> bool {
        self.messages <= limit.messages && self.bytes <= limit.bytes
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} messages, {} bytes", self.messages, self.bytes)
    }
}

/// The number of a sync point: 1 for the first of a direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Serial(pub u64);

impl Serial {
    /// Before the first point.
    pub const NONE: Self = Self(0);
    /// The first point of a direction.
    pub const FIRST: Self = Self(1);

    /// The number of the point after this one. Stays at the largest number, which no stream reaches.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// How often a direction was resynchronized: the applications agreed to go back, or its sender was
/// [restored](super::flow::Flow::restored) and set its sync points anew. What belongs to an older generation is void.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Generation(pub u32);

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_holds_for_both_counts() {
        let limit = Position { messages: 10, bytes: 100 };
        assert!(limit.within(limit));
        assert!(!Position { messages: 11, bytes: 50 }.within(limit));
        assert!(!Position { messages: 1, bytes: 101 }.within(limit));
    }

    #[test]
    fn two_places_of_a_stream_are_in_order_and_far_enough_apart() {
        let place = |messages, bytes| Position { messages, bytes };
        for (one, other, agree) in [
            (place(3, 30), place(3, 30), true),
            (place(3, 30), place(3, 31), false),
            (place(3, 30), place(4, 35), true),
            (place(3, 30), place(4, 34), false),
            (place(3, 30), place(4, 29), false),
            (Position::ORIGIN, place(2, 10), true),
            (Position::ORIGIN, place(0, 1), false),
        ] {
            assert_eq!(one.agrees_with(other), agree, "{one} {other}");
            assert_eq!(other.agrees_with(one), agree, "{other} {one}");
        }
    }

    #[test]
    fn the_way_back_is_zero() {
        let here = Position { messages: 3, bytes: 30 };
        assert_eq!(here.plus(2, 20).since(here), Position { messages: 2, bytes: 20 });
        assert_eq!(here.since(here.plus(1, 5)), Position::ORIGIN);
        assert_eq!(Position { messages: u64::MAX, bytes: 1 }.plus(1, 1).messages, u64::MAX);
    }
}
