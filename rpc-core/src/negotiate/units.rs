//! Functional units (X.215 clause 9, and ours) and which of them two sides end up with.

use std::fmt;

use crate::policy::{MethodKind, MethodPolicy};

/// A functional unit. The kernel is always on and has no value here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum Unit {
    /// Slots and reply records: protected calls.
    ExactlyOnce = 1,
    /// Streams go on after a lost connection. Needs [`Unit::MinorSynchronize`].
    Resume = 2,
    /// What was secured survives a crash of the server. Needs [`Unit::Resume`].
    Durable = 3,
    /// Streams carry digests.
    Digest = 4,
    /// Both sides send at any time, in methods that do not declare otherwise.
    Duplex = 5,
    /// Only the owner of the data token sends data: in methods that declare it, and without [`Unit::Duplex`] in all
    /// that stream both ways with checkpoints.
    HalfDuplex = 6,
    /// Data against the turn.
    TypedData = 7,
    /// Data that passes flow control.
    ExpeditedData = 8,
    /// Numbered points in a stream, independently in each direction.
    MinorSynchronize = 9,
    /// Points at which both sides wait.
    MajorSynchronize = 10,
    /// Data before a flagged minor point is safe from a later resynchronization. Needs [`Unit::MinorSynchronize`] and
    /// excludes [`Unit::Activity`].
    DataSeparation = 11,
    /// Going back to an agreed point.
    Resynchronize = 12,
    /// Named pieces of work that outlive a session. Needs [`Unit::Resume`] and excludes [`Unit::DataSeparation`].
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

    /// The unit without which this one has no meaning (X.215 clause 9).
    pub const fn needs(self) -> Option<Self> {
        match self {
            //= O-23
            //= O-28
            Self::Resume | Self::DataSeparation => Some(Self::MinorSynchronize),
            Self::Durable | Self::Activity => Some(Self::Resume),
            //= O-24
            Self::Exceptions => Some(Self::HalfDuplex),
            Self::ExactlyOnce
            | Self::Digest
            | Self::Duplex
            | Self::HalfDuplex
            | Self::TypedData
            | Self::ExpeditedData
            | Self::MinorSynchronize
            | Self::MajorSynchronize
            | Self::Resynchronize
            | Self::NegotiatedRelease => None,
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ExactlyOnce => "exactly-once",
            Self::Resume => "resume",
            Self::Durable => "durable",
            Self::Digest => "digest",
            Self::Duplex => "duplex",
            Self::HalfDuplex => "half-duplex",
            Self::TypedData => "typed data",
            Self::ExpeditedData => "expedited data",
            Self::MinorSynchronize => "minor synchronize",
            Self::MajorSynchronize => "major synchronize",
            Self::DataSeparation => "data separation",
            Self::Resynchronize => "resynchronize",
            Self::Activity => "activity",
            Self::Exceptions => "exceptions",
            Self::NegotiatedRelease => "negotiated release",
        })
    }
}

/// A set of units.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Units(u16);

impl Units {
    /// No unit but the kernel.
    pub const KERNEL: Self = Self(0);
    /// All units.
    pub const ALL: Self = Self(!1);

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

    /// The set without all that is in `other`.
    #[must_use]
    pub const fn except(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The units of the set, in the order of their numbers.
    pub fn iter(self) -> impl Iterator<Item = Unit> {
        Unit::ALL.into_iter().filter(move |unit| self.contains(*unit))
    }

    /// The first unit of this set that is not in `other`.
    pub fn first_missing_in(self, other: Self) -> Option<Unit> {
        self.iter().find(|unit| !other.contains(*unit))
    }

    /// The set with `unit` and all that it needs.
    #[must_use]
    pub fn with_needs(self, unit: Unit) -> Self {
        std::iter::successors(Some(unit), |unit| unit.needs()).fold(self, Self::with)
    }

    /// Two units of the set that exclude each other (X.215 7.6.1).
    pub const fn contradiction(self) -> Option<(Unit, Unit)> {
        if self.contains(Unit::DataSeparation) && self.contains(Unit::Activity) {
            Some((Unit::DataSeparation, Unit::Activity))
        } else {
            None
        }
    }

    /// Whether the streams of a method take turns: only the owner of the data token sends (X.215 7.4).
    ///
    /// # Errors
    ///
    /// The unit that is off and without which the method is refused.
    pub fn takes_turns(self, method: &MethodPolicy) -> Result<bool, Unit> {
        let both_ways = method.kind == MethodKind::Bidirectional && method.checkpoint.is_some();
        //= O-27
        match (method.half_duplex, self.contains(Unit::HalfDuplex)) {
            (true, false) => Err(Unit::HalfDuplex),
            (true, true) => Ok(true),
            (false, true) if both_ways && !self.contains(Unit::Duplex) => {
                // Without a dialog nobody could pass the turn.
                if method.dialog { Ok(true) } else { Err(Unit::Duplex) }
            }
            (false, _) => Ok(false),
        }
    }

    /// What two sides end up with: the units both want (X.215 7.6.1), nothing whose need is not met, and *activity*
    /// rather than *data separation* unless only that is `required`.
    #[must_use]
    pub fn agree(proposed: Self, required: Self, offered: Self) -> Self {
        //= O-19
        let mut agreed = proposed.and(offered).without_unmet();
        if agreed.contradiction().is_some() {
            //= O-23
            let only_separation =
                required.contains(Unit::DataSeparation) && !required.contains(Unit::Activity);
            agreed = agreed.without(if only_separation { Unit::Activity } else { Unit::DataSeparation });
        }
        agreed
    }

    /// The set without the units whose need is not in it. What falls may have been another's need.
    fn without_unmet(self) -> Self {
        let unmet = |unit: &Unit| unit.needs().is_some_and(|needed| !self.contains(needed));
        let met = self.iter().filter(unmet).fold(self, Self::without);
        if met == self { self } else { met.without_unmet() }
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
    use super::Unit::*;
    use super::*;
    use crate::policy::{Checkpoint, Secure};

    fn set(units: &[Unit]) -> Units {
        units.iter().copied().collect()
    }

    #[test]
    //= test O-19
    fn each_unit_is_on_exactly_if_both_want_it() {
        for unit in Unit::ALL {
            let wanted = Units::KERNEL.with_needs(unit);
            for required in [Units::KERNEL, Units::KERNEL.with(unit), wanted] {
                assert_eq!(Units::agree(wanted, required, wanted), wanted, "{unit}");
                assert_eq!(
                    Units::agree(wanted, required, wanted.without(unit)),
                    wanted.without(unit),
                    "{unit}"
                );
                assert_eq!(
                    Units::agree(wanted.without(unit), required, wanted),
                    wanted.without(unit),
                    "{unit}"
                );
            }
            assert_eq!(Units::agree(wanted, wanted, Units::KERNEL), Units::KERNEL);
        }
        assert_eq!(set(&Unit::ALL), Units::ALL);
    }

    #[test]
    //= test O-23
    //= test O-24
    //= test O-27
    //= test O-28
    fn what_two_sides_end_up_with() {
        let all = Units::ALL;
        type Row = (&'static [Unit], &'static [Unit], Units, &'static [Unit]);
        let table: [Row; 16] = [
            // proposed, required, offered, on
            (&[ExactlyOnce, Resume, MinorSynchronize], &[], set(&[ExactlyOnce, Digest]), &[ExactlyOnce]),
            (&[Duplex, HalfDuplex], &[], all, &[Duplex, HalfDuplex]),
            (&[Duplex, HalfDuplex], &[HalfDuplex], all, &[Duplex, HalfDuplex]),
            (&[Duplex, HalfDuplex], &[Duplex, HalfDuplex], all, &[Duplex, HalfDuplex]),
            (&[Duplex, HalfDuplex], &[], all.without(Duplex), &[HalfDuplex]),
            (&[Exceptions, HalfDuplex], &[], all, &[Exceptions, HalfDuplex]),
            (&[Exceptions, HalfDuplex], &[], all.without(HalfDuplex), &[]),
            (&[Exceptions], &[Exceptions], all, &[]),
            (&[DataSeparation], &[], all, &[]),
            (&[DataSeparation, MinorSynchronize], &[], all, &[MinorSynchronize, DataSeparation]),
            (&[Resume, Durable, Activity], &[], all, &[]),
            (&[Resume, Durable, MinorSynchronize], &[], all.without(Resume), &[MinorSynchronize]),
            // Data separation and activity: one of them.
            (
                &[DataSeparation, Activity, MinorSynchronize, Resume],
                &[],
                all,
                &[Activity, MinorSynchronize, Resume],
            ),
            (
                &[DataSeparation, Activity, MinorSynchronize, Resume],
                &[DataSeparation],
                all,
                &[DataSeparation, MinorSynchronize, Resume],
            ),
            (
                &[DataSeparation, Activity, MinorSynchronize, Resume],
                &[Activity],
                all,
                &[Activity, MinorSynchronize, Resume],
            ),
            (
                &[DataSeparation, Activity, MinorSynchronize, Resume],
                &[],
                all.without(Activity),
                &[DataSeparation, MinorSynchronize, Resume],
            ),
        ];
        for (proposed, required, offered, on) in table {
            let agreed = Units::agree(set(proposed), set(required), offered);
            assert_eq!(agreed, set(on), "{proposed:?}, {required:?} required, of {offered:?}");
        }
    }

    /// What both want may be any set: the answer is part of it, meets the needs and does not contradict itself.
    #[test]
    //= test O-23
    //= test O-24
    //= test O-28
    fn no_answer_contradicts_itself() {
        for bits in 0..1 << Unit::ALL.len() {
            let wanted = Units(bits << 1);
            let agreed = Units::agree(wanted, Units::KERNEL, Units::ALL);
            assert_eq!(agreed.and(wanted), agreed);
            assert_eq!(agreed.contradiction(), None);
            assert!(agreed.iter().all(|unit| unit.needs().is_none_or(|needed| agreed.contains(needed))));
        }
    }

    #[test]
    //= test O-27
    fn who_declares_turns_takes_them_and_others_where_nothing_else_is_on() {
        let checkpoint =
            Checkpoint { every_messages: Some(1), every_bytes: None, every: None, secure: Secure::Automatic };
        let talk = MethodPolicy {
            checkpoint: Some(checkpoint),
            dialog: true,
            ..MethodPolicy::plain("/radio.v1.Radio/Talk", MethodKind::Bidirectional)
        };
        let declared = MethodPolicy { half_duplex: true, ..talk };
        let without = MethodPolicy { dialog: false, ..talk };
        let table = [
            // on, a method that declares it, one that does not, one that has no dialog
            (Units::KERNEL, Err(HalfDuplex), Ok(false), Ok(false)),
            (set(&[Duplex]), Err(HalfDuplex), Ok(false), Ok(false)),
            (set(&[HalfDuplex]), Ok(true), Ok(true), Err(Duplex)),
            (set(&[Duplex, HalfDuplex]), Ok(true), Ok(false), Ok(false)),
        ];
        for (on, declares, silent, mute) in table {
            let turns = [declared, talk, without].map(|method| on.takes_turns(&method));
            assert_eq!(turns, [declares, silent, mute], "{on:?}");
        }
        let upload = MethodPolicy { kind: MethodKind::ClientStreaming, ..talk };
        let plain = MethodPolicy { checkpoint: None, ..talk };
        for method in [upload, plain] {
            assert_eq!(
                set(&[HalfDuplex]).takes_turns(&method),
                Ok(false),
                "only one side speaks, or nobody keeps turns"
            );
        }
    }

    #[test]
    fn a_need_brings_its_own() {
        assert_eq!(Units::KERNEL.with_needs(Durable), set(&[Durable, Resume, MinorSynchronize]));
        assert_eq!(Units::KERNEL.with_needs(Exceptions), set(&[Exceptions, HalfDuplex]));
        assert_eq!(Units::KERNEL.with_needs(Digest), set(&[Digest]));
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
