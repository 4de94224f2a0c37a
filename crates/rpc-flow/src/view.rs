//! What callers may watch.

use rpc_core::frame::{SyncAck, SyncPoint};
use rpc_core::id::Attempt;
use rpc_core::stream::error::StreamError;
use rpc_core::stream::flow::Progress;

use crate::locked::Snapshot;

/// A stream at one moment. `Debug` does not show application states.
///
/// A watcher sees the newest one and may miss some between; each number only grows, so nothing is lost by that. A resume
/// is a higher [`Progress::resumes`], a secured point a higher serial in [`confirmed`](Self::confirmed) or
/// [`secured`](Self::secured).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct View {
    /// How far both directions have come.
    pub progress: Progress,
    /// The attempt that goes on; `None` while no connection carries the stream.
    pub attempt: Option<Attempt>,
    /// The last confirmation of the peer, with the state that its application left.
    pub confirmed: Option<SyncAck>,
    /// The last point that this side secured, with the state that the peer's application left.
    pub secured: Option<SyncPoint>,
    /// The handler's response headers are known.
    pub has_head: bool,
    /// Everything was received, END included, and the application has it.
    pub is_received: bool,
    /// Everything was sent and the peer has secured it.
    pub is_secured: bool,
    /// The answer's trailers are known, or were set.
    pub is_concluded: bool,
    /// The outgoing body of the newest attempt was written to its end, at a server with the trailers.
    pub is_answered: bool,
    /// Why the stream is over before its end.
    pub failed: Option<StreamError>,
    /// Orders views that were made in this order and are published in another.
    pub(crate) version: u64,
}

impl View {
    /// Whether the call has its answer, in order or not: nothing about it will change but what is secured.
    pub fn is_over(&self) -> bool {
        self.is_concluded || self.failed.is_some()
    }
}

impl Snapshot for View {
    fn replaces(&self, last: &Self) -> bool {
        let version = last.version;
        self.version > version && Self { version, ..self.clone() } != *last
    }
}
