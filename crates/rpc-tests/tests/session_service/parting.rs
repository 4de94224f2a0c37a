//! Who may release a session, the server that asks for it, and the answer that is asked for again.

use std::time::Duration;

use rpc_client::{Builder, End, Life, ReleaseError, ReleaseTokenError, Session, Summary};
use rpc_core::error::Reason;
use rpc_proto::pb::session::v1::attach_request::Event as Request;
use rpc_proto::pb::session::v1::attach_response::Event;
use rpc_proto::pb::session::v1::control_frame::{Holding, Token};
use rpc_proto::pb::session::v1::{
    self as pb, AttachRequest, AttachResponse, OpenRequest, ReleaseRequest, ReleaseWanted, TokensGiven, Unit,
};
use rpc_server::SessionEnd;
use rpc_tests::pb::ledger::v1::TestReply;
use rpc_tests::pb::streams::v1 as streams;
use rpc_tests::pb::streams::v1::test_streams_client::TestStreamsClient;
use rpc_tests::pb::wards::v1::Order;
use rpc_tests::pb::wards::v1::test_wards_client::TestWardsClient;
use rpc_tests::pb::wards::v1::test_wards_server::TestWardsServer;
use rpc_tests::server::TestServer;
use rpc_tests::session::{Opened, booking, proposal};
use rpc_tests::streams::chunk;
use rpc_tests::wards::Wards;
use rpc_tests::{soon, token};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

use crate::reason;

async fn served(wards: &Wards) -> TestServer {
    let (hook, service) = (wards.hook(), TestWardsServer::new(wards.clone()));
    TestServer::start_with(|builder| builder.service(service).on_session_end(hook)).await
}

async fn negotiated(server: &TestServer) -> Opened {
    let units = vec![Unit::ExactlyOnce.into(), Unit::NegotiatedRelease.into()];
    let open = OpenRequest { units, ..proposal() };
    Opened::propose(&server.connect().await, "alice", open).await.unwrap()
}

async fn open(server: &TestServer, configure: impl FnOnce(Builder) -> Builder) -> Session {
    let builder = Session::builder(format!("http://{}", server.address()));
    configure(builder.credentials(token::token("alice", &[]))).open().await.unwrap()
}

/// Has the handler do something with its session.
async fn tell<T>(channel: T, what: &str, within_ms: u32) -> Result<String, Status>
where
    T: tonic::client::GrpcService<tonic::body::Body>,
    T::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    T::ResponseBody: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    <T::ResponseBody as http_body::Body>::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send,
{
    let order = Order { what: what.into(), within_ms };
    soon(what, TestWardsClient::new(channel).tell(order)).await.map(|word| word.into_inner().text)
}

/// Waits until the handler says that.
async fn until_told(session: &Opened, what: &str, text: &str) {
    let told = async {
        while tell(session.channel(), what, 0).await.unwrap() != text {
            tokio::task::yield_now().await;
        }
    };
    soon(what, told).await;
}

struct Attached {
    say: mpsc::Sender<AttachRequest>,
    hear: Streaming<AttachResponse>,
}

impl Attached {
    async fn to(session: &Opened) -> Self {
        let (say, requests) = mpsc::channel(8);
        let attached = soon("attach", session.service().attach(ReceiverStream::new(requests))).await.unwrap();
        Self { say, hear: attached.into_inner() }
    }

    async fn say(&self, event: Request) {
        self.say.send(AttachRequest { event: Some(event) }).await.unwrap();
    }

    async fn next(&mut self) -> Event {
        soon("an event", self.hear.message()).await.unwrap().unwrap().event.unwrap()
    }
}

fn given(generation: u64, mine: bool) -> TokensGiven {
    TokensGiven { holdings: vec![Holding { token: Token::Release.into(), generation, mine }] }
}

//= test D-21
//= test L-38
//= test L-39
//= test I19
#[tokio::test]
async fn a_release_without_the_token_is_refused_at_once_and_changes_nothing() {
    let server = served(&Wards::default()).await;
    let alice = negotiated(&server).await;
    let mut attached = Attached::to(&alice).await;
    assert_eq!(attached.next().await, Event::Given(given(0, false)), "the initiator has the first turn");
    let not_its_own = tell(alice.channel(), "give", 0).await.unwrap_err();
    assert_eq!(reason(&not_its_own), Reason::DialogTokenMissing);
    attached.say(Request::Given(given(1, false))).await;
    until_told(&alice, "owns", "true").await;
    let refused = alice.service().release(ReleaseRequest::default()).await.unwrap_err();
    assert_eq!(reason(&refused), Reason::ReleaseRefused);
    alice.transfer("0.1.0", &booking("as before")).await.message::<TestReply>();
    // Another connection learns of it first of all, and a late message changes nothing.
    let over = alice.over(&server.connect().await);
    let mut second = Attached::to(&over).await;
    assert_eq!(second.next().await, Event::Given(given(1, true)));
    second.say(Request::Given(given(0, true))).await;
    tell(over.channel(), "give", 0).await.unwrap();
    assert_eq!(second.next().await, Event::Given(given(2, false)));
    over.service().release(ReleaseRequest::default()).await.unwrap();
}

//= test L-39
#[tokio::test]
async fn who_says_what_cannot_be_of_the_token_is_sent_away() {
    let server = served(&Wards::default()).await;
    let alice = negotiated(&server).await;
    for wrong in [given(0, false), TokensGiven { holdings: vec![Holding::default()] }] {
        let mut attached = Attached::to(&alice).await;
        attached.next().await;
        attached.say(Request::Given(wrong)).await;
        let ended = async {
            while attached.hear.message().await?.is_some() {}
            Ok::<_, Status>(())
        };
        assert_eq!(reason(&soon("the end", ended).await.unwrap_err()), Reason::ProtocolViolated);
    }
    until_told(&alice, "owns", "false").await;
}

//= test L-37
//= test L-43
//= test L-26
#[tokio::test]
async fn the_answer_to_a_release_can_be_asked_for_again() {
    let server = TestServer::start().await;
    let channel = server.connect().await;
    let alice = Opened::open(&channel).await;
    alice.transfer("0.1.0", &booking("well")).await;
    let fails = rpc_tests::pb::ledger::v1::TestRequest { fail: true, ..booking("not well") };
    alice.transfer("1.1.0", &fails).await;
    let release = async |session: &Opened| {
        let released = session.service().release(ReleaseRequest::default()).await;
        released.map(|released| released.into_inner().summary.unwrap())
    };
    let first = release(&alice).await.unwrap();
    let none = Some(pb::Position::default());
    let summary = pb::Summary {
        calls: 2,
        calls_done: 1,
        calls_failed: 1,
        calls_unknown: 0,
        requests: none,
        responses: none,
    };
    assert_eq!(first, summary);
    let elsewhere = alice.over(&server.connect().await);
    assert_eq!(release(&elsewhere).await.unwrap(), first);
    let strangers = [alice.with_ticket(&[7; 32]), alice.with_number(u64::from(u32::MAX))];
    for stranger in strangers {
        assert_eq!(reason(&release(&stranger).await.unwrap_err()), Reason::SessionUnknown);
    }
    assert_eq!(alice.transfer("0.2.0", &booking("late")).await.reason(), Some(Reason::SessionUnknown));
    let aborted = Opened::open(&channel).await;
    aborted.abort().await;
    assert_eq!(reason(&release(&aborted).await.unwrap_err()), Reason::SessionUnknown);
}

//= test L-40
#[tokio::test]
async fn a_session_that_is_not_released_when_asked_is_aborted() {
    let wards = Wards::default();
    let server = served(&wards).await;
    let alice = Opened::open(&server.connect().await).await;
    let mut attached = Attached::to(&alice).await;
    let asking = tokio::spawn(tell(alice.channel(), "ask", 50));
    let Event::ReleaseWanted(ReleaseWanted { within: Some(within) }) = attached.next().await else {
        panic!("nothing is wanted")
    };
    assert!(within.seconds == 0 && within.nanos <= 50_000_000, "{within:?}");
    // It may not be declined where that was not negotiated.
    attached.say(Request::ReleaseDeclined(pb::ReleaseDeclined {})).await;
    assert_eq!(asking.await.unwrap().unwrap(), "Aborted");
    wards.until("the end", |seen| seen.ended.iter().any(|ended| ended.end == SessionEnd::Aborted)).await;
}

//= test L-40
//= test D-22
#[tokio::test]
async fn a_client_that_is_asked_for_the_release_finishes_its_calls_and_releases() {
    let wards = Wards::default();
    let server = served(&wards).await;
    let session = open(&server, |builder| builder).await;
    let asking = tokio::spawn(tell(session.clone(), "ask", 10_000));
    let mut state = session.state();
    soon("the release", state.wait_for(|state| state.life == Life::Ended(End::Released))).await.unwrap();
    wards.until("the end", |seen| seen.ended.iter().any(|ended| ended.end == SessionEnd::Released)).await;
    assert_eq!(session.release().await.unwrap(), Summary::default());
    // A plain call is not waited for.
    let _ = asking.await.unwrap();
}

//= test L-41
//= test L-38
//= test D-21
//= test D-6
#[tokio::test]
async fn where_release_is_negotiated_the_token_decides_who_asks_and_the_other_may_decline() {
    let server = served(&Wards::default()).await;
    let session = open(&server, |builder| builder.unit(rpc_client::Unit::NegotiatedRelease)).await;
    assert!(session.owns_release());
    let early = tell(session.clone(), "ask", 5_000).await.unwrap_err();
    assert_eq!(early.code(), Code::FailedPrecondition, "the acceptor does not own the token");
    let pleading = tokio::spawn(tell(session.clone(), "please", 10_000));
    soon("the request", async {
        while session.release_asked() != Some(3) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    session.give_release().unwrap();
    assert_eq!(pleading.await.unwrap().unwrap(), "()");
    assert!(matches!(session.release().await, Err(ReleaseError::TokenMissing)));
    let never = session.please_release(1, Duration::from_millis(20)).await;
    assert_eq!(never, Err(ReleaseTokenError::Unanswered));
    let hold = session.hold_release().unwrap();
    let declined = tell(session.clone(), "ask", 10_000).await.unwrap_err();
    assert_eq!(reason(&declined), Reason::ReleaseRefused);
    tell(session.clone(), "give", 0).await.unwrap();
    soon("the token", session.please_release(1, Duration::from_secs(10))).await.unwrap();
    drop(hold);
    assert_eq!(session.release().await.unwrap(), Summary::default());
}

//= test L-41
#[tokio::test]
async fn nobody_declines_what_was_not_negotiated() {
    let server = served(&Wards::default()).await;
    let session = open(&server, |builder| builder).await;
    assert!(matches!(session.hold_release(), Err(ReleaseTokenError::UnitOff)));
    assert_eq!(session.give_release(), Err(ReleaseTokenError::UnitOff));
    // Its future may be a task of its own.
    tokio::spawn(async move { session.release().await }).await.unwrap().unwrap();
}

//= test L-37
//= test D-22
#[tokio::test]
async fn the_answer_says_how_far_the_streams_came() {
    let server = TestServer::with_streams().await;
    let session = open(&server, Builder::service::<TestStreamsClient<Session>>).await;
    let mut streams = TestStreamsClient::new(session.clone());
    let chunks = tokio_stream::iter((0..100).map(|index| chunk(index, 10)));
    soon("the upload", streams.upload(chunks)).await.unwrap();
    let wanted = streams::Request { chunks: 50, payload_bytes: 10, pause_ms: 0 };
    let mut chunks = soon("the download", streams.download(wanted)).await.unwrap().into_inner();
    while soon("a chunk", chunks.message()).await.unwrap().is_some() {}
    let summary = soon("the release", session.release()).await.unwrap();
    assert_eq!((summary.calls, summary.done, summary.failed, summary.unknown), (2, 2, 0, 0));
    // With the one request of the download, and the one response of the upload.
    assert_eq!((summary.requests.messages, summary.responses.messages), (101, 51));
}
