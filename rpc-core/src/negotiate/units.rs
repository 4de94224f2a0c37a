//! Functional units (X.215 clause 9, and ours) and which of them two sides end up with.

use std::fmt;

/// A functional unit. The kernel is always on and has no value here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum Unit {
    /// Slots and reply records: protected calls.
    ExactlyOnce = 1,
    /// Streams go on after a lost connection.
    Resume = 2,
    /// What was secured survives a crash of the server.
    Durable = 3,
    /// Streams carry digests.
    Digest = 4,
    /// Both sides send at any time. Excludes [`Unit::HalfDuplex`].
    Duplex = 5,
    /// Only the owner of the data token sends data. Excludes [`Unit::Duplex`].
    HalfDuplex = 6,
    /// Data against the turn.
    TypedData = 7,
    /// Data that passes flow control.
    ExpeditedData = 8,
    /// Numbered points in a stream, independently in each direction.
    MinorSynchronize = 9,
    /// Points at which both sides wait.
    MajorSynchronize = 10,
    /// Data before a flagged minor point is safe from a later resynchronization. Needs [`Unit::MinorSynchronize`].
    DataSeparation = 11,
    /// Going back to an agreed point.
    Resynchronize = 12,
    /// Named pieces of work that outlive a session.
    Activity = 13,
    /// Exception reports. Needs [`Unit::HalfDuplex`].
    Exceptions = 14,
    /// The acceptor may refuse a release.
    NegotiatedRelease = 15,
}

impl Unit {
    /// All units, in the order of their numbers on the wire.
    pub const ALL: [Self; 15] = [
        Self::ExactlyOnce,
        Self::Resume,
        Self::Durable,
        Self::Digest,
        Self::Duplex,
        Self::HalfDuplex,
        Self::TypedData,
        Self::ExpeditedData,
        Self::MinorSynchronize,
        Self::MajorSynchronize,
        Self::DataSeparation,
        Self::Resynchronize,
        Self::Activity,
        Self::Exceptions,
        Self::NegotiatedRelease,
    ];

    /// The number on the wire.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The unit with that number; `None` for units that this version does not know, which are never on.
    pub fn from_number(number: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|unit| i32::from(unit.number()) == number)
    }

    /// The unit without which this one has no meaning.
    const fn needs(self) -> Option<Self> {
        match self {
            Self::DataSeparation => Some(Self::MinorSynchronize),
            Self::Exceptions => Some(Self::HalfDuplex),
            Self::ExactlyOnce
            | Self::Resume
            | Self::Durable
            | Self::Digest
            | Self::Duplex
            | Self::HalfDuplex
            | Self::TypedData
            | Self::ExpeditedData
            | Self::MinorSynchronize
            | Self::MajorSynchronize
            | Self::Resynchronize
            | Self::Activity
            | Self::NegotiatedRelease => None,
        }
    }
}

/// A set of units.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Units(u16);

impl Units {
    /// No unit but the kernel.
    pub const KERNEL: Self = Self(0);

    /// Whether `unit` is in the set.
    pub const fn contains(self, unit: Unit) -> bool {
        self.0 & (1 << unit.number()) != 0
    }

    /// The set with `unit`.
    #[must_use]
    pub const fn with(self, unit: Unit) -> Self {
        Self(self.0 | (1 << unit.number()))
    }

    /// The set without `unit`.
    #[must_use]
    pub const fn without(self, unit: Unit) -> Self {
        Self(self.0 & !(1 << unit.number()))
    }

    /// What is in both sets.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The units of the set, in the order of their numbers.
    pub fn iter(self) -> impl Iterator<Item = Unit> {
        Unit::ALL.into_iter().filter(move |unit| self.contains(*unit))
    }

    /// The first unit of this set that is not in `other`.
    pub fn first_missing_in(self, other: Self) -> Option<Unit> {
        self.iter().find(|unit| !other.contains(*unit))
    }

    /// What two sides end up with: the units both want (X.215 7.6.1), of duplex and half duplex the one that is
    /// `required`, else duplex, and nothing whose need is not met.
    #[must_use]
    pub fn agree(proposed: Self, required: Self, offered: Self) -> Self {
        //= O-19
        let mut agreed = proposed.and(offered);
        if agreed.contains(Unit::Duplex) && agreed.contains(Unit::HalfDuplex) {
            //= O-22
            let dropped = if required.contains(Unit::HalfDuplex) { Unit::Duplex } else { Unit::HalfDuplex };
            agreed = agreed.without(dropped);
        }
        for unit in agreed.iter() {
            if unit.needs().is_some_and(|needed| !agreed.contains(needed)) {
                agreed = agreed.without(unit);
            }
        }
        agreed
    }
}

impl FromIterator<Unit> for Units {
    fn from_iter<I: IntoIterator<Item = Unit>>(units: I) -> Self {
        units.into_iter().fold(Self::KERNEL, Self::with)
    }
}

impl fmt::Debug for Units {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(units: &[Unit]) -> Units {
        units.iter().copied().collect()
    }

    #[test]
    //= test O-19
    fn a_unit_is_on_only_if_both_want_it() {
        let agreed = Units::agree(
            set(&[Unit::ExactlyOnce, Unit::Resume]),
            Units::KERNEL,
            set(&[Unit::ExactlyOnce, Unit::Digest]),
        );
        assert_eq!(agreed, set(&[Unit::ExactlyOnce]));
    }

    #[test]
    //= test O-22
    fn of_two_that_exclude_each_other_one_is_left() {
        let both = set(&[Unit::Duplex, Unit::HalfDuplex]);
        assert_eq!(Units::agree(both, Units::KERNEL, both), set(&[Unit::Duplex]));
        assert_eq!(Units::agree(both, set(&[Unit::HalfDuplex]), both), set(&[Unit::HalfDuplex]));
    }

    #[test]
    fn a_unit_falls_with_what_it_needs() {
        let wanted = set(&[Unit::Exceptions, Unit::HalfDuplex, Unit::DataSeparation]);
        assert_eq!(Units::agree(wanted, Units::KERNEL, wanted), set(&[Unit::Exceptions, Unit::HalfDuplex]));
        assert_eq!(Units::agree(wanted, Units::KERNEL, set(&[Unit::Exceptions])), Units::KERNEL);
    }

    #[test]
    fn numbers_make_the_round_trip() {
        for unit in Unit::ALL {
            assert_eq!(Unit::from_number(i32::from(unit.number())), Some(unit));
        }
        assert_eq!(Unit::from_number(0), None);
        assert_eq!(Unit::from_number(16), None);
        assert_eq!(Unit::from_number(-1), None);
    }
}
