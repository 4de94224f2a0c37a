//! Dialogs through stock stubs on both sides: who speaks, what passes by the messages, going back.
#![expect(clippy::unwrap_used, reason = "a test says by panicking that something went wrong")]

mod refused;
mod talk;
mod wire;

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rpc_client::net::{Backoff, Config, Keepalive};
use rpc_client::{
    Builder, Checkpoints, Dialog, FirstTurn, FirstTurnProposal, OutcomeExt as _, Outgoing, Reason, Session,
};
use rpc_server::{CheckpointsExt as _, Item};
use rpc_tests::pb::dialog::v1::test_dialog_client::TestDialogClient;
use rpc_tests::pb::dialog::v1::test_dialog_server::{TestDialog, TestDialogServer};
use rpc_tests::pb::dialog::v1::{Heard, Word};
use rpc_tests::server::TestServer;
use rpc_tests::{soon, token};
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

type Client = TestDialogClient<Session>;
type Words = Pin<Box<dyn Stream<Item = Result<Word, Status>> + Send>>;

/// Metadata of a call whose handler reads nothing before it was told to by expedited data.
const WAITS: &str = "x-waits";
const READ: &str = "read";

/// What comes where its unit is on; nothing, for ever, where it is off.
async fn if_on<T>(awaited: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    match awaited.await {
        Err(status) if status.reason() == Some(Reason::UnitUnsupported) => std::future::pending().await,
        told => told,
    }
}

/// How many words a side says in a turn.
const BURST: u64 = 5;

fn word(number: u64) -> Word {
    Word { number, text: vec![number as u8; 40] }
}

/// Handlers that work by dialog.
#[derive(Debug, Clone, Default)]
struct Handlers {
    /// What went wrong in them.
    failures: Arc<Mutex<Vec<String>>>,
    /// What was dictated and kept.
    kept: Arc<Mutex<Vec<u64>>>,
}

impl Handlers {
    fn watch<F: Future<Output = Result<(), Status>> + Send + 'static>(&self, work: F) {
        let failures = self.failures.clone();
        tokio::spawn(async move {
            if let Err(status) = work.await {
                failures.lock().unwrap().push(format!("{status:?}"));
            }
        });
    }

    #[track_caller]
    fn assert_well(&self) {
        assert_eq!(*self.failures.lock().unwrap(), [""; 0]);
    }
}

/// Speaks in turn with whoever is at the other end: a burst in each turn, and hears one in each of the other's, until
/// the other says no more.
async fn converse(
    dialog: Dialog,
    say: mpsc::Sender<Word>,
    mut words: Streaming<Word>,
    turns: Option<u64>,
) -> Result<u64, Status> {
    let (turn, mut said, mut heard) = (dialog.turn(), 0, 0);
    loop {
        if turns.is_some_and(|turns| said == turns * BURST) {
            break;
        }
        let speaking = turn.wait().await?;
        for _ in 0..BURST {
            said += 1;
            let _ = say.send(word(said)).await;
        }
        speaking.give();
        let mut burst = 0;
        while burst < BURST {
            let Some(word) = words.message().await? else { return Ok(heard) };
            (heard, burst) = (heard + 1, burst + 1);
            if word.number != heard {
                return Err(Status::data_loss(format!("word {} instead of {heard}", word.number)));
            }
        }
    }
    drop(say);
    while let Some(word) = words.message().await? {
        heard += 1;
        if word.number != heard {
            return Err(Status::data_loss(format!("word {} instead of {heard}", word.number)));
        }
    }
    Ok(heard)
}

#[tonic::async_trait]
impl TestDialog for Handlers {
    type RadioStream = Words;

    async fn radio(&self, request: Request<Streaming<Word>>) -> Result<Response<Words>, Status> {
        let dialog = request.dialog()?;
        let (say, said) = mpsc::channel(64);
        self.watch(async move { converse(dialog, say, request.into_inner(), None).await.map(drop) });
        Ok(Response::new(Box::pin(tokio_stream::StreamExt::map(ReceiverStream::new(said), Ok))))
    }

    type PhoneStream = Words;

    /// Answers each piece apart with one of its kind, and ends when the caller says no more.
    async fn phone(&self, request: Request<Streaming<Word>>) -> Result<Response<Words>, Status> {
        let dialog = request.dialog();
        let (waits, read) = (request.metadata().contains_key(WAITS), tokio::sync::Notify::new());
        let (say, said) = mpsc::channel(64);
        let mut words = request.into_inner();
        self.watch(async move {
            let Ok(dialog) = dialog else {
                while let Some(word) = words.message().await? {
                    let _ = say.send(Ok(word)).await;
                }
                return Ok(());
            };
            let apart = async {
                loop {
                    tokio::select! {
                        typed = if_on(dialog.typed()) => match typed? {
                            Some(typed) => dialog.send_typed(typed.bytes).await?,
                            None => return Ok::<_, Status>(()),
                        },
                        piece = if_on(dialog.expedited()) => match piece? {
                            Some(piece) if piece == READ => read.notify_one(),
                            Some(piece) => dialog.send_expedited(piece).await?,
                            None => return Ok(()),
                        },
                    }
                }
            };
            let rest = async {
                if waits {
                    read.notified().await;
                }
                while let Some(word) = words.message().await? {
                    let _ = say.send(Ok(word)).await;
                }
                drop(say);
                Ok::<_, Status>(())
            };
            tokio::select! {
                over = apart => over,
                over = rest => over,
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(said))))
    }

    type EchoStream = Words;

    async fn echo(&self, request: Request<Streaming<Word>>) -> Result<Response<Words>, Status> {
        let refused = request.dialog().err().and_then(|status| status.reason());
        if refused != Some(Reason::DialogRequired) {
            return Err(Status::internal(format!("it has a dialog: {refused:?}")));
        }
        Ok(Response::new(Box::pin(request.into_inner())))
    }

    /// Keeps words up to each point, and goes back with its caller.
    async fn dictate(&self, request: Request<Streaming<Word>>) -> Result<Response<Heard>, Status> {
        let dialog = request.dialog()?;
        let mut words = request.into_checkpointed()?;
        let mut heard: Vec<u64> = Vec::new();
        loop {
            tokio::select! {
                item = words.next() => match item? {
                    Some(Item::Message(word)) => heard.push(word.number),
                    Some(Item::SyncPoint(point)) => {
                        self.kept.lock().unwrap().append(&mut heard);
                        point.secure("kept").await?;
                    }
                    None => break,
                },
                back = dialog.resynchronization() => {
                    let Some(back) = back? else { break };
                    heard.clear();
                    back.confirm("forgotten").await?.go_on();
                }
            }
        }
        self.kept.lock().unwrap().append(&mut heard);
        Ok(Response::new(Heard { words: self.kept.lock().unwrap().len() as u64 }))
    }
}

/// A server with these handlers.
async fn served() -> (TestServer, Handlers) {
    let handlers = Handlers::default();
    let service = handlers.clone();
    let server = TestServer::start_with(|builder| builder.service(TestDialogServer::new(service))).await;
    (server, handlers)
}

/// A session with waits that suit a test, as `change` has it.
async fn open(address: SocketAddr, change: impl FnOnce(Builder) -> Builder) -> Session {
    let quick = Config::default()
        .connections(1)
        .backoff(Backoff::default().between(Duration::from_millis(2), Duration::from_millis(50)))
        .keepalive(Keepalive::new(Duration::from_millis(300), Duration::from_millis(300)));
    let builder = Session::builder(format!("http://{address}"))
        .credentials(token::token("alice", &[]))
        .service::<Client>()
        .net(quick);
    soon("the opening", change(builder).open()).await.expect("the server is there")
}

fn first(turn: FirstTurn) -> impl FnOnce(Builder) -> Builder {
    move |builder| builder.first_turn(FirstTurnProposal::Fixed(turn))
}

/// What a caller says, with its dialog.
fn saying<T>(items: ReceiverStream<T>, checkpoints: &Checkpoints) -> Request<ReceiverStream<T>> {
    checkpoints.request(items)
}

/// The items of an upload, with its points.
fn items(
    checkpoints: &Checkpoints,
) -> (mpsc::Sender<Outgoing<Word>>, Request<impl Stream<Item = Word> + Send + 'static>) {
    let (say, said) = mpsc::channel(64);
    let words = checkpoints.outgoing(ReceiverStream::new(said));
    (say, checkpoints.request(words))
}
