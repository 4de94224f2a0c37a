//! Who speaks.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rpc_core::dialog::{Token, TokenSet};
use rpc_core::frame::dialog::Please;
use tokio::time::{Instant, timeout_at};
use tonic::Status;

use super::handle::Dialog;
use crate::shared::{Shared, State};
use crate::status;

/// What is handed over with the turn: the right to send, and to place sync points in what is sent.
pub(super) const TURN: TokenSet = TokenSet::of(Token::Data).with(Token::Minor);

/// The right to send messages in a half-duplex stream, which one side has at a time: the *data* token of X.215, and
/// *synchronize-minor* with it. A cheap clone, from [`Dialog::turn`].
///
/// A side without the turn may give messages all the same: they wait. Where the stream is not half duplex there is no
/// turn, and each of these fails with the reason UNIT_UNSUPPORTED.
#[derive(Debug, Clone)]
pub struct Turn {
    dialog: Dialog,
}

impl Turn {
    pub(super) fn new(dialog: Dialog) -> Self {
        Self { dialog }
    }

    /// Waits until it is this side's turn, and nobody else at this side has it. Asks for nothing: the other side gives it
    /// when it has said what it had to say, or [was asked](Self::ask).
    ///
    /// # Errors
    ///
    /// With the reason UNIT_UNSUPPORTED: the stream is not half duplex; DIALOG_REQUIRED: the call has no dialog;
    /// DIALOG_UNANSWERED: the call ended before. Otherwise the error with which the call is over.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    pub async fn wait(&self) -> Result<Speaking, Status> {
        let shared = self.dialog.shared().await?;
        shared.when(speak).await?;
        Ok(Speaking { shared, kept: false })
    }

    /// The same, until a time.
    ///
    /// # Errors
    ///
    /// As with [`wait`](Self::wait); DIALOG_UNANSWERED also where it did not come in time.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    pub async fn wait_until(&self, at: Instant) -> Result<Speaking, Status> {
        timeout_at(at, self.wait()).await.unwrap_or_else(|_| Err(status::unanswered()))
    }

    /// Takes the turn if it is this side's.
    ///
    /// # Errors
    ///
    /// With the reason DIALOG_TOKEN_MISSING: it is the other side's, or somebody at this side has it. The others as with
    /// [`wait`](Self::wait); DIALOG_REQUIRED also where the call has not begun.
    pub fn try_speak(&self) -> Result<Speaking, Status> {
        let shared = self.dialog.shared_now()?;
        shared.with(|state| match (state.over(), speak(state)) {
            (Some(over), _) => Err(over),
            (None, Some(done)) => done,
            (None, None) => Err(status::turn_missing()),
        })?;
        Ok(Speaking { shared, kept: false })
    }

    /// Asks the other side for the turn, and waits for it. How urgent that is, `priority` says: a higher number is more
    /// urgent, and the other side decides. The request is withdrawn when it was not heard within `within`.
    ///
    /// # Errors
    ///
    /// As with [`wait_until`](Self::wait_until), and as with [`Dialog::please`].
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, the request is withdrawn. A turn that came all the same stays with this side, for
    /// whoever takes it next.
    pub async fn ask(&self, priority: u32, within: Duration) -> Result<Speaking, Status> {
        let at = Instant::now() + within;
        let asking = async {
            self.dialog.please_of(TURN, priority, within).await?;
            self.wait().await
        };
        timeout_at(at, asking).await.unwrap_or_else(|_| Err(status::unanswered()))
    }

    /// Gives the turn to the other side, as [`Speaking::give`] does, where nobody holds a [`Speaking`].
    ///
    /// # Errors
    ///
    /// As with [`try_speak`](Self::try_speak).
    pub fn give(&self) -> Result<(), Status> {
        self.try_speak().map(Speaking::give)
    }

    /// What the other side asks for, if the turn is among it.
    pub fn wanted(&self) -> Option<Please> {
        self.dialog.wanted().filter(|please| please.tokens.contains(Token::Data))
    }
}

/// Takes the turn if it is there.
fn speak(state: &mut State) -> Option<Result<(), Status>> {
    if let Err(unit) = state.has_token(Token::Data) {
        return Some(Err(unit));
    }
    let free = !state.desk.speaking && state.owns(Token::Data);
    free.then(|| {
        state.desk.speaking = true;
        Ok(())
    })
}

/// This side's turn. Dropping it gives the turn to the other side, as [`give`](Self::give) does.
#[must_use = "dropping it gives the turn away"]
pub struct Speaking {
    shared: Arc<Shared>,
    kept: bool,
}

impl Speaking {
    /// Gives the turn to the other side, when everything was written that the application has given until then: the stream
    /// reads the application's messages until there are none ready, and hands over behind the last.
    ///
    /// A producer that has its messages in a place of its own, where the stream cannot see that more are to come, says so
    /// with [`Outgoing::Give`](crate::Outgoing::Give) instead.
    pub fn give(self) {
        drop(self);
    }

    /// Keeps the turn at this side without this guard: for whoever [waits](Turn::wait) for it next, or until it is
    /// [given](Dialog::give), or this side's messages end.
    pub fn keep(mut self) {
        self.kept = true;
    }

    /// Whether the turn is still this side's: a resynchronization may have moved it, and the end of this side's messages
    /// gives it away.
    pub fn is_valid(&self) -> bool {
        self.shared.with(|state| state.owns(Token::Data))
    }
}

impl Drop for Speaking {
    fn drop(&mut self) {
        self.shared.with(|state| {
            state.hush();
            if !self.kept {
                state.give_owned(TURN);
            }
        });
    }
}

impl fmt::Debug for Speaking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Speaking").finish_non_exhaustive()
    }
}
