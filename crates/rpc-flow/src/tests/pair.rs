//! Two streams and what a test does with them by hand.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame};
use rpc_core::id::Attempt;
use rpc_core::stream::Config;
use rpc_core::stream::flow::Side;
use tokio::task::JoinHandle;

use super::link::{Way, connection, pipe};
use crate::{Ended, Frames, Stream};

/// The two sides of one call.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) client: Stream,
    pub(super) server: Stream,
}

/// A connection between them, as tasks.
#[derive(Debug)]
pub(super) struct Connected {
    pub(super) link: JoinHandle<[Way; 2]>,
    pub(super) client: JoinHandle<Ended>,
    pub(super) server: JoinHandle<Ended>,
}

impl Pair {
    pub(super) fn new(config: &Config) -> Self {
        Self { client: Stream::new(Side::Client, config), server: Stream::new(Side::Server, config) }
    }

    /// Begins an attempt at both sides, over a connection that is lost when its task is aborted.
    pub(super) fn connect(&self, number: u32) -> Connected {
        self.connect_over(number, [Way::new(1), Way::new(2)])
    }

    /// The same over ways that may die.
    pub(super) fn connect_over(&self, number: u32, mut ways: [Way; 2]) -> Connected {
        let attempt = self.client.attempt(Attempt(number), None, Frames::On).unwrap();
        assert_eq!(attempt.number(), Attempt(number));
        let resume = attempt.resume().copied();
        let (client_body, client_feed) = attempt.split();
        let answer = self.server.attempt(Attempt(number), resume.as_ref(), Frames::On).unwrap();
        let (server_body, server_feed) = answer.split();
        let (to_server, request) = pipe(4);
        let (to_client, response) = pipe(4);
        let link = async move {
            connection([client_body, server_body], [to_server, to_client], &mut ways, false).await;
            ways
        };
        Connected {
            link: tokio::spawn(link),
            client: tokio::spawn(client_feed.run(response)),
            server: tokio::spawn(server_feed.run(request)),
        }
    }
}

/// A body that has everything at once.
#[derive(Debug)]
pub(super) struct Ready {
    chunks: VecDeque<Bytes>,
    trailers: Option<HeaderMap>,
    /// What comes after the last: nothing, for ever, or the end.
    ends: bool,
}

impl Ready {
    pub(super) fn new(chunks: impl IntoIterator<Item = Bytes>) -> Self {
        Self { chunks: chunks.into_iter().collect(), trailers: None, ends: true }
    }

    pub(super) fn trailers(self, trailers: HeaderMap) -> Self {
        Self { trailers: Some(trailers), ..self }
    }

    pub(super) fn without_end(self) -> Self {
        Self { ends: false, ..self }
    }
}

impl Body for Ready {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(chunk) = self.chunks.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(chunk))));
        }
        if let Some(trailers) = self.trailers.take() {
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        if self.ends { Poll::Ready(None) } else { Poll::Pending }
    }
}
