//! One place for a connection, which it fills again each time it becomes empty.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{
    backoff::Pauses, board::Board, connection::Connection, dialer::Dialer, driver::Driver,
    error::ConnectError,
};

/// A connection that lived this long was a good one, even if it had nothing to answer.
const PROVEN_AFTER: Duration = Duration::from_secs(5);

/// One place for a connection.
pub(super) struct Slot {
    pub(super) index: usize,
    pub(super) dialer: Arc<Dialer>,
    pub(super) board: Arc<Board>,
    pub(super) pauses: Pauses,
    pub(super) stop: CancellationToken,
}

impl Slot {
    /// Waits until it is wanted, then dials and keeps one connection at a time until it is stopped.
    pub(super) async fn run(self) {
        let stop = self.stop.clone();
        // Cancelled at any point, nothing is left behind: a dial closes what it opened, and a driver that is dropped
        // ends its connection gracefully.
        stop.run_until_cancelled(self.fill_again_and_again()).await;
    }

    async fn fill_again_and_again(mut self) {
        self.board.wanted(self.index).await;
        loop {
            let since = Instant::now();
            self.board.dialling(self.index);
            let failure = match self.dialer.dial().await {
                Ok((connection, driver)) => self.keep(connection, driver).await.err(),
                Err(error) => Some(error),
            };
            let Some(failure) = failure else {
                // A connection that did its work and ended, by GOAWAY or by a cut, is replaced at once. One that was
                // as short as a pause is replaced after it: a server that answers one call on each connection and
                // leaves, as one that is drained behind a balancer does, is not dialled in a tight loop.
                self.pauses.reset();
                let pause = self.pauses.next();
                if since.elapsed() < pause {
                    sleep_until(since + pause).await;
                }
                self.pauses.reset();
                continue;
            };
            let pause = self.pauses.next();
            tracing::debug!(slot = self.index, error = %failure.report(), ?pause, "no connection");
            self.board.failed(self.index, Arc::new(failure));
            sleep(pause).await;
        }
    }

    /// Lets `connection` take calls until it ends.
    ///
    /// # Errors
    ///
    /// [`ConnectError::ShortLived`] if it never was of use: a peer that accepts and at once hangs up must not be
    /// dialled in a tight loop.
    async fn keep(&self, connection: Connection, driver: Driver) -> Result<(), ConnectError> {
        let since = Instant::now();
        let retire = Retire(&connection);
        self.board.connected(self.index, connection.clone());
        driver.run().await;
        drop(retire);
        tracing::debug!(slot = self.index, connection = %connection.key(), "connection ended");
        if connection.has_answered() || since.elapsed() >= PROVEN_AFTER {
            self.board.lost(self.index);
            Ok(())
        } else {
            Err(ConnectError::ShortLived(since.elapsed()))
        }
    }
}

/// Retires a connection when its driver is gone, whichever way.
struct Retire<'a>(&'a Connection);

impl Drop for Retire<'_> {
    fn drop(&mut self) {
        self.0.retire();
    }
}
