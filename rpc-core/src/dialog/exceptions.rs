//! Exception reports: one at a time, from the side without the turn.

use crate::frame::dialog::Exception;

/// What was reported in either direction.
#[derive(Debug, Default)]
pub(super) struct Exceptions {
    /// Reported, and the situation has not changed since: neither came the turn nor a resynchronization.
    outstanding: bool,
    received: Option<Exception>,
}

impl Exceptions {
    pub(super) fn reported(&mut self) {
        self.outstanding = true;
    }

    pub(super) fn is_outstanding(&self) -> bool {
        self.outstanding
    }

    /// The turn came, or a resynchronization, or the other side was restored.
    pub(super) fn settled(&mut self) {
        self.outstanding = false;
    }

    /// The other side reports. What it reported before and nobody took speaks of what is over.
    pub(super) fn heard(&mut self, exception: Exception) {
        self.received = Some(exception);
    }

    /// A report waits for the own application.
    pub(super) fn is_there(&self) -> bool {
        self.received.is_some()
    }

    pub(super) fn take(&mut self) -> Option<Exception> {
        self.received.take()
    }
}
