//! Durable streams: what is secured is stored before the peer is told.

use std::sync::Arc;

use rpc_core::stream::Config;
use rpc_core::stream::flow::Side;
use rpc_core::stream::position::Serial;
use rpc_core::stream::secured::Resumption;
use tonic::Status;

use crate::shared::Shared;
use crate::status;
use crate::stream::Stream;

impl Stream {
    /// One side of a call that goes on after a crash from what was [stored](Self::stored) last, while the peer's stream
    /// lives on. The application gives again what follows the secured point of its direction; what the peer has of that is
    /// compared and not sent.
    pub fn restored(side: Side, config: &Config, resumption: &Resumption) -> Self {
        Self { shared: Arc::new(Shared::restored(side, config, resumption)) }
    }

    /// Waits until there is something to store of a [durable](Config::durable) stream: the last secured
    /// points of both directions. `None` when it is over before its end, so that nothing more will be confirmed; for a
    /// stream that is not durable, or ends in order, it waits until it is dropped.
    ///
    /// Store what it answers, tell [`stored`](Self::stored) or [`store_failed`](Self::store_failed), and ask again: what was
    /// secured meanwhile comes with one answer, so at most one is being stored at a time.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped: it only looks.
    pub async fn unstored(&self) -> Option<Resumption> {
        loop {
            let changed = self.shared.secured.notified();
            let next = self.shared.with(|state| match state.flow.failed() {
                Some(_) => Some(None),
                None => state.flow.unstored().map(Some),
            });
            match next {
                Some(next) => return next,
                None => changed.await,
            }
        }
    }

    /// What [`unstored`](Self::unstored) answered is stored: the confirmation that rests on it goes out, and the
    /// application that [secured](crate::Point::secure) the point is told.
    pub fn stored(&self, stored: &Resumption) {
        self.shared.with(|state| {
            state.flow.stored(stored);
            state.rouse_outgoing();
        });
    }

    /// It could not be stored: the stream is over with `status`, which should have the reason STORE_UNAVAILABLE. Nothing
    /// happens to a stream that has sent its answer, or has failed.
    pub fn store_failed(&self, status: Status) {
        self.shared.with(|state| {
            if state.conclusion.is_none() || !state.flow.is_sent() {
                state.store_failed(status);
            }
        });
    }
}

impl Shared {
    /// Waits until that point counts as secured. There is none of it any more where its direction went back since it had
    /// done so `resets` times.
    pub(crate) async fn until_secured(&self, serial: Serial, resets: u64) -> Result<(), Status> {
        loop {
            let changed = self.secured.notified();
            let told = self.with(|state| {
                if state.desk.resets != resets {
                    return Some(Err(status::point_void()));
                }
                let counts = state.flow.receiver().secured_serial() >= serial;
                if counts { Some(Ok(())) } else { state.failure().map(Err) }
            });
            match told {
                Some(told) => return told,
                None => changed.await,
            }
        }
    }
}
