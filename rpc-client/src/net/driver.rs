//! What runs a connection: one task, which reads and writes its frames and lets the next callers in.

use std::{
    future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use rpc_http2::Silence;
use tokio::{runtime::Handle, sync::oneshot};
use tokio_util::{
    sync::{CancellationToken, WaitForCancellationFutureOwned},
    task::TaskTracker,
};

use super::{gate::Gate, wire::Wire};

/// The frames of one connection, read and written until both sides are done or the stream breaks.
pub(super) struct Link {
    connection: h2::client::Connection<Wire, Bytes>,
    silence: Option<Silence>,
}

impl Link {
    pub(super) fn new(connection: h2::client::Connection<Wire, Bytes>, silence: Option<Silence>) -> Self {
        Self { connection, silence }
    }
}

impl Future for Link {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.silence.as_mut().is_some_and(|silence| silence.poll_gone(cx).is_ready()) {
            tracing::debug!("the peer is silent, connection given up");
            return Poll::Ready(());
        }
        Pin::new(&mut self.connection).poll(cx).map(|ended| {
            if let Err(error) = ended {
                tracing::debug!(%error, "connection broke");
            }
        })
    }
}

/// Runs a connection until it takes no more requests.
///
/// Dropping it is a graceful end: nobody is let in any more, calls under way come to their end in a task of the set,
/// and then the stream is closed.
pub(super) struct Driver {
    /// Until it has ended.
    link: Option<Link>,
    goodbye: oneshot::Receiver<()>,
    retired: Pin<Box<WaitForCancellationFutureOwned>>,
    gate: Arc<Gate>,
    tasks: TaskTracker,
    runtime: Handle,
}

impl Driver {
    /// Takes a connection whose peer has greeted. It ends, too, when `retired` is cancelled.
    pub(super) fn new(
        link: Link,
        goodbye: oneshot::Receiver<()>,
        retired: CancellationToken,
        gate: Arc<Gate>,
        tasks: TaskTracker,
    ) -> Self {
        gate.follow(link.connection.max_concurrent_send_streams());
        let retired = Box::pin(retired.cancelled_owned());
        Self { link: Some(link), goodbye, retired, gate, tasks, runtime: Handle::current() }
    }

    /// Runs until the peer said goodbye, the stream broke, or the connection was retired.
    pub(super) async fn run(mut self) {
        future::poll_fn(|cx| self.poll(cx)).await;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(link) = &mut self.link else { return Poll::Ready(()) };
        if Pin::new(&mut *link).poll(cx).is_ready() {
            self.link = None;
            return Poll::Ready(());
        }
        if Pin::new(&mut self.goodbye).poll(cx).is_ready() || self.retired.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        self.gate.follow(link.connection.max_concurrent_send_streams());
        self.gate.turn();
        Poll::Pending
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.gate.close();
        if let Some(link) = self.link.take() {
            self.tasks.spawn_on(link, &self.runtime);
        }
    }
}
