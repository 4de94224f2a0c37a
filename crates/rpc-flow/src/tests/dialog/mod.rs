//! Two applications in a dialog.

mod apart;
mod back;
mod major;
mod tokens;
mod turns;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use rpc_core::dialog::Terms;
use rpc_core::error::Reason;
use rpc_core::negotiate::{Unit, Units};
use rpc_core::stream::Config;
use rpc_core::stream::flow::Side;
use rpc_proto::status::Details;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::link::Way;
use super::pair::{Connected, Pair};
use super::typed::{Page, request_body, request_of, response_body, response_of};
use crate::{AppEnd, Checkpointed, Checkpoints, Dialog, How, Item, Outgoing, Stream};

/// Longest wait for anything, on a clock that jumps.
const LONG: Duration = Duration::from_secs(600);

fn all_units() -> Units {
    Units::from_iter(Unit::ALL)
}

/// What both sides agree on, at the side that it says.
fn terms(side: Side, units: Units, half_duplex: bool, first_turn: Side) -> Config {
    let mut config = Config::default();
    config.keepalive = super::call::NO_KEEPALIVE;
    config.dialog = Some(Terms { side, units, half_duplex, first_turn });
    config
}

/// Two sides with all units on.
fn pair(half_duplex: bool, first_turn: Side) -> Pair {
    with_units(all_units(), half_duplex, first_turn)
}

fn with_units(units: Units, half_duplex: bool, first_turn: Side) -> Pair {
    let stream = |side| Stream::new(side, &terms(side, units, half_duplex, first_turn));
    Pair { client: stream(Side::Client), server: stream(Side::Server) }
}

/// One application: what it gives, what it takes, its dialog.
struct App {
    stream: Stream,
    dialog: Dialog,
    say: mpsc::Sender<Outgoing<Page>>,
    pump: JoinHandle<()>,
}

impl App {
    /// Its body is read from now on.
    fn new(stream: &Stream, side: Side) -> Self {
        let checkpoints = Checkpoints::of_stream(stream);
        let dialog = checkpoints.dialog();
        let (say, said) = mpsc::channel(64);
        let said = ReceiverStream::new(said);
        let own = stream.clone();
        let pump = tokio::spawn(async move {
            match side {
                Side::Client => {
                    let end = own.pump_app(request_body(checkpoints.outgoing(said), None)).await;
                    assert!(matches!(end, AppEnd::Done(None) | AppEnd::Stopped), "{end:?}");
                }
                Side::Server => {
                    let messages = checkpoints.outgoing_results(said.map(Ok));
                    match own.pump_app(response_body(messages, None)).await {
                        AppEnd::Done(Some(trailers)) => own.conclude(trailers),
                        end => assert!(matches!(end, AppEnd::Stopped), "{end:?}"),
                    }
                }
            }
        });
        Self { stream: stream.clone(), dialog, say, pump }
    }

    async fn say(&self, number: u64) {
        let page = Page { number, filler: Bytes::from_static(b"over") };
        self.say.send(Outgoing::Message(page)).await.unwrap();
    }

    async fn item(&self, item: Outgoing<Page>) {
        self.say.send(item).await.unwrap();
    }

    /// The responses of a call, point by point.
    fn read_of(client: &Stream) -> Checkpointed<Page> {
        Checkpointed::new(response_of(client, None), &Checkpoints::of_stream(client)).unwrap()
    }

    /// What it reads, point by point.
    fn read(&self, side: Side) -> Checkpointed<Page> {
        let streaming = match side {
            Side::Client => response_of(&self.stream, None),
            Side::Server => request_of(&self.stream, None),
        };
        Checkpointed::new(streaming, &Checkpoints::of_stream(&self.stream)).unwrap()
    }
}

/// Both applications of a pair.
fn apps(pair: &Pair) -> (App, App) {
    (App::new(&pair.client, Side::Client), App::new(&pair.server, Side::Server))
}

/// The next message, with all points before it secured.
async fn next(reader: &mut Checkpointed<Page>) -> Option<u64> {
    loop {
        match reader.next().await.unwrap()? {
            Item::Message(page) => return Some(page.number),
            Item::SyncPoint(point) => point.secure(Bytes::from_static(b"safe")).await.unwrap(),
        }
    }
}

/// Keeps the two connected to the end of the call, whatever happens to connections: each dies after so many bytes of one
/// way, if it carries so many.
async fn carry(pair: &Pair, lives: impl IntoIterator<Item = (usize, usize)>) -> u32 {
    let (mut lives, mut number) = (lives.into_iter(), 0);
    loop {
        let mut ways = [Way::new(1), Way::new(2)];
        if let Some((way, bytes)) = lives.next() {
            ways[way].life_bytes = Some(bytes);
        }
        let Connected { link, client, server } = pair.connect_over(number, ways);
        let (_, ended, _) = (link.await.unwrap(), client.await.unwrap(), server.await.unwrap());
        match ended.how {
            How::Complete => {
                pair.client.conclude(ended.trailers.unwrap_or_default());
                return number;
            }
            How::Failed(error) => panic!("{error:?}"),
            How::Short | How::Broken(_) | How::Fenced => number += 1,
        }
    }
}

#[track_caller]
fn reason<T: std::fmt::Debug>(result: Result<T, Status>) -> Reason {
    let status = result.expect_err("it is refused");
    Details::of(&status).reason.unwrap_or_else(|| panic!("{status:?}"))
}

/// What somebody saw, in order.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<String>>>);

impl Seen {
    fn add(&self, what: impl Into<String>) {
        self.0.lock().unwrap().push(what.into());
    }

    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}
