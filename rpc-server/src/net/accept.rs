//! The accept loop, and the tasks it owns.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until, timeout_at};
use tracing::error;

use super::shared::Shared;
use super::{Connections, connection};

/// A stream to a peer, before anything was said on it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Accepted<T> {
    /// The stream.
    pub io: T,
    /// The address it came from. Only connections that have one are counted by address.
    pub peer: Option<SocketAddr>,
    /// The address it came to.
    pub local: Option<SocketAddr>,
}

impl<T> Accepted<T> {
    /// A stream without addresses, such as a pipe.
    pub fn new(io: T) -> Self {
        Self { io, peer: None, local: None }
    }

    /// The same, from `peer`.
    #[must_use]
    pub fn from_peer(mut self, peer: SocketAddr) -> Self {
        self.peer = Some(peer);
        self
    }

    /// The same, to `local`.
    #[must_use]
    pub fn to_local(mut self, local: SocketAddr) -> Self {
        self.local = Some(local);
        self
    }
}

/// How long after the deadline of a drain a task may take to notice it before it is aborted.
const STOP_SLACK: Duration = Duration::from_secs(1);

/// Accepts until the server is drained or `incoming` ends, then waits for the connections, and last for
/// [`Connections::finish`].
pub(super) async fn run<C, I, T>(shared: &Arc<Shared<C>>, incoming: I)
where
    C: Connections,
    I: Stream<Item = io::Result<Accepted<T>>>,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut tasks = JoinSet::new();
    // Drops `incoming` at its end: the listener is closed before the waiting begins.
    accept(shared, incoming, &mut tasks).await;
    finish_all(shared, tasks).await;
    let finish_by = shared.handle.until().unwrap_or_else(|| Instant::now() + shared.config.drain_deadline);
    if timeout_at(finish_by, shared.connections.finish()).await.is_err() {
        tracing::warn!("work that outlives connections was not finished in time");
    }
}

async fn accept<C, I, T>(shared: &Arc<Shared<C>>, incoming: I, tasks: &mut JoinSet<()>)
where
    C: Connections,
    I: Stream<Item = io::Result<Accepted<T>>>,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut incoming = Box::pin(incoming);
    let mut orders = shared.handle.orders();
    let mut backoff = Backoff::default();
    loop {
        let resume_at = backoff.until;
        tokio::select! {
            biased;
            _ = orders.next() => return,
            Some(ended) = tasks.join_next(), if !tasks.is_empty() => log_panic(ended),
            () = wait_until(resume_at), if resume_at.is_some() => backoff.until = None,
            accepted = incoming.next(), if resume_at.is_none() => match accepted {
                None => return,
                Some(Ok(accepted)) => {
                    backoff.succeeded();
                    start(shared, accepted, tasks);
                }
                Some(Err(error)) => {
                    shared.warn_of_accept_error(&error);
                    backoff.failed(&error, Instant::now());
                }
            },
        }
    }
}

/// `select!` evaluates the arms that it then leaves out, so there must be some time to wait for.
async fn wait_until(time: Option<Instant>) {
    if let Some(time) = time {
        sleep_until(time).await;
    }
}

/// Gives a connection a task, or drops it if there are too many.
fn start<C, T>(shared: &Arc<Shared<C>>, accepted: Accepted<T>, tasks: &mut JoinSet<()>)
where
    C: Connections,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    if let Ok(admission) = shared.admit(accepted.peer.map(|peer| peer.ip())) {
        shared.warn_of_plaintext(accepted.local.map(|local| local.ip()));
        tasks.spawn(connection::run(Arc::clone(shared), accepted, admission));
    }
}

/// Waits for the tasks. Each ends itself by the deadline of the drain; those that do not, because a handler blocks its
/// thread, are aborted.
async fn finish_all<C: Connections>(shared: &Arc<Shared<C>>, mut tasks: JoinSet<()>) {
    let mut orders = shared.handle.orders();
    let mut abort_at = None;
    while !tasks.is_empty() {
        tokio::select! {
            biased;
            Some(ended) = tasks.join_next() => log_panic(ended),
            until = orders.next() => abort_at = Some(until + STOP_SLACK),
            () = wait_until(abort_at), if abort_at.is_some() => {
                tasks.abort_all();
                abort_at = None;
            }
        }
    }
}

fn log_panic(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        error!(%error, "the task of a connection panicked");
    }
}

/// How long to wait after an accept that failed. Being out of file descriptors lasts until a connection ends, and
/// trying again at once would take the processor from those that could.
#[derive(Default)]
struct Backoff {
    pause: Duration,
    until: Option<Instant>,
    /// Failures in a row that were the connection's own.
    skipped: u32,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(5);
    const LONGEST: Duration = Duration::from_secs(1);
    /// A stream that does nothing but fail must not keep its thread for itself.
    const SKIPPED_MAX: u32 = 32;

    fn succeeded(&mut self) {
        *self = Self::default();
    }

    fn failed(&mut self, error: &io::Error, now: Instant) {
        if is_of_one_connection(error) && self.skipped < Self::SKIPPED_MAX {
            self.skipped += 1;
            return;
        }
        self.pause = (self.pause * 2).clamp(Self::FIRST, Self::LONGEST);
        self.until = Some(now + self.pause);
    }
}

/// Whether the next accept may well succeed, since only the connection at hand was lost.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_second_and_start_anew_after_a_success() {
        let now = Instant::now();
        let mut backoff = Backoff::default();
        let pause = |backoff: &mut Backoff| {
            backoff.failed(&io::Error::other("out of descriptors"), now);
            backoff.until.map(|until| until - now)
        };
        assert_eq!(pause(&mut backoff), Some(Duration::from_millis(5)));
        assert_eq!(pause(&mut backoff), Some(Duration::from_millis(10)));
        for _ in 0..20 {
            pause(&mut backoff);
        }
        assert_eq!(pause(&mut backoff), Some(Duration::from_secs(1)));
        backoff.succeeded();
        assert_eq!(pause(&mut backoff), Some(Duration::from_millis(5)));
    }

    #[test]
    fn a_lost_connection_costs_no_pause_unless_there_are_only_such() {
        let now = Instant::now();
        let mut backoff = Backoff::default();
        let lost = io::Error::from(io::ErrorKind::ConnectionAborted);
        for _ in 0..Backoff::SKIPPED_MAX {
            backoff.failed(&lost, now);
            assert_eq!(backoff.until, None);
        }
        backoff.failed(&lost, now);
        assert!(backoff.until.is_some());
    }
}
