//! The handle of one side of one call.

use std::error::Error;
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use http_body::Body;
use rpc_core::frame::Head;
use rpc_core::id::Attempt as Number;
use rpc_core::stream::Config;
use rpc_core::stream::error::{AttemptError, SecureError, SyncError};
use rpc_core::stream::flow::{Progress, Side};
use rpc_core::stream::position::Serial;
use rpc_core::stream::resume::Resume;
use tokio::sync::watch;
use tonic::{Code, Status};

use crate::app::{AppBody, AppEnd, pump};
use crate::items::Items;
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

    /// What the application reads. Once, and instead of [`items`](Self::items): two readers would share the messages.
    pub fn app_body(&self) -> AppBody {
        AppBody::new(Arc::clone(&self.shared))
    }

    /// What the application reads in the form with sync points, which it secures itself from here on. Once, and instead
    /// of [`app_body`](Self::app_body).
    pub fn items(&self) -> Items {
        self.shared.with(|state| state.flow.secure_explicitly());
        Items::new(Arc::clone(&self.shared))
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
    /// [`How::Fenced`](crate::How::Fenced). `peer` is what came in `session-resume-bin`; a client has none.
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
        let now = self.shared.now();
        let resume = self.shared.with(|state| {
            state.flow.attempt(now, number, peer)?;
            state.begin(number);
            Ok::<_, AttemptError>((number > Number::default()).then(|| state.flow.resume()))
        })?;
        Ok(Attempt::new(&self.shared, number, frames, resume))
    }

    /// Places a sync point after everything that was given so far; `state` travels with it.
    ///
    /// # Errors
    ///
    /// The point is not placed; the stream is as it was.
    pub fn sync_point(&self, state: Bytes) -> Result<(), SyncError> {
        self.shared.with(|shared| {
            let done = shared.flow.app_syncs(state);
            shared.rouse_outgoing();
            done
        })
    }

    /// The application has everything before that point; `state` travels to the peer with the confirmation.
    ///
    /// # Errors
    ///
    /// The application was not given that point, or the state is too long. Nothing has changed.
    pub fn secure(&self, serial: Serial, state: Bytes) -> Result<(), SecureError> {
        secure(&self.shared, serial, state)
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

pub(crate) fn secure(shared: &Shared, serial: Serial, bytes: Bytes) -> Result<(), SecureError> {
    shared.with(|state| {
        let done = state.flow.secure(serial, bytes);
        state.rouse_outgoing();
        done
    })
}
