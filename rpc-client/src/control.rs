//! The session's own calls: `SessionService` over the connections, without policies, slots or retries.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{HeaderName, HeaderValue, Request, Response};
use rpc_core::error::Outcome;
use rpc_proto::pb::session::v1::session_service_client::SessionServiceClient;
use tonic::Status;
use tonic::body::Body;
use tower_service::Service;

use crate::call::body::{StreamBody, unanswered};
use crate::call::reply::repair_details;
use crate::net::{Connection, Connections, SendError, SendOptions};

/// The client of the session service.
pub(crate) type Client = SessionServiceClient<Control>;

/// Over which connection a call goes.
#[derive(Clone)]
pub(crate) enum Via {
    /// Whichever is least loaded.
    Any(Connections),
    /// This one.
    One(Connection),
}

/// A channel that adds headers to each request, and says of each failure whether the request may have arrived.
#[derive(Clone)]
pub(crate) struct Control {
    via: Via,
    /// Whose calls these are.
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Control {
    pub(crate) fn client(via: Via, headers: Vec<(HeaderName, HeaderValue)>) -> Client {
        SessionServiceClient::new(Self { via, headers })
    }

    async fn send(self, mut request: Request<Body>) -> Result<Response<Body>, Status> {
        for (name, value) in self.headers {
            request.headers_mut().insert(name, value);
        }
        let sent = match self.via {
            Via::Any(connections) => connections.send(request, SendOptions::default()).await,
            Via::One(connection) => connection.send(request, None).await,
        };
        let (mut head, body) = sent.map_err(told)?.into_parts();
        repair_details(&mut head.headers);
        Ok(Response::from_parts(head, Body::new(StreamBody::new(body, None, None))))
    }
}

fn told(error: SendError) -> Status {
    let outcome = if error.is_unprocessed() { Outcome::NotExecuted } else { Outcome::Unknown };
    unanswered(error, Some(outcome))
}

impl Service<Request<Body>> for Control {
    type Response = Response<Body>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Status>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.clone().send(request))
    }
}
