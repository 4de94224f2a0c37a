//! Where the reader of messages waits at a sync point.

use rpc_core::frame::SyncPoint;

/// Holds a point between the body that came to it and the application that takes it.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    /// Somebody takes the points.
    attended: bool,
    waiting: Option<SyncPoint>,
}

/// Whether the body may read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Passage {
    Free,
    /// When the application has taken the point.
    Later,
    /// Never: nobody takes points.
    Ignored,
}

impl Gate {
    pub(crate) fn attend(&mut self) {
        self.attended = true;
    }

    /// The body has come to a point.
    pub(crate) fn stop_at(&mut self, point: SyncPoint) {
        self.waiting = Some(point);
    }

    pub(crate) fn take(&mut self) -> Option<SyncPoint> {
        self.waiting.take()
    }

    pub(crate) fn passage(&self) -> Passage {
        match (&self.waiting, self.attended) {
            (None, _) => Passage::Free,
            (Some(_), true) => Passage::Later,
            (Some(_), false) => Passage::Ignored,
        }
    }
}
