//! A service with a method of every kind, whose handlers do what a session lets them do.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures_util::{Stream, StreamExt as _, stream};
use http::{Request as HttpRequest, Response as HttpResponse};
use rpc_core::id::{CallId, SessionId};
use rpc_core::policy::{
    Cancellation, Checkpoint, Delivery, Described, Exclusive, ExclusiveScope, MethodKind, MethodPolicy,
    Record, Secure, ServicePolicy,
};
use rpc_server::{
    Checkpoints, CheckpointsExt as _, Dialog, Item, Outgoing, SessionContext, SessionExt as _, Speaking, Turn,
};
use tonic::body::Body;
use tonic::server::{Grpc, NamedService};
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;
use tower_service::Service;

const POINTS: Checkpoint =
    Checkpoint { every_messages: Some(2), every_bytes: None, every: None, secure: Secure::Automatic };
const PROTECTED: MethodPolicy = MethodPolicy {
    delivery: Delivery::AtMostOnce,
    record: Record::Durable,
    ..MethodPolicy::plain("", MethodKind::Unary)
};

/// One method of each kind, in the order in which inputs number them.
pub(super) static METHODS: [MethodPolicy; 8] = [
    MethodPolicy::plain("/fuzz.v1.Methods/Plain", MethodKind::Unary),
    MethodPolicy { path: "/fuzz.v1.Methods/Once", delivery: Delivery::ExactlyOnce, ..PROTECTED },
    MethodPolicy {
        path: "/fuzz.v1.Methods/Alone",
        record: Record::Memory,
        cancellation: Cancellation::Finish,
        exclusive: Some(Exclusive { class: "alone", scope: ExclusiveScope::Session }),
        ..PROTECTED
    },
    MethodPolicy {
        path: "/fuzz.v1.Methods/Put",
        kind: MethodKind::ClientStreaming,
        cancellation: Cancellation::Finish,
        checkpoint: Some(Checkpoint { secure: Secure::Explicit, ..POINTS }),
        ..PROTECTED
    },
    MethodPolicy {
        path: "/fuzz.v1.Methods/Take",
        kind: MethodKind::ServerStreaming,
        checkpoint: Some(POINTS),
        ..PROTECTED
    },
    MethodPolicy {
        checkpoint: Some(POINTS),
        dialog: true,
        ..MethodPolicy::plain("/fuzz.v1.Methods/Talk", MethodKind::Bidirectional)
    },
    MethodPolicy {
        path: "/fuzz.v1.Methods/Turn",
        kind: MethodKind::Bidirectional,
        record: Record::Memory,
        checkpoint: Some(POINTS),
        dialog: true,
        half_duplex: true,
        ..PROTECTED
    },
    MethodPolicy {
        path: "/fuzz.v1.Methods/Gather",
        kind: MethodKind::ClientStreaming,
        record: Record::Memory,
        ..PROTECTED
    },
];

/// What the handlers have seen. A cheap clone; all share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Served(Arc<Mutex<Seen>>);

#[derive(Debug, Default)]
struct Seen {
    begun: u64,
    at_work: u64,
    calls: BTreeSet<(SessionId, CallId)>,
    /// Calls whose handler was called once more. Looked at from outside: a handler that panics is answered for.
    twice: Vec<CallId>,
}

type Words = Pin<Box<dyn Stream<Item = Result<Vec<u8>, Status>> + Send>>;

impl Served {
    /// Handlers that were called.
    pub(super) fn begun(&self) -> u64 {
        self.lock().begun
    }

    /// Handlers, and tasks of theirs, that have not ended.
    pub(super) fn at_work(&self) -> u64 {
        self.lock().at_work
    }

    /// Forgets which calls there were, when their sessions are over: none ran twice.
    pub(super) fn forget(&self) {
        let mut seen = self.lock();
        assert_eq!(seen.twice, []);
        seen.calls.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enters(&self) -> AtWork {
        self.lock().at_work += 1;
        AtWork(self.clone())
    }

    /// A handler is called: that of a protected call for the first time.
    fn begins(&self, policy: &MethodPolicy, request: &Request<Streaming<Vec<u8>>>) -> String {
        let call = request.session().ok().and_then(|session| Some((session.number(), session.call_id()?)));
        let mut seen = self.lock();
        seen.begun += 1;
        let key = call.filter(|_| policy.is_protected());
        if let Some((session, call)) = key
            && !seen.calls.insert((session, call))
        {
            seen.twice.push(call);
        }
        call.map(|(_, call)| call.to_string()).unwrap_or_default()
    }

    async fn handle(
        self,
        policy: &'static MethodPolicy,
        request: Request<Streaming<Vec<u8>>>,
    ) -> Result<Response<Words>, Status> {
        let at_work = self.enters();
        let call = self.begins(policy, &request);
        let words = match policy.name() {
            "Put" => put(request).await?,
            "Take" => take(request).await?,
            "Talk" => {
                if let Ok(dialog) = request.dialog() {
                    self.listen(&dialog);
                }
                echo(request.into_inner(), None)
            }
            "Turn" => {
                let dialog = request.dialog()?;
                self.listen(&dialog);
                echo(request.into_inner(), Some(dialog.turn()))
            }
            "Gather" => gather(request.into_inner(), call).await?,
            _ => {
                request.into_inner().message().await?.ok_or_else(|| Status::invalid_argument("nothing"))?;
                one(call)
            }
        };
        let guarded = stream::unfold((words, at_work), |(mut words, at_work)| async {
            words.next().await.map(|word| (word, (words, at_work)))
        });
        Ok(Response::new(Box::pin(guarded)))
    }

    /// Hears everything that passes by the messages, and agrees to whatever is asked.
    fn listen(&self, dialog: &Dialog) {
        let (typed, expedited, exceptions, asked, resyncs) =
            (dialog.clone(), dialog.clone(), dialog.clone(), dialog.clone(), dialog.clone());
        self.spawn(async move { while let Ok(Some(_)) = typed.typed().await {} });
        self.spawn(async move { while let Ok(Some(_)) = expedited.expedited().await {} });
        self.spawn(async move { while let Ok(Some(_)) = exceptions.exception().await {} });
        self.spawn(async move {
            while let Ok(Some(_)) = asked.asked().await {
                let _ = asked.give_all();
            }
        });
        self.spawn(async move {
            while let Ok(Some(request)) = resyncs.resynchronization().await {
                if let Ok(resynchronized) = request.confirm(Vec::new()).await {
                    resynchronized.go_on();
                }
            }
        });
    }

    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let at_work = self.enters();
        tokio::spawn(async move {
            work.await;
            drop(at_work);
        });
    }
}

/// Counts for as long as it is there.
#[derive(Debug)]
struct AtWork(Served);

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.lock().at_work -= 1;
    }
}

fn one(text: String) -> Words {
    Box::pin(stream::iter([Ok(text.into_bytes())]))
}

/// Secures each sync point with how many messages there were.
async fn put(request: Request<Streaming<Vec<u8>>>) -> Result<Words, Status> {
    let call = request.session().ok().and_then(SessionContext::call_id);
    let mut items = request.into_checkpointed()?;
    let mut count: u8 = items.resumed().and_then(|resumed| resumed.state().first().copied()).unwrap_or(0);
    while let Some(item) = items.next().await? {
        match item {
            Item::Message(_) => count = count.wrapping_add(1),
            Item::SyncPoint(point) => point.secure(vec![count]).await?,
        }
    }
    Ok(one(call.map(|call| call.to_string()).unwrap_or_default()))
}

/// Gives as many messages as the first byte of the request says, with a sync point of its own behind every third.
async fn take(request: Request<Streaming<Vec<u8>>>) -> Result<Words, Status> {
    let checkpoints = request.checkpoints().ok();
    let first = checkpoints.as_ref().and_then(Checkpoints::resumed);
    let first = first.map_or(0, |resumed| resumed.position().messages);
    let asked = request.into_inner().message().await?.unwrap_or_default();
    let last = u64::from(asked.first().copied().unwrap_or(0));
    let Some(checkpoints) = checkpoints else {
        return Ok(Box::pin(stream::iter((first..last).map(|index| Ok(index.to_be_bytes().to_vec())))));
    };
    let items = (first..last).flat_map(|index| {
        let message = Outgoing::Message(index.to_be_bytes().to_vec());
        let point = (index % 3 == 2).then(|| Outgoing::SyncPoint(vec![7].into()));
        [Some(message), point].into_iter().flatten().map(Ok)
    });
    Ok(Box::pin(checkpoints.outgoing_results(stream::iter(items))))
}

/// Reads everything as an ordinary handler does.
async fn gather(mut words: Streaming<Vec<u8>>, call: String) -> Result<Words, Status> {
    while words.message().await?.is_some() {}
    Ok(one(call))
}

/// Says again what it hears; where the sides take turns, in its own.
fn echo(words: Streaming<Vec<u8>>, turn: Option<Turn>) -> Words {
    let state = (words, turn, None::<Speaking>);
    Box::pin(stream::try_unfold(state, |(mut words, turn, speaking)| async move {
        if let Some(speaking) = speaking {
            speaking.give();
        }
        let Some(word) = words.message().await? else { return Ok(None) };
        let speaking = match &turn {
            Some(turn) => Some(turn.wait().await?),
            None => None,
        };
        Ok(Some((word, (words, turn, speaking))))
    }))
}

impl NamedService for Served {
    const NAME: &'static str = "fuzz.v1.Methods";
}

impl Described for Served {
    const POLICY: &'static ServicePolicy =
        &ServicePolicy { name: Self::NAME, version: 0, hash: 0, methods: &METHODS };
}

impl Service<HttpRequest<Body>> for Served {
    type Response = HttpResponse<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: HttpRequest<Body>) -> Self::Future {
        let path = request.uri().path();
        let policy = METHODS.iter().find(|policy| policy.path == path).expect("only its methods are called");
        let handler = Handler { served: self.clone(), policy };
        Box::pin(async move {
            let codec = ProstCodec::<Vec<u8>, Vec<u8>>::default();
            Ok(Grpc::new(codec).streaming(handler, request).await)
        })
    }
}

/// One method, as tonic calls it.
struct Handler {
    served: Served,
    policy: &'static MethodPolicy,
}

impl Service<Request<Streaming<Vec<u8>>>> for Handler {
    type Response = Response<Words>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Words>, Status>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Streaming<Vec<u8>>>) -> Self::Future {
        Box::pin(self.served.clone().handle(self.policy, request))
    }
}
