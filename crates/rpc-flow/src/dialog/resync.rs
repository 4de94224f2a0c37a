//! Going back to an agreed point.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rpc_core::dialog::{Answer, Confirmation, DialogError, Request, ResyncKind, Token, TokenSet};
use rpc_core::frame::dialog::{Resync, Wish};
use rpc_core::negotiate::Unit;
use rpc_core::stream::flow::Side;
use rpc_core::stream::position::Serial;
use tokio::time::{Instant, timeout_at};
use tonic::Status;

use super::handle::Dialog;
use super::standing::{Going, Reading};
use crate::shared::{Shared, State};
use crate::status;

/// What to go back to (X.215 13.11), for [`Dialog::resynchronize`].
///
/// A serial is the number that the next sync point of its direction is to have: to go on right behind a point, name
/// [the next one](Serial::next).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resynchronize {
    kind: ResyncKind,
    requests: Option<Serial>,
    responses: Option<Serial>,
    wishes: Vec<(Token, Wish)>,
}

impl Resynchronize {
    /// To a point since the last major one: of each direction that is named, its serial or an earlier one.
    pub fn restart() -> Self {
        Self::new(ResyncKind::Restart)
    }

    /// To a serial of this side's choice.
    pub fn set() -> Self {
        Self::new(ResyncKind::Set)
    }

    /// To nothing: what was under way is given up. Where no direction is named, both are, each with the first number that
    /// no point ever had.
    pub fn abandon() -> Self {
        Self::new(ResyncKind::Abandon)
    }

    fn new(kind: ResyncKind) -> Self {
        Self { kind, requests: None, responses: None, wishes: Vec::new() }
    }

    /// The requests go back, too: their next sync point has this number.
    #[must_use]
    pub fn requests(mut self, serial: Serial) -> Self {
        self.requests = Some(serial);
        self
    }

    /// The responses go back, too: their next sync point has this number.
    #[must_use]
    pub fn responses(mut self, serial: Serial) -> Self {
        self.responses = Some(serial);
        self
    }

    /// Who is to have a token afterwards. Those that are not named stay where they are.
    #[must_use]
    pub fn token(mut self, token: Token, wish: Wish) -> Self {
        self.wishes.retain(|(named, _)| *named != token);
        self.wishes.push((token, wish));
        self
    }
}

/// The stream went back. Nothing is read of this application's messages, and nothing is given to it, until this is dropped:
/// until then it is to go back, too.
#[must_use = "nothing moves until it is dropped"]
pub struct Resynchronized {
    shared: Arc<Shared>,
    agreed: Confirmation,
}

impl Resynchronized {
    /// How it went back.
    pub fn kind(&self) -> ResyncKind {
        self.agreed.kind
    }

    /// The number of the next sync point of the requests; `None` where they stayed as they were. Not before the one that was
    /// asked for: what the asking side did not know yet may have raised it.
    pub fn requests(&self) -> Option<Serial> {
        self.shared.by_direction(self.agreed.own, self.agreed.other).0
    }

    /// The same of the responses.
    pub fn responses(&self) -> Option<Serial> {
        self.shared.by_direction(self.agreed.own, self.agreed.other).1
    }

    /// What the other application left with its answer, or with its request.
    pub fn state(&self) -> &Bytes {
        &self.agreed.state
    }

    /// Lets the messages move. So does dropping it.
    pub fn go_on(self) {
        drop(self);
    }
}

impl Drop for Resynchronized {
    fn drop(&mut self) {
        self.shared.with(|state| {
            state.desk.going = Going::Nowhere;
            state.desk.has_news = true;
        });
    }
}

impl fmt::Debug for Resynchronized {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.agreed.fmt(f)
    }
}

/// The other side's request to go back. Until it is [confirmed](Self::confirm) nothing is given to this application, and
/// nothing is read of its messages. There is no way to refuse it but to ask for something [stronger](Dialog::resynchronize),
/// or to end the call.
///
/// Dropped, it waits for whoever [asks](Dialog::resynchronization) next.
#[must_use = "nothing moves until it is confirmed"]
pub struct ResyncRequest {
    shared: Arc<Shared>,
    request: Resync,
}

impl ResyncRequest {
    /// How to go back.
    pub fn kind(&self) -> ResyncKind {
        self.request.kind
    }

    /// The number that the next sync point of the requests is to have; `None`: they stay as they are.
    pub fn requests(&self) -> Option<Serial> {
        self.serials().0
    }

    /// The same of the responses.
    pub fn responses(&self) -> Option<Serial> {
        self.serials().1
    }

    /// What the other application left. At most 64 KiB.
    pub fn state(&self) -> &Bytes {
        &self.request.state
    }

    /// The tokens whose owner this side chooses.
    pub fn choices(&self) -> TokenSet {
        let choices = self.request.wishes.iter().filter(|(_, wish)| *wish == Wish::Choose);
        choices.map(|(token, _)| *token).collect()
    }

    /// Goes back, and leaves `state`, at most 64 KiB, for the other application. Returns when the stream is there.
    ///
    /// # Errors
    ///
    /// INTERNAL with the reason CHECKPOINTS_IGNORED: the incoming messages are to go back, and the application reads them
    /// without their points, so that it might get some of the time before: it needs `into_checkpointed`. With the reason
    /// FIELD_INVALID: the state is too long, or the request is void, since another one won. Otherwise as everything that
    /// [waits](Dialog#waiting).
    ///
    /// # Cancel safety
    ///
    /// Dropped after its first poll, it has agreed: [`Dialog::resynchronized`] waits for what comes of it.
    pub async fn confirm(self, state: impl Into<Bytes>) -> Result<Resynchronized, Status> {
        self.confirm_with(state, TokenSet::NONE).await
    }

    /// The same; of the [choices](Self::choices), the tokens `mine` are this side's.
    ///
    /// # Errors
    ///
    /// As with [`confirm`](Self::confirm).
    ///
    /// # Cancel safety
    ///
    /// As with [`confirm`](Self::confirm).
    pub async fn confirm_with(
        self,
        state: impl Into<Bytes>,
        mine: TokenSet,
    ) -> Result<Resynchronized, Status> {
        let Self { shared, request } = self;
        let answer = Answer { state: state.into(), mine };
        shared.with(|state| {
            state.over().map_or(Ok(()), Err)?;
            if request.own.is_some() && !state.reader_follows() {
                return Err(status::points_ignored());
            }
            let request = state.flow.resynchronization().filter(|asked| **asked == request).cloned();
            let request = request.ok_or_else(|| status::refused(&DialogError::NotAsked))?;
            state.flow.answer_resynchronization(answer).map_err(|error| status::refused(&error))?;
            (state.desk.going, state.desk.has_news) = (Going::Agreed(request), true);
            Ok(())
        })?;
        arrive(shared).await
    }

    fn serials(&self) -> (Option<Serial>, Option<Serial>) {
        self.shared.by_direction(self.request.other, self.request.own.map(|base| base.serial))
    }
}

impl fmt::Debug for ResyncRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.request.fmt(f)
    }
}

impl Dialog {
    /// Goes back to an agreed point (S-RESYNCHRONIZE) and leaves `state`, at most 64 KiB, for the other application, which
    /// has to agree. From now on nothing more is given to this application and nothing is read of its messages; what was
    /// under way is dropped, but for what lies before the last separating point, which is to be read. Returns when both
    /// sides are there, and that was read.
    ///
    /// ```
    /// # use std::sync::atomic::{AtomicU64, Ordering};
    /// # use std::time::Duration;
    /// # use rpc_flow::{Dialog, Point, Resynchronize};
    /// # use tonic::Status;
    /// // An upload reads its pages from `next_page`, and takes the other side back with it to right behind a point.
    /// async fn rewrite(dialog: &Dialog, point: &Point, next_page: &AtomicU64) -> Result<(), Status> {
    ///     let to = Resynchronize::restart().requests(point.serial().next());
    ///     let back = dialog.resynchronize(to, "rewritten", Duration::from_secs(10)).await?;
    ///     next_page.store(point.position().messages, Ordering::Relaxed); // nothing is read of the upload yet
    ///     back.go_on();
    ///     Ok(())
    /// }
    ///
    /// // What reads it forgets what it has not secured.
    /// async fn follow(dialog: &Dialog, unsecured: &mut Vec<u8>) -> Result<(), Status> {
    ///     while let Some(request) = dialog.resynchronization().await? {
    ///         let back = request.confirm("").await?;
    ///         unsecured.clear(); // nothing is given to the reader yet
    ///         back.go_on();
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// Messages that this application's own channels still hold are not dropped: they belong to what comes after. So make
    /// the messages from something that goes back with the stream.
    ///
    /// # Errors
    ///
    /// With the reason UNIT_UNSUPPORTED: the unit resynchronize is off; FIELD_INVALID: a serial that is out of bounds, no
    /// direction, or one that has ended; DIALOG_UNANSWERED: another resynchronization is under way, the other side did not
    /// agree `within` that time, or it has asked for one itself which wins: see [`resynchronization`](Self::resynchronization).
    /// INTERNAL with the reason CHECKPOINTS_IGNORED: the incoming messages are to go back, and the application reads them
    /// without their points: it needs `into_checkpointed`. Otherwise as everything that [waits](Self#waiting).
    ///
    /// # Cancel safety
    ///
    /// What was asked for cannot be withdrawn: dropped after its first poll, or when its time is over, it goes on, the
    /// stream stands still, and [`resynchronized`](Self::resynchronized) waits for what comes of it.
    pub async fn resynchronize(
        &self,
        to: Resynchronize,
        state: impl Into<Bytes>,
        within: Duration,
    ) -> Result<Resynchronized, Status> {
        let (until, state) = (Instant::now() + within, state.into());
        let going = async {
            let shared = self.shared().await?;
            shared.with(|held| held.go_back(shared.side, to, state))?;
            arrive(shared).await
        };
        timeout_at(until, going).await.unwrap_or_else(|_| Err(status::unanswered()))
    }

    /// Waits for what comes of a resynchronization that this side has asked for or agreed to, where the future that was to
    /// tell was dropped. For ever where there is none.
    ///
    /// # Errors
    ///
    /// As with [`resynchronize`](Self::resynchronize).
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    pub async fn resynchronized(&self) -> Result<Resynchronized, Status> {
        arrive(self.shared().await?).await
    }

    /// Waits for a request of the other side to go back, until one is there that was not answered; `None` when the call has
    /// ended. Where the incoming messages are to go back it comes when all that lies before their last separating point was
    /// read: whoever waits for it has to read meanwhile.
    ///
    /// # Errors
    ///
    /// With the reason UNIT_UNSUPPORTED: the unit resynchronize is off. Otherwise as everything that
    /// [waits](Self#waiting).
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    pub async fn resynchronization(&self) -> Result<Option<ResyncRequest>, Status> {
        let shared = self.shared().await?;
        shared.has_unit(Unit::Resynchronize)?;
        let request = shared.when_or_end(|state| state.flow.resynchronization().cloned().map(Ok)).await?;
        Ok(request.map(|request| ResyncRequest { shared, request }))
    }
}

/// Waits until the stream is where it was to go.
async fn arrive(shared: Arc<Shared>) -> Result<Resynchronized, Status> {
    let agreed = shared.when(State::arrived).await?;
    Ok(Resynchronized { shared, agreed })
}

impl State {
    /// Whether the reader of the incoming messages drops what it holds of an older generation, or there is none.
    fn reader_follows(&self) -> bool {
        self.gate.is_attended() || self.desk.has_left
    }

    fn go_back(&mut self, side: Side, to: Resynchronize, state: Bytes) -> Result<(), Status> {
        self.over().map_or(Ok(()), Err)?;
        let Resynchronize { kind, requests, responses, wishes } = to;
        let (mut own, mut other) = match side {
            Side::Client => (requests, responses),
            Side::Server => (responses, requests),
        };
        if kind == ResyncKind::Abandon && (own, other) == (None, None) {
            let (unused_own, unused_other) = self.flow.unused_serials();
            (own, other) = (Some(unused_own), Some(unused_other));
        }
        if other.is_some() && !self.reader_follows() {
            return Err(status::points_ignored());
        }
        if self.rests() {
            return Err(status::refused(&DialogError::Busy));
        }
        let request = Request { kind, own, other, wishes, state };
        self.flow.resynchronize(request).map_err(|error| status::refused(&error))?;
        (self.desk.going, self.desk.has_news) = (Going::Asked { is_there: false }, true);
        Ok(())
    }

    fn arrived(&mut self) -> Option<Result<Confirmation, Status>> {
        // What the application's body was giving at that moment is dropped first.
        if self.desk.reading == Reading::Discards {
            return None;
        }
        match std::mem::take(&mut self.desk.going) {
            Going::There(agreed) => {
                self.desk.going = Going::Told;
                Some(Ok(agreed))
            }
            Going::Lost => Some(Err(status::collided())),
            going @ (Going::Nowhere | Going::Asked { .. } | Going::Agreed(_) | Going::Told) => {
                self.desk.going = going;
                None
            }
        }
    }
}

impl Shared {
    /// What belongs to the requests, and to the responses.
    fn by_direction<T>(&self, own: T, other: T) -> (T, T) {
        match self.side {
            Side::Client => (own, other),
            Side::Server => (other, own),
        }
    }
}
