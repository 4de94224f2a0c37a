//! From a target to a live connection.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use http::Uri;
use rpc_http2::Silence;
use tokio::{sync::oneshot, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    config::Config,
    connection::{Connection, ConnectionKey},
    driver::{Driver, Link},
    error::{ConnectError, ConnectStep, SetupError},
    gate::Gate,
    origin::Origin,
    tls::{Handshake, Tls},
    wire::{Greeting, Wire},
};

/// How much of a request body h2 takes before the peer has room for it.
const SEND_BUFFER_BYTES: usize = 1 << 20;

/// Makes connections to one target, one at each call of [`dial`](Self::dial).
pub(super) struct Dialer {
    target: Uri,
    origin: Origin,
    tls: Option<Handshake>,
    config: Config,
    tasks: TaskTracker,
    keys: AtomicU64,
    cut: CancellationToken,
}

impl Dialer {
    /// Prepares to dial `target`. All connections are cut when `cut` is cancelled; all tasks run in `tasks`.
    pub(super) fn new(
        target: Uri,
        config: &Config,
        tasks: TaskTracker,
        cut: CancellationToken,
    ) -> Result<Self, SetupError> {
        let origin = origin(&target)?;
        let tls = handshake(&target, &origin, config.tls.clone())?;
        Ok(Self { target, origin, tls, config: config.clone(), tasks, keys: AtomicU64::new(1), cut })
    }

    /// Makes one connection, ready to take calls: the peer's HTTP/2 settings have come.
    ///
    /// # Cancel safety
    ///
    /// Dropped halfway, what was made so far is closed.
    pub(super) async fn dial(&self) -> Result<(Connection, Driver), ConnectError> {
        let progress = Progress::default();
        let after = self.config.connect_timeout;
        let dialled = timeout(after, self.dial_unbounded(&progress)).await;
        dialled.unwrap_or_else(|_| Err(ConnectError::Timeout { after, step: progress.step() }))
    }

    async fn dial_unbounded(&self, progress: &Progress) -> Result<(Connection, Driver), ConnectError> {
        let mut io = self.config.connector.connect(self.target.clone()).await.map_err(|source| {
            ConnectError::Unreachable { target: self.origin.authority.to_string(), source }
        })?;
        if let Some(tls) = &self.tls {
            progress.enter(ConnectStep::Tls);
            io = tls.run(io).await?;
        }
        progress.enter(ConnectStep::Http2);
        let (wire, heard) = Wire::new(io, self.cut.clone());
        let (sender, mut connection) =
            http2_settings(&self.config).handshake(wire).await.map_err(ConnectError::Http2)?;
        let silence =
            self.config.keepalive.zip(connection.ping_pong()).map(|(keepalive, pings)| {
                Silence::new(keepalive.interval, keepalive.timeout, heard.last, pings)
            });
        let mut link = Link::new(connection, silence);
        greeted(heard.greeting, &mut link).await?;
        let config = &self.config;
        let gate = Gate::new(config.calls_open_max, config.queue_len, config.calls_waiting_max);
        let key = ConnectionKey(self.keys.fetch_add(1, Ordering::Relaxed));
        let retired = CancellationToken::new();
        let driver = Driver::new(link, heard.goodbye, retired.clone(), gate.clone(), self.tasks.clone());
        let connection = Connection::new(key, self.origin.clone(), sender, gate, retired, self.tasks.clone());
        Ok((connection, driver))
    }
}

/// Runs `link` until the peer's greeting has come.
async fn greeted(mut greeting: oneshot::Receiver<Greeting>, link: &mut Link) -> Result<(), ConnectError> {
    // The link is polled first, so that it takes in whole what brought the greeting. Its end is judged by the greeting,
    // too: another protocol is greeting and end in one.
    let heard = tokio::select! {
        biased;
        () = link => greeting.try_recv().ok().filter(|greeting| *greeting != Greeting::Http2),
        heard = &mut greeting => heard.ok(),
    };
    match heard {
        Some(Greeting::Http2) => Ok(()),
        Some(Greeting::Other) => Err(ConnectError::NotHttp2),
        None => Err(ConnectError::Closed),
    }
}

fn origin(target: &Uri) -> Result<Origin, SetupError> {
    let not_a_target = || SetupError::Target(target.clone());
    let scheme = target.scheme().cloned().ok_or_else(not_a_target)?;
    let authority = target.authority().cloned().ok_or_else(not_a_target)?;
    let known = matches!(scheme.as_str(), "http" | "https");
    // A user or password in the authority would travel with every call, and a path would be dropped in silence.
    if !known
        || target.host().is_none_or(str::is_empty)
        || authority.as_str().contains('@')
        || target.path() != "/"
    {
        return Err(not_a_target());
    }
    Ok(Origin { scheme, authority })
}

fn handshake(target: &Uri, origin: &Origin, tls: Option<Tls>) -> Result<Option<Handshake>, SetupError> {
    match (origin.scheme.as_str(), tls) {
        ("https", tls) => {
            let tls = tls.map_or_else(Tls::system, Ok).map_err(SetupError::Tls)?;
            Handshake::new(tls, origin.authority.host()).map(Some).map_err(SetupError::Tls)
        }
        (_, Some(_)) => Err(SetupError::TlsForPlainTarget(target.clone())),
        (_, None) => Ok(None),
    }
}

fn http2_settings(config: &Config) -> h2::client::Builder {
    let mut http2 = h2::client::Builder::new();
    http2
        .enable_push(false)
        .initial_window_size(config.stream_window_bytes)
        .initial_connection_window_size(config.connection_window_bytes)
        .max_frame_size(config.frame_bytes_max)
        .max_header_list_size(config.header_list_bytes_max)
        .max_send_buffer_size(SEND_BUFFER_BYTES)
        // The limit counts resets over the whole life of a connection. It protects servers; on a client it would
        // close the connection under all other calls after 1,024 cancelled downloads.
        .max_local_error_reset_streams(None);
    http2
}

/// Where a dial stands, to be told when its time has passed.
#[derive(Default)]
struct Progress(AtomicU8);

impl Progress {
    fn enter(&self, step: ConnectStep) {
        self.0.store(step as u8, Ordering::Relaxed);
    }

    fn step(&self) -> ConnectStep {
        let at = self.0.load(Ordering::Relaxed);
        [ConnectStep::Tls, ConnectStep::Http2]
            .into_iter()
            .find(|step| *step as u8 == at)
            .unwrap_or(ConnectStep::Reach)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set_up(target: &'static str, tls: Option<Tls>) -> Result<Dialer, SetupError> {
        let config = Config { tls, ..Config::default() };
        Dialer::new(Uri::from_static(target), &config, TaskTracker::new(), CancellationToken::new())
    }

    #[test]
    fn targets_have_a_scheme_a_host_and_nothing_else() {
        for target in ["http://localhost:50051", "http://[::1]:50051/", "http://ledger.test"] {
            assert!(set_up(target, None).is_ok(), "{target}");
        }
        for target in
            ["/path", "localhost:50051", "ftp://host", "http://user:secret@host", "http://host/path"]
        {
            assert!(matches!(set_up(target, None), Err(SetupError::Target(_))), "{target}");
        }
    }

    #[test]
    fn tls_settings_for_a_plain_target_are_a_mistake_that_is_told() {
        let pem = rcgen::generate_simple_self_signed(["host".to_owned()]).unwrap().cert.pem();
        let tls = Tls::with_ca_pem(pem).unwrap();
        assert!(matches!(set_up("http://host", Some(tls.clone())), Err(SetupError::TlsForPlainTarget(_))));
        assert!(set_up("https://host", Some(tls)).is_ok());
    }
}
