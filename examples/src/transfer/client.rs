//! What `send`, `get` and `ls` have in common: the way to the archive, and a session with it.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use rpc_client::{Event, Session};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::WINDOW_BYTES;
use super::bar::{Bar, TICK, note};
use super::failure::Failure;
use super::key::Key;
use crate::archive::archive_client::ArchiveClient;
use crate::program::interrupted;

/// See [`Way::wait`].
const WAIT_TO_BEGIN: Duration = Duration::from_secs(30);
/// See [`Way::wait`].
const WAIT_IN_THE_MIDDLE: Duration = Duration::from_secs(600);

/// After this time of waiting the program says what it waits for.
const SILENCE: Duration = Duration::from_secs(2);

/// How long the end of a session may take that nobody needs any more.
const FAREWELL: Duration = Duration::from_secs(2);

/// The way to an archive.
pub struct Way {
    /// `http://host:port`.
    pub uri: String,
    /// What opens it.
    pub key: Key,
    /// How long a server is waited for that does not answer; `None`: 30 s to begin with, and 10 min in the middle of a
    /// transfer, which is how long the server keeps a session that nobody is connected to.
    pub wait: Option<Duration>,
}

impl Way {
    /// Opens a session, does `work` in it and ends it in order. Ctrl-C ends it at once.
    ///
    /// # Errors
    ///
    /// Those of `work`, or there is no session, or Ctrl-C.
    pub async fn session<T>(
        &self,
        work: impl AsyncFnOnce(&Session) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let mut interrupt = pin!(interrupted());
        let session = tokio::select! {
            opened = self.open() => opened?,
            () = &mut interrupt => return Err(Failure::interrupted()),
        };
        let done = tokio::select! {
            done = work(&session) => done,
            () = &mut interrupt => Err(Failure::interrupted()),
        };
        // What was done is done, however the session ends; without a word it would end with its lease.
        let _ = match &done {
            Ok(_) => timeout(self.wait_to_begin(), session.release()).await.map(|released| released.is_ok()),
            Err(_) => timeout(FAREWELL, session.abort("given up")).await.map(|aborted| aborted.is_ok()),
        };
        done
    }

    /// Opens a session.
    ///
    /// # Errors
    ///
    /// The server does not answer in time, or does not want it.
    pub async fn open(&self) -> Result<Session, Failure> {
        let wait = self.wait_to_begin();
        let opening = Session::builder(&self.uri)
            .credentials(self.key.credentials()?)
            .service::<ArchiveClient<Session>>()
            .client_name("transfer")
            .connections(1)
            .window_bytes(WINDOW_BYTES)
            .open_timeout(wait)
            .retry_time(self.wait.unwrap_or(WAIT_IN_THE_MIDDLE))
            .open();
        let mut opening = pin!(opening);
        let opened = tokio::select! {
            opened = &mut opening => opened,
            () = sleep(SILENCE) => {
                note(format!("waiting for a server at {}, up to {} s", self.uri, wait.as_secs()));
                opening.await
            }
        };
        opened.map_err(|error| Failure::of_opening(&self.uri, &error))
    }

    fn wait_to_begin(&self) -> Duration {
        self.wait.unwrap_or(WAIT_TO_BEGIN)
    }
}

/// Makes a call, keeps the bar up to date and says when the connection is lost.
pub async fn shown<T>(
    session: &Session,
    bar: &Bar,
    call: impl Future<Output = T>,
    mut show: impl FnMut(&Bar),
) -> T {
    let mut events = session.events();
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut call = pin!(call);
    loop {
        tokio::select! {
            done = &mut call => return done,
            _ = tick.tick() => show(bar),
            Some(event) = events.next() => match event {
                Event::ConnectionLost => bar.say("the connection is lost; making another"),
                Event::StreamResumed(_) => bar.say("going on over another connection"),
                _ => {}
            },
        }
    }
}
