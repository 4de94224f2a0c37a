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

    pub(crate) fn is_attended(&self) -> bool {
        self.attended
    }

    /// What is before it is of an older generation.
    pub(crate) fn clear(&mut self) {
        self.waiting = None;
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
