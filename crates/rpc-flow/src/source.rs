//! What a stream and an application's source that can be read again say to each other.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;

use tonic::Status;

use crate::shared::State;
use crate::status;

/// What the source looks at with each message, without the lock.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    /// It is to begin again, or the stream is over.
    asks: AtomicBool,
    turns: AtomicU64,
}

/// One poll of the application's body: when it begins, the encoder holds nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Turn(u64);

impl Signal {
    pub(crate) fn is_asked(&self) -> bool {
        self.asks.load(Ordering::Acquire)
    }

    /// The present turn. Who asks is polled in it, by the task that began it.
    pub(crate) fn turn(&self) -> Turn {
        Turn(self.turns.load(Ordering::Relaxed))
    }

    /// The application's body is about to be polled.
    pub(crate) fn begin_turn(&self) {
        self.turns.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn tell(&self, asks: bool) {
        self.asks.store(asks, Ordering::Release);
    }
}

/// What the stream knows of the source.
#[derive(Debug, Default)]
pub(crate) struct Source {
    /// There is one.
    pub(crate) is_used: bool,
    /// It has ended, and may have to begin again: the application's body is polled although there is no room for more.
    pub(crate) is_parked: bool,
}

impl State {
    /// The application reads again what is missing: nothing is kept of what was sent.
    pub(crate) fn reads_again(&mut self) -> Result<(), Status> {
        self.flow.keep_positions().map_err(|error| status::not_read_again(&error))?;
        self.source.is_used = true;
        Ok(())
    }

    /// Whether the source is to begin again, or need not go on.
    pub(crate) fn asks_source(&self) -> bool {
        self.flow.is_reread_due() || self.flow.failed().is_some()
    }

    /// After how many messages the source begins again, if it is to. That is known to the source from now on.
    pub(crate) fn begin_again(&mut self) -> Option<u64> {
        let after = self.flow.reread()?;
        self.source.is_parked = false;
        Some(after)
    }

    /// The source has ended, and all that it gave is here. Ready when nothing of it can be asked for any more.
    pub(crate) fn source_ended(&mut self, error: Option<&Status>) -> Poll<Result<(), Status>> {
        if let Some(status) = error
            && self.flow.sender().is_rereading()
        {
            self.abandon(Some(status.clone()));
        }
        self.flow.app_ended();
        if let Some(failure) = self.failure() {
            return Poll::Ready(Err(failure));
        }
        self.rouse_outgoing();
        self.source.is_parked = self.flow.needs_source();
        if self.source.is_parked { Poll::Pending } else { Poll::Ready(Ok(())) }
    }

    /// Nobody reads the application's body any more.
    pub(crate) fn source_gone(&mut self) {
        self.source.is_parked = false;
        self.flow.source_gone();
        self.rouse_outgoing();
    }
}
