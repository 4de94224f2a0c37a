//! Deliberate faults, to see that the tests find them.
//!
//! There are none unless the code was built with `--cfg session_planted`, as `cargo sim` and `cargo planted` do, and the
//! environment variable `SESSION_PLANTED` names one: everywhere else [`is`] is a constant `false`. A process has one fault or
//! none for its whole life, so each is looked for in processes of its own, by tests that know nothing of it.

macro_rules! bugs {
    ($($(#[doc = $what:literal])+ $bug:ident,)+) => {
        /// One fault: what the code does that it must not.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Bug {
            $($(#[doc = $what])+ $bug,)+
        }

        impl Bug {
            /// All of them, in the order of the text.
            pub const ALL: &[Self] = &[$(Self::$bug),+];

            /// What it does, in a sentence.
            pub fn what(self) -> &'static str {
                match self {
                    $(Self::$bug => concat!($($what),+).trim_ascii(),)+
                }
            }
        }
    };
}

bugs! {
    /// A handler runs without an intent in the store.
    IntentNotWritten,
    /// A handler runs before its intent is durable.
    HandlerBeforeIntent,
    /// A reply is sent before it is durable.
    ReplyBeforeRecord,
    /// The failure of a handler is told and not recorded.
    FailureNotRecorded,
    /// That a call was stopped is not recorded.
    StopNotRecorded,
    /// *Not executed* is told before it is durable that the call was settled.
    SettledBeforeRecord,
    /// The store in memory does not compare the epoch.
    EpochNotCompared,
    /// The store on disk does not compare the epoch.
    EpochNotComparedOnDisk,
    /// Who takes a session over does not raise its epoch.
    EpochNotRaised,
    /// The store in memory commits a transaction although what it read has changed.
    ReadsNotCompared,
    /// The store on disk commits a transaction although what it read has changed.
    ReadsNotComparedOnDisk,
    /// The range of numbers that is given out is not stored.
    NumbersNotStored,
    /// The store answers before it has synced.
    SyncSkipped,
    /// A slot takes a call that leaves out a sequence.
    SequenceSkipped,
    /// A lower attempt of a call is answered as if it were the latest.
    AttemptNotCompared,
    /// Another request under the same call is taken for a retry.
    FingerprintNotCompared,
    /// A call that a server had begun that is gone is told as not executed.
    BegunNotExecuted,
    /// A call that a server had begun that is gone runs again, though it is not idempotent.
    BegunRunsAgain,
    /// A server does not doubt that it knows all calls that only an earlier one's memory knew.
    MemoryNotDoubted,
    /// The slot of a call that was given up is used again at once, and its identity with it.
    CancelledSlotReused,
    /// A call that was given up stays in its slot for ever.
    QuarantineForEver,
    /// An older attempt goes on beside a newer one.
    OldAttemptGoesOn,
    /// The opening of a session that has ended opens another.
    EndedOpensAgain,
    /// A session whose time is over goes on.
    ExpiredGoesOn,
    /// A ticket is void as soon as the next is issued.
    TicketVoidedEarly,
    /// A ticket stays valid after the next was used.
    TicketNotVoided,
    /// Only the first bytes of a ticket are compared.
    TicketPrefix,
    /// A session is renewed with the token of another principal.
    RenewedByAnother,
    /// A call with the token of another principal is taken in a session.
    PrincipalNotCompared,
    /// A release is answered while a call runs.
    ReleaseDuringCall,
    /// A refused release leaves the session as one that takes no calls.
    RefusalChanges,
    /// Who has an exclusive class lets a second one in.
    ExclusiveAdmitsTwo,
    /// The deadline is not passed on with an attempt.
    DeadlineNotPassedOn,
    /// The deadline ends at the response head, streams go on.
    DeadlineNotOnStreams,
    /// The replay buffer is freed on received.
    FreedOnReceived,
    /// A point counts as secured before it is stored.
    PointBeforeRecord,
    /// The confirmation of a point that was never placed is accepted.
    ConfirmedBeyondSent,
    /// A peer that has something else than what was sent is resumed.
    DigestNotCompared,
    /// The digest of a sync point is not compared.
    PointDigestNotCompared,
    /// A stream that ends before the position of its END passes.
    EndNotCompared,
    /// The sender ignores credit.
    CreditIgnored,
    /// Data of an older generation arrives as of the current one.
    GenerationNotCompared,
    /// What an older generation left undelivered is delivered after a resynchronization.
    OldGenerationDelivered,
    /// A major point is confirmed before what precedes its answer was delivered.
    MajorNotAwaited,
    /// A token is taken although its generation is not newer.
    TokenGenerationIgnored,
    /// A token whose transfer was lost has two owners.
    TwoOwners,
    /// Data is sent out of turn.
    DataOutOfTurn,
    /// One side decides a collision the other way round.
    CollisionReversed,
}

/// Whether this fault is there.
#[cfg(not(session_planted))]
#[inline(always)]
pub const fn is(_bug: Bug) -> bool {
    false
}

/// Whether this fault is there.
///
/// # Panics
///
/// `SESSION_PLANTED` names no fault.
#[cfg(session_planted)]
pub fn is(bug: Bug) -> bool {
    use std::sync::LazyLock;

    #[expect(clippy::disallowed_methods, reason = "a test chooses the fault of a process that runs tests")]
    static PLANTED: LazyLock<Option<Bug>> = LazyLock::new(|| {
        let name = std::env::var("SESSION_PLANTED").ok()?;
        let named = Bug::ALL.iter().find(|bug| format!("{bug:?}") == name);
        Some(*named.unwrap_or_else(|| panic!("SESSION_PLANTED={name} is no fault: {:?}", Bug::ALL)))
    });
    *PLANTED == Some(bug)
}
