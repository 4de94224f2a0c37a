//! Clients whose connections are [`Lines`]: they can be cut.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::Uri;
use hyper_util::rt::TokioIo;
use rpc_client::net::BoxIo;
use rpc_client::{Builder, Session};
use tonic::transport::Channel;
use tower_service::Service;

use super::stubs::shared::EchoCaller;
use super::{EchoNeeds, session, stock};
use crate::error::BenchError;
use crate::line::{Line, Lines};
use crate::pb::shared as pb;

/// A session that is ready to be opened: one connection, over lines, no service yet.
///
/// # Errors
///
/// The tokens cannot be made.
pub(crate) fn builder(address: SocketAddr, lines: &Lines) -> Result<Builder, BenchError> {
    let lines = lines.clone();
    Ok(session::builder(address, 1)?.connector(move |_| {
        let lines = lines.clone();
        async move { Ok(Box::new(lines.connect().await?) as BoxIo) }
    }))
}

/// A session over one line, and its caller.
///
/// # Errors
///
/// It is not opened.
pub(crate) async fn echo(
    address: SocketAddr,
    lines: &Lines,
    needs: EchoNeeds,
) -> Result<(Session, EchoCaller<Session>), BenchError> {
    let builder = builder(address, lines)?.slots(needs.in_flight as u32);
    let session = builder.service::<pb::echo_client::EchoClient<Session>>().open().await?;
    Ok((session.clone(), EchoCaller::new(session, needs)))
}

/// tonic at its best over one line, which it makes anew when it is called again.
///
/// # Errors
///
/// The server is not to be reached.
pub(crate) async fn tonic_echo(
    address: SocketAddr,
    lines: &Lines,
    needs: EchoNeeds,
) -> Result<EchoCaller<Channel>, BenchError> {
    let channel = stock::endpoint_best(address)?.connect_with_connector(OverLines(lines.clone())).await?;
    Ok(EchoCaller::new(channel, needs))
}

struct OverLines(Lines);

impl Service<Uri> for OverLines {
    type Response = TokioIo<Line>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TokioIo<Line>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let lines = self.0.clone();
        Box::pin(async move { Ok(TokioIo::new(lines.connect().await?)) })
    }
}
