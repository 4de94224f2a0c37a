//! What callers see of a stream beside its messages.

use std::fmt;

use rpc_core::stream::flow::Progress;
use rpc_core::stream::position::Position;
use rpc_flow::{Stream, View};
use tokio::sync::watch;

/// How far a checkpointed call has come; in the extensions of its response. A cheap clone, which may be kept longer than
/// the response.
///
/// # Examples
///
/// ```no_run
/// # fn show(response: tonic::Response<()>) {
/// if let Some(watch) = response.extensions().get::<rpc_client::StreamWatch>() {
///     println!("{} sent, {} secured, {} resumes", watch.sent(), watch.secured(), watch.resumes());
/// }
/// # }
/// ```
#[derive(Clone)]
pub struct StreamWatch {
    stream: Stream,
}

impl StreamWatch {
    pub(super) fn new(stream: Stream) -> Self {
        Self { stream }
    }

    /// What this side has sent so far, each message once.
    pub fn sent(&self) -> Position {
        self.progress().sent
    }

    /// What of it the server's application has safe.
    pub fn secured(&self) -> Position {
        self.progress().sent_secured
    }

    /// What came from the server so far, each message once.
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
