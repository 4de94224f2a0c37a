//! Applications of typed messages, with tonic's own encoder and decoder between them and the stream.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::StatusCode;
use http_body::Body;
use tokio_stream::{Stream as Messages, StreamExt as _};
use tonic::codec::{Codec as _, CompressionEncoding, EncodeBody, SingleMessageCompressionOverride};
use tonic::{Status, Streaming};
use tonic_prost::ProstCodec;

use super::ok_trailers;
use crate::{AppEnd, Checkpointed, Checkpoints, Item, Outgoing, Resumed, Stream};

/// A message that knows its place.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Page {
    #[prost(uint64, tag = "1")]
    pub(super) number: u64,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) filler: Bytes,
}

/// What one side sends: so many pages, and points after some of them.
#[derive(Debug, Clone, Default)]
pub(super) struct Script {
    pub(super) pages: u64,
    pub(super) points: Vec<u64>,
    pub(super) page_bytes: usize,
    pub(super) encoding: Option<CompressionEncoding>,
    /// It is given from a source that can be read again.
    pub(super) rereads: bool,
}

impl Script {
    pub(super) fn new(pages: u64, points: impl IntoIterator<Item = u64>) -> Self {
        Self { pages, points: points.into_iter().collect(), page_bytes: 20, encoding: None, rereads: false }
    }

    /// Its reader is as any stub's or handler's.
    pub(super) fn is_plain(&self) -> bool {
        self.points.is_empty()
    }

    /// All of it. The state of a point says which one it is.
    fn items(&self) -> Vec<Outgoing<Page>> {
        let mut items = Vec::new();
        for number in 0..=self.pages {
            if number > 0 {
                let filler = Bytes::from(vec![number as u8; self.page_bytes]);
                items.push(Outgoing::Message(Page { number, filler }));
            }
            let points = self.points.iter().enumerate().filter(|(_, point)| **point == number);
            items.extend(points.map(|(index, _)| Outgoing::SyncPoint(sent_state(index))));
        }
        items
    }

    /// What follows so many pages, with the points right after the last of them.
    pub(super) fn items_from(&self, after: u64) -> Vec<Outgoing<Page>> {
        let mut items = self.items();
        let last = |item: &Outgoing<Page>| matches!(item, Outgoing::Message(page) if page.number == after);
        let begin = items.iter().position(last).map_or(0, |last| last + 1);
        assert!(begin > 0 || after == 0);
        items.split_off(begin)
    }

    /// What comes after the point from which the stream goes on.
    fn items_after(&self, resumed: Option<&Resumed>) -> Vec<Outgoing<Page>> {
        let mut items = self.items();
        let Some(resumed) = resumed else { return items };
        if resumed.state().is_empty() {
            // Placed by the stream itself, which it does here at the end only.
            assert_eq!(resumed.position().messages, self.pages);
            return Vec::new();
        }
        let placed = items.iter().position(|item| *item == Outgoing::SyncPoint(resumed.state().clone()));
        items.split_off(placed.expect("a point of this script") + 1)
    }

    /// What a reader sees of the whole.
    pub(super) fn seen(&self) -> Vec<Seen> {
        let mut number = 0;
        let seen = |item| match item {
            Outgoing::Message(Page { number: next, .. }) => {
                number = next;
                Seen::Page(next)
            }
            Outgoing::SyncPoint(_) => Seen::Point(number),
            other => panic!("not in a script: {other:?}"),
        };
        self.items().into_iter().map(seen).collect()
    }
}

pub(super) fn sent_state(index: usize) -> Bytes {
    format!("sent {index}").into()
}

/// What a reader leaves with a point: how much of its log it will find there.
pub(super) fn stored_state(entries: usize) -> Bytes {
    format!("stored {entries}").into()
}

/// What an application saw.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    Page(u64),
    /// The sender's point after so many pages.
    Point(u64),
}

impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Page(number) => write!(f, "{number}"),
            Self::Point(number) => write!(f, "|{number}|"),
        }
    }
}

/// The store of an application: what it saw.
pub(super) type Log = Arc<Mutex<Vec<Seen>>>;

/// Reads messages and points, and secures each point when everything before it is in `log`.
pub(super) async fn read_points(mut incoming: Checkpointed<Page>, log: Log) -> Result<(), Status> {
    while let Some(item) = incoming.next().await? {
        match item {
            Item::Message(page) => log.lock().unwrap().push(Seen::Page(page.number)),
            Item::SyncPoint(point) => {
                let mut entries = log.lock().unwrap().len();
                // Those without a state are the sender's own.
                if !point.state().is_empty() {
                    log.lock().unwrap().push(Seen::Point(point.position().messages));
                    entries += 1;
                }
                point.secure(stored_state(entries)).await?;
            }
        }
    }
    assert!(incoming.next().await?.is_none(), "ended twice");
    Ok(())
}

/// Reads messages as any stub or handler does.
pub(super) async fn read_plain(mut incoming: Streaming<Page>, log: Log) -> Result<(), Status> {
    while let Some(page) = incoming.message().await? {
        log.lock().unwrap().push(Seen::Page(page.number));
    }
    Ok(())
}

/// Reads points where the script has some.
pub(super) async fn read(
    incoming: Streaming<Page>,
    checkpoints: &Checkpoints,
    script: &Script,
    log: Log,
) -> Result<(), Status> {
    if script.is_plain() {
        read_plain(incoming, log).await
    } else {
        read_points(Checkpointed::new(incoming, checkpoints)?, log).await
    }
}

pub(super) fn request_of(server: &Stream, encoding: Option<CompressionEncoding>) -> Streaming<Page> {
    let decoder = ProstCodec::<Page, Page>::new().decoder();
    Streaming::new_request(decoder, server.app_body(), encoding, None)
}

pub(super) fn response_of(client: &Stream, encoding: Option<CompressionEncoding>) -> Streaming<Page> {
    let decoder = ProstCodec::<Page, Page>::new().decoder();
    Streaming::new_response(decoder, client.app_body(), StatusCode::OK, encoding, None)
}

pub(super) fn request_body(
    messages: impl Messages<Item = Page>,
    encoding: Option<CompressionEncoding>,
) -> impl Body<Data = Bytes, Error = Status> {
    let encoder = ProstCodec::<Page, Page>::new().encoder();
    EncodeBody::new_client(encoder, messages.map(Ok), encoding, None)
}

pub(super) fn response_body(
    messages: impl Messages<Item = Result<Page, Status>>,
    encoding: Option<CompressionEncoding>,
) -> impl Body<Data = Bytes, Error = Status> {
    let encoder = ProstCodec::<Page, Page>::new().encoder();
    EncodeBody::new_server(encoder, messages, encoding, SingleMessageCompressionOverride::default(), None)
}

/// Items that come one at a time, now and then with a pause.
fn paced<T: Unpin>(items: Vec<T>) -> impl Messages<Item = T> {
    let mut items = items.into_iter();
    let mut turn = 0_u32;
    PollFn(move |cx: &mut Context<'_>| {
        turn += 1;
        if turn.is_multiple_of(4) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(items.next())
    })
}

struct PollFn<F>(F);

impl<F, T> Messages for PollFn<F>
where
    F: Unpin + FnMut(&mut Context<'_>) -> Poll<Option<T>>,
{
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        (self.0)(cx)
    }
}

/// The caller: it sends its script from where the call goes on, and reads the response to its end.
pub(super) async fn caller(client: Stream, checkpoints: Checkpoints, scripts: [Script; 2], log: Log) {
    let [requests, responses] = scripts;
    let messages: Pin<Box<dyn Messages<Item = Page> + Send>> = if requests.rereads {
        let source = requests.clone();
        Box::pin(checkpoints.reread(move |after| paced(source.items_from(after))))
    } else {
        Box::pin(checkpoints.outgoing(paced(requests.items_after(checkpoints.resumed().as_ref()))))
    };
    let incoming = response_of(&client, responses.encoding);
    let (end, read) = tokio::join!(
        client.pump_app(request_body(messages, requests.encoding)),
        read(incoming, &checkpoints, &responses, log)
    );
    assert!(matches!(end, AppEnd::Done(None) | AppEnd::Stopped), "{end:?}");
    read.unwrap();
}

/// The handler: it reads and answers at the same time.
pub(super) async fn handler(server: Stream, scripts: [Script; 2], log: Log) {
    let [requests, responses] = scripts;
    let checkpoints = Checkpoints::of_stream(&server);
    let ok = |items: Vec<Outgoing<Page>>| paced(items.into_iter().map(Ok).collect());
    let messages: Pin<Box<dyn Messages<Item = Result<Page, Status>> + Send>> = if responses.rereads {
        let source = responses.clone();
        Box::pin(checkpoints.reread_results(move |after| ok(source.items_from(after))))
    } else {
        let items = responses.items_after(checkpoints.resumed().as_ref());
        Box::pin(checkpoints.outgoing_results(ok(items)))
    };
    // What comes is compared with what was to come, so it need not know more of the place.
    let _ = checkpoints.resumed_incoming();
    let incoming = request_of(&server, requests.encoding);
    let (end, read) = tokio::join!(
        server.pump_app(response_body(messages, responses.encoding)),
        read(incoming, &checkpoints, &requests, log)
    );
    read.unwrap();
    let AppEnd::Done(Some(trailers)) = end else { panic!("{end:?}") };
    assert_eq!(trailers["grpc-status"], ok_trailers()["grpc-status"]);
    server.conclude(trailers);
}
