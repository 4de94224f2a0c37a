//! What the two sides of a stream say to each other in their dialog.
//!
//! The words are the service primitives of X.215: each is numbered within its direction, kept until the other side has
//! it, and said again, first of all, in the next attempt. So a dialog loses nothing with a connection, and needs no
//! position in the data to do so.

use std::fmt;

use bytes::Bytes;

use crate::dialog::{Holding, ResyncKind, Token, TokenSet};
use crate::stream::position::{Generation, Position, Serial};

/// Longest piece of typed data, in bytes.
pub const TYPED_BYTES_MAX: usize = 64 << 10;
/// Longest piece of expedited data, in bytes.
pub const EXPEDITED_BYTES_MAX: usize = 4 << 10;
/// Longest text of an exception report, in bytes.
pub const DETAIL_BYTES_MAX: usize = 512;

/// One primitive with its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Numbered {
    /// Counts the primitives of the direction, from 1.
    pub number: u64,
    /// Nothing of it is heard before everything up to here has arrived; the beginning: it waits for nothing.
    pub after: Position,
    /// What is said.
    pub primitive: Primitive,
}

/// What is said. `Debug` shows no data, text or state.
#[derive(Clone, PartialEq, Eq)]
pub enum Primitive {
    /// S-TOKEN-GIVE and S-CONTROL-GIVE: these tokens are the other side's, each in its new generation.
    Give(Vec<Holding>),
    /// S-TOKEN-PLEASE; with no token: no longer.
    Please(Please),
    /// S-TYPED-DATA: against the turn.
    Typed(Bytes),
    /// S-EXPEDITED-DATA: past flow control.
    Expedited(Bytes),
    /// S-U-EXCEPTION-REPORT.
    Exception(Exception),
    /// S-RESYNCHRONIZE request.
    Resync(Resync),
    /// S-RESYNCHRONIZE response.
    ResyncAck(ResyncAck),
}

impl fmt::Debug for Primitive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Give(holdings) => f.debug_tuple("Give").field(holdings).finish(),
            Self::Please(please) => please.fmt(f),
            Self::Typed(bytes) => write!(f, "Typed(<{} bytes>)", bytes.len()),
            Self::Expedited(bytes) => write!(f, "Expedited(<{} bytes>)", bytes.len()),
            Self::Exception(exception) => exception.fmt(f),
            Self::Resync(resync) => resync.fmt(f),
            Self::ResyncAck(ack) => ack.fmt(f),
        }
    }
}

/// A request for tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Please {
    /// Which; none withdraws what was asked for before.
    pub tokens: TokenSet,
    /// A higher number is more urgent. Has no effect of its own: the owner decides.
    pub priority: u32,
    /// How long the asking side waits, in milliseconds from when it asked; 0: without end.
    pub within_ms: u64,
}

/// A report of trouble. `Debug` does not show the text.
#[derive(Clone, PartialEq, Eq)]
pub struct Exception {
    /// What kind of trouble.
    pub cause: Cause,
    /// For people. At most [`DETAIL_BYTES_MAX`].
    pub detail: String,
}

impl fmt::Debug for Exception {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Exception({:?}, <{} bytes>)", self.cause, self.detail.len())
    }
}

/// The causes of X.215 13.12.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Cause {
    /// Not one of the others.
    #[default]
    Unspecified,
    /// The reporting side may not be able to take what comes.
    ReceivingJeopardized,
    /// Something came out of its order.
    Sequence,
    /// An error at the reporting side.
    Local,
    /// A procedure failed that cannot be mended.
    Procedure,
    /// The reporting side wants the data token.
    DemandDataToken,
}

/// Goes back to an agreed point. Says nothing more after it but an abort, until the answer. `Debug` does not show the state.
#[derive(Clone, PartialEq, Eq)]
pub struct Resync {
    /// How.
    pub kind: ResyncKind,
    /// The direction that the asking side sends; `None`: untouched.
    pub own: Option<Base>,
    /// The serial of the other direction; `None`: untouched.
    pub other: Option<Serial>,
    /// Who is to have which token.
    pub wishes: Vec<(Token, Wish)>,
    /// What the asking application left. At most [`STATE_BYTES_MAX`](super::STATE_BYTES_MAX).
    pub state: Bytes,
}

impl fmt::Debug for Resync {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, own, other, wishes, state } = self;
        let state = state.len();
        write!(f, "Resync({kind:?}, own {own:?}, other {other:?}, {wishes:?}, <{state} bytes>)")
    }
}

/// Agrees to a resynchronization. `Debug` does not show the state.
#[derive(Clone, PartialEq, Eq)]
pub struct ResyncAck {
    /// The direction that the answering side sends; `None`: untouched.
    pub own: Option<Base>,
    /// The serial of the other direction as it is agreed; `None`: untouched.
    pub other: Option<Serial>,
    /// All available tokens.
    pub holdings: Vec<Holding>,
    /// What the answering application left. At most [`STATE_BYTES_MAX`](super::STATE_BYTES_MAX).
    pub state: Bytes,
}

impl fmt::Debug for ResyncAck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { own, other, holdings, state } = self;
        write!(f, "ResyncAck(own {own:?}, other {other:?}, {holdings:?}, <{} bytes>)", state.len())
    }
}

/// Where a direction goes on after a resynchronization.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Base {
    /// Number of the next sync point.
    pub serial: Serial,
    /// End of what was sent in all older generations: positions go on from here.
    pub position: Position,
    /// The generation that begins.
    pub generation: Generation,
}

/// Who is to have a token after a resynchronization, as the asking side would have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Wish {
    /// The asking side.
    Mine,
    /// The answering side.
    Yours,
    /// Whom the answering side chooses.
    Choose,
}

/// How far one side has come with what the other said.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DialogAck {
    /// Number of the last primitive that arrived. With [`anew`](Self::anew): of the first that arrived since; 0: none.
    pub received: u64,
    /// Number of the last primitive with typed data that its application has taken.
    pub typed_taken: u64,
    /// The same of expedited data.
    pub expedited_taken: u64,
    /// The tokens as this side knows them, in the first of a resumed attempt.
    pub holdings: Vec<Holding>,
    /// This side was restored: it knows nothing of what was said before. In the first of a resumed attempt.
    pub anew: bool,
    /// This side has heard that the other one was restored: what that says now belongs to its new life.
    pub knows_anew: bool,
}
