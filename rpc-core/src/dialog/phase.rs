//! The states of a dialog and what may happen in each, as a table.

use std::fmt;

/// Who has the turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Turn {
    /// This side.
    Speaking,
    /// The other side, or the token is under way.
    Listening,
    /// Both: the stream is duplex.
    Both,
}

/// How far a resynchronization has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// There is none.
    Idle,
    /// This side has asked and waits for the answer.
    Asking,
    /// The other side has asked, and this one has to answer.
    Asked,
}

/// Where a dialog is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct State {
    /// Who may send data.
    pub turn: Turn,
    /// Whether that is in doubt.
    pub phase: Phase,
}

/// What happens in a dialog: what the own application wants, and what comes from the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    /// The application sends data.
    SendData,
    /// It hands the data token over.
    Give,
    /// It asks for the data token.
    Please,
    /// It sends typed data.
    Typed,
    /// It sends expedited data.
    Expedited,
    /// It reports an exception.
    Report,
    /// It asks for a resynchronization.
    Resynchronize,
    /// It answers to one.
    Answer,
    /// Data arrived that had not arrived before.
    HeardData,
    /// The other side hands the data token over.
    HeardGive,
    /// It asks for a token.
    HeardPlease,
    /// Its typed data.
    HeardTyped,
    /// Its expedited data.
    HeardExpedited,
    /// Its report of an exception.
    HeardException,
    /// It asks for a resynchronization; an own request that crosses it loses.
    HeardResync,
    /// It asks for a resynchronization; the own request that crosses it wins.
    HeardLosingResync,
    /// It answers to the own request.
    HeardAnswer,
    /// It was restored.
    HeardRestored,
}

/// What the table says of an event in a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It happens, and this is the state after it.
    Next(State),
    /// It happens, and the agreement says who has the turn.
    Settles,
    /// The application is refused: the data token is missing.
    Missing,
    /// The application is refused: the data token must not be its own.
    Owned,
    /// The application is refused: there is no data token.
    Unavailable,
    /// The application is refused: a resynchronization is under way.
    Busy,
    /// The application is refused: nothing is asked.
    NotAsked,
    /// It is void: nothing happens.
    Void,
    /// The peer broke the protocol.
    Violation,
}

impl State {
    /// All states, in the order of the table.
    pub const ALL: [Self; 9] = [
        Self { turn: Turn::Speaking, phase: Phase::Idle },
        Self { turn: Turn::Speaking, phase: Phase::Asking },
        Self { turn: Turn::Speaking, phase: Phase::Asked },
        Self { turn: Turn::Listening, phase: Phase::Idle },
        Self { turn: Turn::Listening, phase: Phase::Asking },
        Self { turn: Turn::Listening, phase: Phase::Asked },
        Self { turn: Turn::Both, phase: Phase::Idle },
        Self { turn: Turn::Both, phase: Phase::Asking },
        Self { turn: Turn::Both, phase: Phase::Asked },
    ];

    /// What `event` does here. Every pair is decided.
    //= D-1, D-5, D-15, D-16, I16
    #[must_use]
    pub const fn on(self, event: Event) -> Verdict {
        use Event as E;
        use Phase::{Asked, Asking, Idle};
        use Turn::{Both, Listening, Speaking};
        match (event, self.turn, self.phase) {
            // The own application. X.215 13.11: who asked for a resynchronization, or is asked, does nothing else.
            (E::Answer, _, Asked) => Verdict::Settles,
            (E::Answer, _, Idle | Asking) => Verdict::NotAsked,
            // What there never is, is not refused as what there is not now.
            (E::Give | E::Please | E::Report, Both, Idle | Asking | Asked) => Verdict::Unavailable,
            (E::Give | E::Please | E::Report, Speaking | Listening, Asking | Asked)
            | (E::SendData | E::Typed | E::Expedited | E::Resynchronize, _, Asking | Asked) => Verdict::Busy,
            (E::SendData | E::Give, Listening, Idle) => Verdict::Missing,
            (E::SendData, Speaking | Both, Idle) => self.stays(),
            (E::Give, Speaking, Idle) => self.turns(Listening),
            (E::Please | E::Report, Speaking, Idle) => Verdict::Owned,
            (E::Please | E::Report, Listening, Idle) => self.stays(),
            (E::Typed | E::Expedited, _, Idle) => self.stays(),
            (E::Resynchronize, _, Idle) => self.comes_to(Asking),
            // The peer. Who asked for a resynchronization says nothing more; what it said before the own request came
            // to it crosses that.
            (E::HeardRestored, _, Idle | Asking) => self.stays(),
            (E::HeardRestored, _, Asked) => self.comes_to(Idle),
            (E::HeardAnswer, _, Asking) => Verdict::Settles,
            (E::HeardAnswer, _, Idle | Asked) => Verdict::Violation,
            (E::HeardResync | E::HeardLosingResync, _, Idle) => self.comes_to(Asked),
            (E::HeardResync, _, Asking) => self.comes_to(Asked),
            (E::HeardLosingResync, _, Asking) => Verdict::Void,
            (
                E::HeardData
                | E::HeardGive
                | E::HeardPlease
                | E::HeardTyped
                | E::HeardExpedited
                | E::HeardException
                | E::HeardResync
                | E::HeardLosingResync,
                _,
                Asked,
            ) => Verdict::Violation,
            (E::HeardData | E::HeardGive, Speaking, Idle | Asking) => Verdict::Violation,
            (E::HeardData, Listening | Both, Idle) => self.stays(),
            (E::HeardData, Listening | Both, Asking) => Verdict::Void,
            (E::HeardGive, Listening, Idle | Asking) => self.turns(Speaking),
            (E::HeardGive | E::HeardException, Both, Idle | Asking) => Verdict::Violation,
            (E::HeardPlease | E::HeardTyped | E::HeardExpedited, _, Idle | Asking) => self.stays(),
            (E::HeardException, Speaking | Listening, Idle) => self.stays(),
            (E::HeardException, Speaking | Listening, Asking) => Verdict::Void,
        }
    }

    const fn stays(self) -> Verdict {
        Verdict::Next(self)
    }

    const fn turns(self, turn: Turn) -> Verdict {
        Verdict::Next(Self { turn, phase: self.phase })
    }

    const fn comes_to(self, phase: Phase) -> Verdict {
        Verdict::Next(Self { turn: self.turn, phase })
    }
}

impl Event {
    /// All events, in the order of the table.
    pub const ALL: [Self; 18] = [
        Self::SendData,
        Self::Give,
        Self::Please,
        Self::Typed,
        Self::Expedited,
        Self::Report,
        Self::Resynchronize,
        Self::Answer,
        Self::HeardData,
        Self::HeardGive,
        Self::HeardPlease,
        Self::HeardTyped,
        Self::HeardExpedited,
        Self::HeardException,
        Self::HeardResync,
        Self::HeardLosingResync,
        Self::HeardAnswer,
        Self::HeardRestored,
    ];
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.turn {
            Turn::Speaking => "speaking",
            Turn::Listening => "listening",
            Turn::Both => "duplex",
        })?;
        f.write_str(match self.phase {
            Phase::Idle => "",
            Phase::Asking => ", asking",
            Phase::Asked => ", asked",
        })
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SendData => "sends data",
            Self::Give => "gives *data*",
            Self::Please => "asks for *data*",
            Self::Typed => "sends typed data",
            Self::Expedited => "sends expedited data",
            Self::Report => "reports an exception",
            Self::Resynchronize => "asks for a resynchronization",
            Self::Answer => "answers to one",
            Self::HeardData => "data",
            Self::HeardGive => "GIVE of *data*",
            Self::HeardPlease => "PLEASE",
            Self::HeardTyped => "TYPED",
            Self::HeardExpedited => "EXPEDITED",
            Self::HeardException => "EXCEPTION",
            Self::HeardResync => "RESYNC that wins",
            Self::HeardLosingResync => "RESYNC that loses",
            Self::HeardAnswer => "RESYNC_ACK",
            Self::HeardRestored => "DIALOG_ACK, anew",
        })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Next(state) => state.fmt(f),
            Self::Settles => f.write_str("settled"),
            Self::Missing => f.write_str("token missing"),
            Self::Owned => f.write_str("token owned"),
            Self::Unavailable => f.write_str("no token"),
            Self::Busy => f.write_str("busy"),
            Self::NotAsked => f.write_str("not asked"),
            Self::Void => f.write_str("void"),
            Self::Violation => f.write_str("violation"),
        }
    }
}
