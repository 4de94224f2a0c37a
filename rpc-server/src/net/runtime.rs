//! One thread with a runtime of its own for each core.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::runtime::Builder;
use tokio::sync::oneshot;

use super::shared::Shared;
use super::tcp::{Incoming, Options};
use super::{Connections, Handle, accept};

/// Why serving ended other than by a drain.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// A thread or its runtime could not be started.
    #[error("cannot start thread {thread} of the server")]
    Start {
        /// Which one, from 0.
        thread: usize,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The listeners could not be registered with the runtime.
    #[error("cannot register the listeners")]
    Register(#[source] io::Error),
    /// A thread panicked, outside of its connections and handlers.
    #[error("thread {thread} of the server panicked")]
    Panicked {
        /// Which one, from 0.
        thread: usize,
    },
}

/// How long a thread waits for blocking work of handlers when everything else has ended. It is then left behind, as
/// tokio cannot stop it.
const BLOCKING_WORK_MAX: Duration = Duration::from_secs(1);

/// Serves the listeners of each thread on it, until all threads have ended. The first failure drains the others.
pub(super) async fn per_core<C: Connections>(
    shared: &Arc<Shared<C>>,
    listeners: Vec<Vec<TcpListener>>,
) -> Result<(), ServeError> {
    let _stop = StopOnDrop(shared.handle.clone());
    let mut ends = FuturesUnordered::new();
    let mut failure = None;
    for (thread, listeners) in listeners.into_iter().enumerate() {
        match Core::start(Arc::clone(shared), thread, listeners) {
            Ok(core) => ends.push(core.ended()),
            Err(source) => {
                shared.handle.drain(Duration::ZERO);
                failure = Some(ServeError::Start { thread, source });
                break;
            }
        }
    }
    while let Some(end) = ends.next().await {
        if let Err(error) = end {
            shared.handle.drain_unless_draining(shared.config.drain_deadline);
            failure.get_or_insert(error);
        }
    }
    failure.map_or(Ok(()), Err)
}

/// Stops the threads when nobody waits for them any more. Once they have ended it does no harm.
struct StopOnDrop(Handle);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.drain(Duration::ZERO);
        self.0.drain(Duration::ZERO);
    }
}

/// One of the threads.
struct Core {
    thread: usize,
    handle: JoinHandle<()>,
    /// Sent as the last act of the thread, and dropped unsent by a panic.
    end: oneshot::Receiver<Result<(), ServeError>>,
}

impl Core {
    fn start<C: Connections>(
        shared: Arc<Shared<C>>,
        thread: usize,
        listeners: Vec<TcpListener>,
    ) -> io::Result<Self> {
        let (ended, end) = oneshot::channel();
        let handle = thread::Builder::new().name(format!("rpc-server-{thread}")).spawn(move || {
            let result = serve(&shared, thread, listeners);
            // Nobody listens only when the server was dropped.
            let _ = ended.send(result);
        })?;
        Ok(Self { thread, handle, end })
    }

    /// Waits for the thread without blocking the caller's: it is joined when it has nothing left to do.
    async fn ended(self) -> Result<(), ServeError> {
        let Self { thread, handle, end } = self;
        let result = end.await;
        match (handle.join(), result) {
            (Ok(()), Ok(result)) => result,
            (Ok(()) | Err(_), _) => Err(ServeError::Panicked { thread }),
        }
    }
}

/// The body of a thread.
fn serve<C: Connections>(
    shared: &Arc<Shared<C>>,
    thread: usize,
    listeners: Vec<TcpListener>,
) -> Result<(), ServeError> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| ServeError::Start { thread, source })?;
    let result = runtime.block_on(async {
        let options = Options::new(&shared.config.tcp, &shared.config.http2);
        let incoming = Incoming::new(listeners, options).map_err(ServeError::Register)?;
        accept::run(shared, incoming).await;
        Ok(())
    });
    runtime.shutdown_timeout(BLOCKING_WORK_MAX);
    result
}
