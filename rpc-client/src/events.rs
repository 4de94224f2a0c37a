//! What happens to a session beside its calls.

use std::time::Duration;

use rpc_core::id::{CallAttempt, CallId};
use tokio::sync::broadcast;

use crate::state::End;

/// Events kept for a reader that is late.
const KEPT: usize = 256;

/// Something that happened. Programs do not need these to work; they are for logs and screens.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A connection was made and tied to the session.
    ConnectionMade,
    /// A connection that was tied to the session was lost. Calls go on over the others, or wait for the next.
    ConnectionLost,
    /// The server drains a connection: it takes no new calls and closes within this time.
    Draining(Duration),
    /// The server wants the session to be released within this time. It is, unless the program
    /// [holds](crate::Session::hold_release) it.
    ReleaseWanted(Duration),
    /// The lease was renewed because nothing else had done so.
    LeaseRenewed,
    /// A fresh token renewed the authority.
    AuthorityRenewed {
        /// The ticket was replaced, too.
        ticket_rotated: bool,
    },
    /// A renewal failed and is tried again.
    RenewalFailed(String),
    /// The file of the session could not be written, so the new ticket is not used and the old one stays.
    SaveFailed(String),
    /// An attempt of a protected call or a resumable stream got no answer; the call is sent again with this attempt.
    CallRetried(CallAttempt),
    /// A stream goes on over another connection, with this attempt. Neither caller nor handler notice.
    StreamResumed(CallAttempt),
    /// A call was given up before its outcome was known: its slot is in quarantine.
    CallQuarantined(CallId),
    /// The server said what became of a call in quarantine; its slot is free again.
    CallSettled(CallId),
    /// The two sides disagree about a slot, which is not used again.
    SlotRetired(CallId),
    /// The session has ended. Nothing comes after this.
    Ended(End),
}

/// The events of a session from the time of asking.
///
/// At most 256 are kept for a reader that is late; beyond that the oldest are dropped and [`next`](Events::next) goes
/// on with the oldest that is left.
#[derive(Debug)]
pub struct Events(broadcast::Receiver<Event>);

impl Events {
    /// The next event; `None` when the session is gone.
    ///
    /// # Cancel safety
    ///
    /// An event that was not returned is returned by the next call.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            match self.0.recv().await {
                Ok(event) => return Some(event),
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}

/// Where events are said.
#[derive(Debug)]
pub(crate) struct Announcer(broadcast::Sender<Event>);

impl Announcer {
    pub(crate) fn new() -> Self {
        Self(broadcast::channel(KEPT).0)
    }

    pub(crate) fn say(&self, event: Event) {
        // Nobody listening is fine.
        let _ = self.0.send(event);
    }

    pub(crate) fn listen(&self) -> Events {
        Events(self.0.subscribe())
    }
}
