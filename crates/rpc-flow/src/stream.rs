//! The handle of one side of one call.

use std::error::Error;
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use http_body::Body;
use rpc_core::frame::Head;
use rpc_core::id::Attempt as Number;
use rpc_core::stream::Config;
use rpc_core::stream::error::AttemptError;
use rpc_core::stream::flow::{Progress, Side};
use rpc_core::stream::position::Position;
use rpc_core::stream::resume::Resume;
use rpc_core::stream::secured::Resumption;
use tokio::sync::watch;
use tonic::{Code, Status};

use crate::app::{AppBody, AppEnd, pump};
use crate::net::{Attempt, Frames};
use crate::shared::Shared;
use crate::view::View;

/// One side of one call over all its attempts. A cheap clone; dropping all of them ends nothing by itself.
#[derive(Debug, Clone)]
pub struct Stream {
    pub(crate) shared: Arc<Shared>,
}

impl Stream {
    /// One side of a call that has not begun. Its clock is tokio's: call it within a runtime.
    pub fn new(side: Side, config: &Config) -> Self {
        Self { shared: Arc::new(Shared::new(side, config)) }
    }

    /// One side of a call that goes on from where another stream was secured: positions, serials and digests go on, too,
    /// and what both applications left there is in its [`Checkpoints`](crate::Checkpoints). The peer's stream is to go on
    /// from the same points.
    pub fn resumed(side: Side, config: &Config, resumption: &Resumption) -> Self {
        Self { shared: Arc::new(Shared::resumed(side, config, resumption)) }
    }

    /// The request is one message, which is there again when its handler is called again: the handler need not ask from
    /// where its requests go on. Server only.
    pub fn single_request(&self) {
        self.shared.with(|state| state.overlooked.requests = false);
    }

    /// What the application reads. Once: two readers would share the messages.
    pub fn app_body(&self) -> AppBody {
        AppBody::new(Arc::clone(&self.shared))
    }

    /// Reads the application's own body, independently of attempts, while there is room for what it gives: with a
    /// connection or without, until the window is full.
    ///
    /// Once. It ends with the body, or as soon as the stream is over; [`AppEnd`] says which.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the body: the direction never ends then, so [`cancel`](Self::cancel) or
    /// [`abandon`](Self::abandon) the stream.
    pub async fn pump_app<B>(&self, body: B) -> AppEnd
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        pump(&self.shared, body).await
    }

    /// Begins an attempt on a connection. An older one ends at once: its body with an error that resets, its feed with
    /// [`How::Fenced`](crate::How::Fenced). `peer` is what came in `session-resume-bin`; a client has none. Without frames
    /// it is [`attempt_without_frames`](Self::attempt_without_frames), from where `peer` says that its body begins.
    ///
    /// # Errors
    ///
    /// An attempt with this or a higher number was begun before, or the peer claims to have what it cannot have. An older
    /// attempt goes on.
    //= S-13, S-14
    pub fn attempt(
        &self,
        number: Number,
        peer: Option<&Resume>,
        frames: Frames,
    ) -> Result<Attempt, AttemptError> {
        if frames == Frames::Off {
            let from = peer.map_or(Position::ORIGIN, |peer| peer.send_from);
            return self.attempt_without_frames(number, from);
        }
        let now = self.shared.now();
        let resume = self.shared.with(|state| {
            state.flow.attempt(now, number, peer)?;
            state.begin(number);
            let resumes = number > Number::default() || self.shared.resumption.is_some();
            Ok::<_, AttemptError>(resumes.then(|| state.flow.resume()))
        })?;
        Ok(Attempt::new(&self.shared, number, frames, resume))
    }

    /// Begins an attempt of a caller that reads no control frames, whose body begins at `from`: at the origin, or where it
    /// was told that the stream is secured. What arrived before is dropped by its count. Server only.
    ///
    /// # Errors
    ///
    /// As with [`attempt`](Self::attempt); or `from` leaves a gap, or no message ends there.
    //= S-29
    pub fn attempt_without_frames(&self, number: Number, from: Position) -> Result<Attempt, AttemptError> {
        let now = self.shared.now();
        self.shared.with(|state| {
            state.flow.attempt_without_frames(now, number, from)?;
            state.begin(number);
            Ok::<_, AttemptError>(())
        })?;
        Ok(Attempt::new(&self.shared, number, Frames::Off, None))
    }

    /// The handler's response headers, which go out before its first message. Server only.
    pub fn answer_head(&self, head: Head) {
        self.shared.with(|state| {
            state.flow.answer_head(head);
            state.rouse_outgoing();
        });
    }

    /// Waits for the handler's response headers; `None` when the stream is over without them. Client only.
    //= W-19
    pub async fn head(&self) -> Option<Head> {
        let mut views = self.shared.watch();
        // The sender lives in `shared`, so waiting cannot fail.
        let _ = views.wait_for(|view| view.has_head || view.is_over()).await;
        self.shared.with(|state| state.flow.head().cloned())
    }

    /// The call's answer. A server writes it after END, in each attempt; a client's application gets it after the last
    /// message, and its own body is read no further. The first counts.
    ///
    /// A client whose response ended without END is [abandoned](Self::abandon) with the status in the trailers, or, where
    /// they say OK, with an error of its own: a part of a response is not a response.
    //= W-23
    pub fn conclude(&self, trailers: HeaderMap) {
        self.shared.with(|state| {
            if self.shared.side == Side::Client && !state.flow.receiver().is_complete() {
                let told = Status::from_header_map(&trailers).filter(|status| status.code() != Code::Ok);
                state.abandon(told);
            } else {
                state.conclusion.get_or_insert(trailers);
                if self.shared.side == Side::Server {
                    // Its answer waits for END, also where the handler gave no body to pump.
                    state.flow.app_ended();
                }
                state.rouse_all();
            }
        });
    }

    /// The call is over without an answer of the peer's: its session ended, its deadline passed, it was refused. The
    /// application gets what arrived and then `status`; a server answers with it, and a client tells the server that it
    /// gives up. Nothing happens to a stream that has its answer, or has failed.
    pub fn abandon(&self, status: Status) {
        let side = self.shared.side;
        self.shared.with(|state| {
            let answered = state.conclusion.is_some() && (side == Side::Client || state.flow.is_sent());
            if !answered {
                state.abandon(Some(status));
            }
        });
    }

    /// The caller gives the call up: CANCEL goes out first. Client only.
    pub fn cancel(&self) {
        self.shared.with(|state| state.flow.cancel());
    }

    /// From where the call can go on when everything but this is lost: what is secured now, in both directions.
    pub fn resumption(&self) -> Resumption {
        self.shared.with(|state| state.flow.resumption())
    }

    /// With what the stream is over before its end, as an application is told.
    pub fn failure(&self) -> Option<Status> {
        self.shared.with(|state| state.failure())
    }

    /// Waits until the stream is over before its end; for ever where that does not happen.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped: it only looks.
    pub async fn until_failed(&self) {
        loop {
            let changed = self.shared.secured.notified();
            if self.shared.with(|state| state.flow.failed().is_some()) {
                return;
            }
            changed.await;
        }
    }

    /// How far it has come.
    pub fn progress(&self) -> Progress {
        self.shared.with(|state| state.flow.progress())
    }

    /// Everything there is to know, now and whenever it changes.
    ///
    /// While somebody watches, each step costs a copy of [`View`].
    pub fn watch(&self) -> watch::Receiver<View> {
        self.shared.watch()
    }
}
