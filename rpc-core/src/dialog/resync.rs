//! Resynchronization: what may be asked for, which of two that cross wins, and how far one has come.

use std::cmp::Ordering;

use bytes::Bytes;

use super::token::{Token, TokenSet};
use crate::frame::dialog::{Base, Resync, Wish};
use crate::stream::flow::Side;
use crate::stream::position::Serial;

/// How to go back (X.215 13.11).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResyncKind {
    /// To a point since the last major one.
    Restart,
    /// To a serial of the asking side's choice.
    Set,
    /// To a new serial: what was under way is given up.
    Abandon,
}

impl ResyncKind {
    /// All of them, in the order of [`Collision`].
    pub const ALL: [Self; 3] = [Self::Restart, Self::Set, Self::Abandon];
}

/// What can cross on its way, in the order of X.215 16.2: the later one here wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Collision {
    /// An exception report.
    Exception,
    /// A resynchronization.
    Resync(ResyncKind),
    /// An activity is interrupted.
    Interrupt,
    /// An activity is discarded.
    Discard,
    /// The call or the session is aborted.
    Abort,
}

impl Collision {
    /// All of them, the weakest first.
    pub const ALL: [Self; 7] = [
        Self::Exception,
        Self::Resync(ResyncKind::Restart),
        Self::Resync(ResyncKind::Set),
        Self::Resync(ResyncKind::Abandon),
        Self::Interrupt,
        Self::Discard,
        Self::Abort,
    ];
}

/// What of two resynchronizations that cross is compared: of each direction that one touches, the serial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crossing {
    /// Which kind.
    pub kind: ResyncKind,
    /// Of the requests.
    pub requests: Option<Serial>,
    /// Of the responses.
    pub responses: Option<Serial>,
}

impl Crossing {
    /// What `side` asks for.
    pub(super) fn of(side: Side, request: &Resync) -> Self {
        let (own, other) = (request.own.map(|base| base.serial), request.other);
        let (requests, responses) = match side {
            Side::Client => (own, other),
            Side::Server => (other, own),
        };
        Self { kind: request.kind, requests, responses }
    }

    /// Whose request wins. Both sides compute the same from the same two requests, whichever came first.
    //= D-15, I20
    pub fn winner(client: Self, server: Self) -> Side {
        let both = |client: Option<Serial>, server: Option<Serial>| match (client, server) {
            (Some(client), Some(server)) => client.cmp(&server),
            (Some(_) | None, None) | (None, Some(_)) => Ordering::Equal,
        };
        let lowest = both(client.requests, server.requests).then(both(client.responses, server.responses));
        match Collision::Resync(client.kind).cmp(&Collision::Resync(server.kind)) {
            Ordering::Greater => Side::Client,
            Ordering::Less => Side::Server,
            Ordering::Equal if client.kind == ResyncKind::Restart && lowest == Ordering::Greater => {
                Side::Server
            }
            Ordering::Equal => Side::Client,
        }
    }
}

/// What the application asks for. `Debug` does not show the state.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    /// How to go back.
    pub kind: ResyncKind,
    /// The number of the next point of the own direction; `None`: it stays untouched.
    pub own: Option<Serial>,
    /// The same of the other direction.
    pub other: Option<Serial>,
    /// Who is to have which token; those not named stay with their owners.
    pub wishes: Vec<(Token, Wish)>,
    /// For the other application. At most [`STATE_BYTES_MAX`](crate::frame::STATE_BYTES_MAX).
    pub state: Bytes,
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { kind, own, other, wishes, state } = self;
        write!(f, "Request({kind:?}, own {own:?}, other {other:?}, {wishes:?}, <{} bytes>)", state.len())
    }
}

/// What the application answers to a request. `Debug` does not show the state.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Answer {
    /// For the other application. At most [`STATE_BYTES_MAX`](crate::frame::STATE_BYTES_MAX).
    pub state: Bytes,
    /// Which of the tokens whose owner it may choose are its own.
    pub mine: TokenSet,
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Answer(<{} bytes>, {:?})", self.state.len(), self.mine)
    }
}

/// What became of the own request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answered {
    /// Both directions go on from what was agreed.
    Confirmed(Confirmation),
    /// The other side asked, too, and its request won: this one is void.
    Lost,
}

/// What was agreed. `Debug` does not show the state.
#[derive(Clone, PartialEq, Eq)]
pub struct Confirmation {
    /// How both went back.
    pub kind: ResyncKind,
    /// The number of the next point of the own direction; `None`: it stays as it was.
    pub own: Option<Serial>,
    /// The same of the other direction.
    pub other: Option<Serial>,
    /// From the other application.
    pub state: Bytes,
}

impl std::fmt::Debug for Confirmation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { kind, own, other, state } = self;
        write!(f, "Confirmation({kind:?}, own {own:?}, other {other:?}, <{} bytes>)", state.len())
    }
}

/// Where the directions go on: what the machines of the data have to do. `Debug` does not show the states.
///
/// What was kept to be sent again and what was not delivered is dropped, but for what lies before the last separating
/// point; positions go on from the base, digests begin anew, and V(M), V(A), V(R) are as
/// [`Serials::after`](super::Serials::after) says.
#[derive(Clone, PartialEq, Eq)]
pub struct Reset {
    /// How.
    pub kind: ResyncKind,
    /// The direction that this side sends; `None`: untouched.
    pub own: Option<Base>,
    /// The direction that it receives; `None`: untouched.
    pub other: Option<Base>,
    /// What the own application left.
    pub own_state: Bytes,
    /// What the other one left.
    pub other_state: Bytes,
}

impl std::fmt::Debug for Reset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { kind, own, other, own_state, other_state } = self;
        let (own_state, other_state) = (own_state.len(), other_state.len());
        write!(f, "Reset({kind:?}, own {own:?}, other {other:?}, <{own_state} and {other_state} bytes>)")
    }
}

/// How far a resynchronization has come.
#[derive(Debug, Default)]
pub(super) enum Stage {
    /// There is none.
    #[default]
    Idle,
    /// The application asks; the other side was not told yet.
    Preparing(Request),
    /// The other side was asked, under that number.
    Asking {
        /// What.
        request: Resync,
        /// Its number in the channel.
        number: u64,
    },
    /// The other side asks.
    Asked(Resync),
    /// The application has answered; the other side was not told yet.
    Answering(Resync, Answer),
}
