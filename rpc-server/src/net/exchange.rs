//! One call on its stream: the handler, and then its response.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::Reason;
use h2::server::SendResponse;
use http::Response;
use pin_project_lite::pin_project;
use rpc_http2::{Outgoing, strip_connection_headers};
use tonic::body::Body;
use tracing::debug;

use super::streams::OpenStream;

pin_project! {
    /// Answers one request. Ends when the last byte of the response is handed to h2, or when the peer resets the stream,
    /// which drops the handler.
    //
    // Fields drop in this order: the handler is gone before the count says so.
    pub(super) struct Exchange<F> {
        #[pin]
        stage: Stage<F>,
        respond: SendResponse<Bytes>,
        open: OpenStream,
    }
}

pin_project! {
    #[project = StageProjection]
    enum Stage<F> {
        Handling { #[pin] handler: F },
        Sending { body: Outgoing<Body> },
    }
}

impl<F> Exchange<F>
where
    F: Future<Output = Result<Response<Body>, Infallible>>,
{
    pub(super) fn new(handler: F, respond: SendResponse<Bytes>, open: OpenStream) -> Self {
        Self { stage: Stage::Handling { handler }, respond, open }
    }
}

impl<F> Future for Exchange<F>
where
    F: Future<Output = Result<Response<Body>, Infallible>>,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        loop {
            let response = match this.stage.as_mut().project() {
                StageProjection::Sending { body } => {
                    if let Err(error) = ready!(Pin::new(body).poll(cx)) {
                        debug!(%error, "response not sent to its end");
                    }
                    return Poll::Ready(());
                }
                StageProjection::Handling { handler } => match handler.poll(cx) {
                    Poll::Ready(Ok(response)) => response,
                    Poll::Pending => {
                        return this.respond.poll_reset(cx).map(|reset| debug!(?reset, "call reset"));
                    }
                },
            };
            match send_head(this.respond, response) {
                Some(body) => this.stage.set(Stage::Sending { body }),
                None => return Poll::Ready(()),
            }
        }
    }
}

/// Sends the head of a response and returns what follows it, if anything does.
fn send_head(respond: &mut SendResponse<Bytes>, response: Response<Body>) -> Option<Outgoing<Body>> {
    let (head, body) = response.into_parts();
    let mut response = Response::from_parts(head, ());
    strip_connection_headers(response.headers_mut());
    let ends = http_body::Body::is_end_stream(&body);
    match respond.send_response(response, ends) {
        Ok(stream) => (!ends).then(|| Outgoing::new(stream, body)),
        Err(error) => {
            debug!(%error, "response not sent");
            respond.send_reset(Reason::INTERNAL_ERROR);
            None
        }
    }
}
