//! What a running server is asked, over the network.

use std::error::Error;
use std::fs;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use clap::Args;
use http::Uri;
use rpc_client::net::{Config, Connections, NotSent, ResponseBody, SendError, SendOptions, Tls, is_loopback};
use rpc_core::store::operations::{BackupName, Copied, Statistics};
use rpc_proto::admin::{copied_from_wire, statistics_from_wire};
use rpc_proto::pb::session::v1::admin_service_client::AdminServiceClient;
use rpc_proto::pb::session::v1::{BackupRequest, StatsRequest};
use tonic::body::Body;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::{Request, Response, Status};
use tower_service::Service;

use crate::failure::Failure;
use crate::token;

/// How long a server may take to count.
const STATS_TIMEOUT: Duration = Duration::from_secs(30);
/// How long it may take to copy: less than the half hour, less a tenth, after which a server ends a connection.
const BACKUP_TIMEOUT: Duration = Duration::from_secs(25 * 60);
/// What an answer may take beyond the deadline that the server was told.
const ANSWER_LATE_MAX: Duration = Duration::from_secs(5);

/// Which server is asked, and how.
#[derive(Debug, Args)]
pub(crate) struct Server {
    /// Ask the server that runs at this URL, such as `https://ledger.example:50051`. Without TLS (`http://`) only on this host.
    #[arg(long = "server", value_name = "URL", requires = "token_file")]
    url: Option<String>,
    /// A file with a token that has the scope session.admin. Its owner alone may be able to read it.
    #[arg(long, value_name = "FILE", requires = "url")]
    token_file: Option<PathBuf>,
    /// Trust the certificate authorities in this PEM file, in place of the system's.
    #[arg(long, value_name = "FILE", requires = "url")]
    ca_file: Option<PathBuf>,
    /// Show the certificate chain in this PEM file.
    #[arg(long, value_name = "FILE", requires = "url", requires = "key_file")]
    cert_file: Option<PathBuf>,
    /// The private key of that certificate, in PEM.
    #[arg(long, value_name = "FILE", requires = "cert_file")]
    key_file: Option<PathBuf>,
    /// Give up after so many seconds; the server then gives a backup up, too. Default: 30, and 1500 for a backup.
    #[arg(long, value_name = "SECONDS", requires = "url", value_parser = clap::value_parser!(u32).range(1..=86_400))]
    timeout: Option<u32>,
}

impl Server {
    /// The server that is to be asked, if one is.
    pub(crate) fn remote(&self) -> Option<Remote<'_>> {
        Some(Remote { url: self.url.as_deref()?, token_file: self.token_file.as_deref()?, options: self })
    }
}

/// A running server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Remote<'a> {
    pub(crate) url: &'a str,
    token_file: &'a Path,
    options: &'a Server,
}

impl Remote<'_> {
    pub(crate) fn statistics(self) -> Result<Statistics, Failure> {
        let answer = self
            .ask(STATS_TIMEOUT, StatsRequest {}, async |mut client, request| client.stats(request).await)?;
        statistics_from_wire(answer).map_err(|error| Failure::Server(error.to_string()))
    }

    pub(crate) fn backup(self, name: &BackupName) -> Result<Copied, Failure> {
        let request = BackupRequest { name: name.to_string() };
        let answer =
            self.ask(BACKUP_TIMEOUT, request, async |mut client, request| client.backup(request).await)?;
        copied_from_wire(&answer).map_err(|error| Failure::Server(error.to_string()))
    }

    /// Connects, calls, and waits for the answer.
    fn ask<Q, A>(
        self,
        timeout: Duration,
        message: Q,
        call: impl AsyncFnOnce(AdminServiceClient<Wire>, Request<Q>) -> Result<Response<A>, Status>,
    ) -> Result<A, Failure> {
        let target = target(self.url)?;
        let bearer = token::read(self.token_file)?;
        let config = self.config()?;
        let timeout = self.options.timeout.map_or(timeout, |seconds| Duration::from_secs(seconds.into()));
        let request = request(message, bearer, timeout);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failure::Server(error.to_string()))?;
        let asked = async {
            let connections = Connections::new(target, config).map_err(|error| failure(&error))?;
            connections.connect().await.map_err(|error| not_sent(&error))?;
            let client = AdminServiceClient::new(Wire(connections));
            call(client, request).await.map(Response::into_inner).map_err(Failure::Refused)
        };
        runtime
            .block_on(async { tokio::time::timeout(timeout + ANSWER_LATE_MAX, asked).await })
            .unwrap_or_else(|_| Err(Failure::Server(format!("no answer within {timeout:?}"))))
    }

    fn config(self) -> Result<Config, Failure> {
        let Server { ca_file, cert_file, key_file, .. } = self.options;
        let read = |path: &PathBuf| {
            fs::read(path).map_err(|error| Failure::Tls(format!("{}: {error}", path.display())))
        };
        let ca = ca_file.as_ref().map(read).transpose()?;
        let tls = match (ca, cert_file, key_file) {
            (ca, Some(chain), Some(key)) => {
                Some(Tls::with_identity_pem(ca.as_deref(), read(chain)?, read(key)?))
            }
            (Some(ca), ..) => Some(Tls::with_ca_pem(ca)),
            (None, ..) => None,
        };
        let tls = tls.transpose().map_err(|error| Failure::Tls(causes(&error)))?;
        // One call, which is not to wait for a server that is not there.
        let config = Config::default().connections(1).wait_for_ready(false);
        Ok(tls.into_iter().fold(config, Config::tls))
    }
}

fn request<T>(message: T, bearer: MetadataValue<Ascii>, timeout: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", bearer);
    request.set_timeout(timeout);
    request
}

/// Where the URL leads. The token goes there, so without TLS only to this host, by its name alone.
//= A-25
fn target(url: &str) -> Result<Uri, Failure> {
    let wrong = |why: &str| Failure::Arguments(format!("the URL of the server {why}"));
    let whole = if url.contains("://") { url.to_owned() } else { format!("https://{url}") };
    let target: Uri = whole.parse().map_err(|_| wrong("is none"))?;
    let host = target.host().ok_or_else(|| wrong("names no host"))?;
    if target.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err(wrong("holds a user; the token is all that is shown"));
    }
    match target.scheme_str() {
        Some("https") => Ok(target),
        Some("http") if is_loopback(host) => Ok(target),
        Some("http") => Err(wrong("is without TLS, and would show the token: say https://")),
        _ => Err(wrong("begins with https://, or on this host with http://")),
    }
}

/// The connections, as the generated client wants them.
#[derive(Clone)]
struct Wire(Connections);

impl Service<http::Request<Body>> for Wire {
    type Response = http::Response<ResponseBody>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Status>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let connections = self.0.clone();
        Box::pin(async move {
            let sent = connections.send(request, SendOptions::default()).await;
            sent.map_err(|error: SendError| Status::unavailable(causes(&error)))
        })
    }
}

fn not_sent(error: &NotSent) -> Failure {
    match error {
        NotSent::Unavailable(cause) => Failure::Server(cause.report().to_string()),
        other => failure(other),
    }
}

fn failure(error: &dyn Error) -> Failure {
    Failure::Server(causes(error))
}

/// An error with its causes, in one line.
fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::target;

    //= test A-25
    #[test]
    fn a_token_goes_nowhere_in_the_clear_but_to_this_host() {
        for (url, expected) in [
            ("https://ledger.example:50051", "https://ledger.example:50051/"),
            ("ledger.example:50051", "https://ledger.example:50051/"),
            ("localhost:50051", "https://localhost:50051/"),
            ("http://127.0.0.1:50051", "http://127.0.0.1:50051/"),
            ("http://[::1]:50051", "http://[::1]:50051/"),
            ("http://localhost", "http://localhost/"),
        ] {
            assert_eq!(target(url).expect(url).to_string(), expected);
        }
        for url in [
            "http://ledger.example",
            "http://10.0.0.1:50051",
            "http://localhost.example",
            "http://0.0.0.0:1",
            "https://user:secret@ledger.example",
            "ftp://localhost",
            "https://",
            "",
        ] {
            let failure = target(url).expect_err(url);
            assert!(!failure.text().contains("secret"), "{}", failure.text());
        }
    }
}
