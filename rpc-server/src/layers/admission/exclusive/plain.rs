//! Plain calls of an exclusive class.

use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Extensions, HeaderMap, Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use rpc_core::error::Reason;
use rpc_core::exclusive::{Caller, Key};
use rpc_core::policy::{Exclusive, MethodKind, MethodPolicy};
use rpc_proto::deadline;
use rpc_proto::status::Refusal;
use tokio::time::Instant;
use tonic::Status;
use tonic::body::Body;

use super::super::AdmissionLayer;
use super::refused;
use crate::context::{Deadline, SessionContext, SessionExt};
use crate::layers::{BoxFuture, Handler};
use crate::sessions::Live;
use crate::sessions::ends::SessionEnd;
use crate::sessions::exclusive::{Entered, News, Turn};

impl AdmissionLayer {
    /// Runs a plain call when it is the only one of its class. It has the class until its response has left the handler.
    pub(in super::super) async fn plain_in_turn<S: Handler>(
        &self,
        mut inner: S,
        policy: &MethodPolicy,
        exclusive: &Exclusive,
        request: Request<Body>,
    ) -> Response<Body> {
        let live = request.extensions().get::<SessionContext>().map(|context| Arc::clone(context.live()));
        let deadline = request.extensions().get::<Deadline>().map(|deadline| deadline.0);
        let mut ended = ended(live.clone());
        let key = match key(exclusive, request.extensions()) {
            Ok(key) => key,
            Err(status) => return status.into_http(),
        };
        let turn = tokio::select! {
            turn = self.plain_turn(key, deadline) => turn,
            reason = &mut ended => Err(session_ended(reason)),
        };
        let turn = match turn {
            Ok(turn) => turn,
            Err(refusal) => return refusal.into_status().into_http(),
        };
        let Some(permit) = self.running.enter() else { return self.exhausted().into_status().into_http() };
        let response = tokio::select! {
            response = deadline::scope(deadline, inner.call(request)) => response,
            //= D-43
            reason = &mut ended => return session_ended(reason).into_status().into_http(),
        };
        drop(permit);
        let Ok(response) = response;
        match policy.kind {
            // The handler has ended.
            MethodKind::Unary | MethodKind::ClientStreaming => response,
            MethodKind::ServerStreaming | MethodKind::Bidirectional => {
                response.map(|body| Body::new(InTurn { inner: Some((body, turn)), ended }))
            }
        }
    }

    /// Waits for the turn of a plain call. The layer outside ends the wait at its deadline.
    async fn plain_turn(&self, key: Key, deadline: Option<Instant>) -> Result<Turn, Refusal> {
        let exclusion = self.sessions.exclusion();
        loop {
            let entered = exclusion.enter(key.clone(), Caller::Plain, deadline);
            let mut waiter = match entered.map_err(|error| refused(&error))? {
                Entered::Turn(turn) => return Ok(turn),
                Entered::Waits(waiter) => waiter,
            };
            if waiter.news().await == News::Granted
                && let Some(turn) = waiter.begin()
            {
                return Ok(turn);
            }
        }
    }
}

/// The queue of a call.
fn key(exclusive: &Exclusive, extensions: &Extensions) -> Result<Key, Status> {
    let session = extensions.get::<SessionContext>().map(|context| context.live().id());
    let key = Key::of(exclusive, extensions.principal()?, session);
    key.ok_or_else(|| {
        let text = "this method excludes the other calls of its session; open one with \
                    session.v1.SessionService/Open";
        Refusal::new(Reason::SessionRequired, text).into()
    })
}

/// Waits for the end of the session; for ever where there is none.
fn ended(live: Option<Arc<Live>>) -> BoxFuture<Reason> {
    Box::pin(async move {
        let Some(live) = live else { return pending().await };
        let end = live.ended().wait_for(Option::is_some).await.ok().and_then(|end| *end);
        end.map_or(Reason::SessionEnded, SessionEnd::reason)
    })
}

fn session_ended(reason: Reason) -> Refusal {
    Refusal::new(reason, "the session ended while the call was under way")
}

/// The response of a handler that has the class until it has given everything, is dropped, or its session has ended.
struct InTurn {
    /// `None` once it is over.
    inner: Option<(Body, Turn)>,
    ended: BoxFuture<Reason>,
}

impl HttpBody for InTurn {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        let Some((body, _turn)) = this.inner.as_mut() else { return Poll::Ready(None) };
        //= D-43
        if let Poll::Ready(reason) = this.ended.as_mut().poll(cx) {
            this.inner = None;
            let mut trailers = HeaderMap::new();
            session_ended(reason).into_status().add_header(&mut trailers)?;
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        let polled = Pin::new(body).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) if frame.is_data() => {}
            //= D-40
            Poll::Ready(_) => this.inner = None,
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(|(body, _)| body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        // The trailers may come early, so what the handler promised does not hold.
        SizeHint::default()
    }
}
