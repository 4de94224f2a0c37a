//! What callers see of a stream beside its messages.

use std::fmt;

use rpc_core::stream::flow::Progress;
use rpc_core::stream::position::Position;
use tokio::sync::watch;

use crate::stream::Stream;
use crate::view::View;

/// How far a checkpointed call has come. A cheap clone, which may be kept longer than the call.
#[derive(Clone)]
pub struct StreamWatch {
    stream: Stream,
}

impl StreamWatch {
    /// Watches this stream.
    pub fn new(stream: &Stream) -> Self {
        Self { stream: stream.clone() }
    }

    /// What this side has sent so far, each message once.
    pub fn sent(&self) -> Position {
        self.progress().sent
    }

    /// What of it the peer's application has safe.
    pub fn secured(&self) -> Position {
        self.progress().sent_secured
    }

    /// What came from the peer so far, each message once.
    pub fn received(&self) -> Position {
        self.progress().received
    }

    /// How often the stream went on over another connection.
    pub fn resumes(&self) -> u32 {
        self.progress().resumes
    }

    /// All of these at one moment, for both directions.
    pub fn progress(&self) -> Progress {
        self.stream.progress()
    }

    /// Everything there is to know, now and whenever it changes. While somebody holds this, each step of the stream costs
    /// a copy of [`View`]; the questions above cost nothing until they are asked.
    pub fn changes(&self) -> watch::Receiver<View> {
        self.stream.watch()
    }
}

impl fmt::Debug for StreamWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamWatch").field("progress", &self.progress()).finish()
    }
}
