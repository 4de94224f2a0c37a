//! The handle of one call's dialog.

use std::sync::Arc;
use std::time::Duration;

use rpc_core::dialog::{Dialog as Core, Token, TokenSet};
use rpc_core::frame::dialog::Please;
use tokio::time::{Instant, timeout_at};
use tonic::Status;

use super::asking::Asking;
use super::turn::Turn;
use crate::checkpoints::Checkpoints;
use crate::shared::Shared;
use crate::status;

/// The dialog of one call, at either side: who speaks, what passes by the messages, and going back to an agreed point. A
/// cheap clone, from [`Checkpoints::dialog`].
///
/// A stream with checkpoints has one where the session has one of the units of the dialog: half-duplex, typed data,
/// expedited data, major synchronize, resynchronize, exceptions. It is one for the whole call, whatever happens to its
/// connections. What belongs to a unit that is off fails with the reason UNIT_UNSUPPORTED before anything is written.
///
/// A client makes its handle before the call. Until that has begun, what waits waits for it, and what does not wait
/// fails with the reason DIALOG_REQUIRED.
///
/// ```
/// # use std::time::Duration;
/// # use rpc_flow::{Checkpoints, Dialog};
/// # use tokio::sync::mpsc;
/// # use tonic::Status;
/// // Push to talk: asks for the turn, speaks, and hands over behind the last word.
/// async fn talk(dialog: &Dialog, say: &mpsc::Sender<String>, words: &[&str]) -> Result<(), Status> {
///     let speaking = dialog.turn().ask(1, Duration::from_secs(5)).await?;
///     for word in words {
///         let _ = say.send((*word).to_owned()).await; // the stub's request reads the other end
///     }
///     speaking.give();
///     Ok(())
/// }
/// ```
///
/// # Waiting
///
/// Everything here that waits ends with the call: with the error with which that is over, or, where it ended in order, with
/// the reason DIALOG_UNANSWERED, or with `None` where something was awaited of which there is no more. Futures may be
/// dropped at any time; what that means stands with each.
#[derive(Debug, Clone)]
pub struct Dialog {
    checkpoints: Checkpoints,
}

impl Dialog {
    pub(crate) fn new(checkpoints: Checkpoints) -> Self {
        Self { checkpoints }
    }

    /// Waits until the call has begun.
    ///
    /// # Errors
    ///
    /// FAILED_PRECONDITION with the reason DIALOG_REQUIRED: it has no dialog, or will not begin.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    pub async fn begun(&self) -> Result<(), Status> {
        self.shared().await.map(drop)
    }

    /// Whether the call has begun, and has a dialog.
    ///
    /// # Errors
    ///
    /// As [`begun`](Self::begun).
    pub fn check(&self) -> Result<(), Status> {
        self.shared_now().map(drop)
    }

    /// The right to speak, in a half-duplex stream.
    pub fn turn(&self) -> Turn {
        Turn::new(self.clone())
    }

    /// The tokens that there are in this stream (X.215 clause 8): *data* and *synchronize-minor* where it is half duplex,
    /// *major/activity* where the unit major synchronize is on. None before the call has begun.
    pub fn available(&self) -> TokenSet {
        self.look(Core::available).unwrap_or_default()
    }

    /// Those that this side has, without what it is giving.
    pub fn owned(&self) -> TokenSet {
        self.shared_now().map_or(TokenSet::NONE, |shared| shared.with(|state| state.owned()))
    }

    /// Whether this side has that token.
    pub fn owns(&self, token: Token) -> bool {
        self.owned().contains(token)
    }

    /// Gives tokens to the other side (S-TOKEN-GIVE). They are not this side's any more from now on; the other side has
    /// *data* when everything was written that this application has given until then, as with
    /// [`Speaking::give`](super::Speaking::give).
    ///
    /// # Errors
    ///
    /// With the reason DIALOG_TOKEN_MISSING: one of them is not this side's; UNIT_UNSUPPORTED: there is no such token;
    /// DIALOG_REQUIRED: no dialog, or not yet. Nothing was given then.
    pub fn give(&self, tokens: impl Into<TokenSet>) -> Result<(), Status> {
        let (shared, tokens) = (self.shared_now()?, tokens.into());
        shared.with(|state| state.give(tokens))
    }

    /// Gives all that this side has (S-CONTROL-GIVE); nothing, where that is none.
    ///
    /// # Errors
    ///
    /// As with [`give`](Self::give).
    pub fn give_all(&self) -> Result<(), Status> {
        self.shared_now()?.with(|state| {
            let owned = state.owned();
            state.give(owned)
        })
    }

    /// Asks the other side for those of `tokens` that this side has not (S-TOKEN-PLEASE), and waits until it has them all.
    /// Of several requests at this side the other one hears the tokens of all together, with the highest priority. When
    /// `within` has passed the request is withdrawn.
    ///
    /// # Errors
    ///
    /// With the reason DIALOG_UNANSWERED: they did not come in time; UNIT_UNSUPPORTED: there is no such token;
    /// RESOURCE_EXHAUSTED: 16 requests wait already. Otherwise as everything that [waits](Self#waiting).
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, the request is withdrawn. What came all the same stays this side's.
    //= D-6
    pub async fn please(
        &self,
        tokens: impl Into<TokenSet>,
        priority: u32,
        within: Duration,
    ) -> Result<(), Status> {
        let (tokens, until) = (tokens.into(), Instant::now() + within);
        timeout_at(until, async {
            let shared = self.shared().await?;
            let asking = Asking::new(&shared, tokens, priority, until)?;
            asking.granted().await
        })
        .await
        .unwrap_or_else(|_| Err(status::unanswered()))
    }

    /// What the other side asks for at this moment, and this side is not giving yet.
    pub fn wanted(&self) -> Option<Please> {
        self.shared_now().ok()?.with(|state| state.wanted())
    }

    /// Waits until the other side asks for tokens, or for others than before; `None` when the call has ended. What was
    /// asked for is [answered](Self::give) or not, as the application likes.
    ///
    /// # Errors
    ///
    /// As everything that [waits](Self#waiting).
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped: a request is told once, to one of those who wait.
    pub async fn asked(&self) -> Result<Option<Please>, Status> {
        let shared = self.shared().await?;
        shared.when_or_end(|state| state.news_of_please().map(Ok)).await
    }

    /// Asks, for the part of `tokens` that there is.
    pub(super) async fn please_of(
        &self,
        tokens: TokenSet,
        priority: u32,
        within: Duration,
    ) -> Result<(), Status> {
        let shared = self.shared().await?;
        let there = tokens.and(self.available());
        shared.with(|state| state.has_token(Token::Data))?;
        self.please(there, priority, within).await
    }

    /// The stream, once it is there.
    pub(super) async fn shared(&self) -> Result<Arc<Shared>, Status> {
        if self.checkpoints.stream().is_none() {
            self.checkpoints.started().await.ok_or_else(status::without_dialog)?;
        }
        self.shared_now()
    }

    /// The stream, which has to be there.
    pub(super) fn shared_now(&self) -> Result<Arc<Shared>, Status> {
        let shared = self.checkpoints.stream().map(|stream| stream.shared);
        shared.filter(|shared| shared.terms.is_some()).ok_or_else(status::without_dialog)
    }

    fn look<R>(&self, look: impl FnOnce(&Core) -> R) -> Option<R> {
        self.shared_now().ok()?.with(|state| state.flow.dialog().map(look))
    }
}
