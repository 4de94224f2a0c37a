//! A program without a session library, whose server is killed.

use std::path::Path;
use std::time::Duration;

use rpc_client::{ActivityResume, OutcomeExt as _, Reason};
use rpc_core::id::{SessionId, Ticket};
use rpc_crash::caller::{self, Client};
use rpc_crash::parts::{content, part};
use rpc_crash::pb::vault_client::VaultClient;
use rpc_crash::pb::{Part, Stored};
use rpc_crash::process::Process;
use rpc_crash::streamer::{self, Kind, Streamed};
use rpc_crash::trust::{AUDIENCE, ISSUER, SECRET};
use rpc_crash::vault::streams::NAME;
use rpc_proto::headers::{SESSION, SESSION_TICKET, session_value, ticket_value};
use rpc_proto::pb::session::v1::query_response::State;
use rpc_proto::pb::session::v1::session_service_client::SessionServiceClient;
use rpc_proto::pb::session::v1::{OpenRequest, QueryRequest, QueryResponse, Unit};
use rpc_server::auth::JwtIssuer;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use super::Scratch;

const SEED: u64 = 5;
const PARTS: u64 = 200;

/// What a program has to remember.
pub(super) struct Program {
    has_activity: bool,
    number: SessionId,
    ticket: Ticket,
}

pub(super) async fn connect(server: &Process) -> Channel {
    Endpoint::new(format!("http://{}", server.address())).unwrap().connect().await.unwrap()
}

impl Program {
    pub(super) async fn open(server: &Process, has_activity: bool) -> Self {
        let issuer = JwtIssuer::hs256(SECRET, ISSUER, AUDIENCE).unwrap();
        let token = issuer.token("by-hand", &[], Duration::from_secs(7_200)).unwrap();
        let units = [Unit::ExactlyOnce, Unit::MinorSynchronize, Unit::Resume, Unit::Activity, Unit::Durable];
        let units = units.map(i32::from).to_vec();
        let nonce = vec![7; 16].into();
        let mut request = Request::new(OpenRequest { nonce, units, ..OpenRequest::default() });
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        let opened =
            SessionServiceClient::new(connect(server).await).open(request).await.unwrap().into_inner();
        assert!(opened.units.contains(&i32::from(Unit::Durable)), "the store is durable");
        let ticket = Ticket(opened.ticket[..].try_into().unwrap());
        Self { has_activity, number: SessionId::new(opened.number).unwrap(), ticket }
    }

    pub(super) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let mut headers = MetadataMap::new().into_headers();
        headers.insert(SESSION, session_value(self.number));
        headers.insert(SESSION_TICKET, ticket_value(&self.ticket));
        *request.metadata_mut() = MetadataMap::from_headers(headers);
        request
    }

    /// Sends an attempt with these parts. It ends if `ends`.
    pub(super) async fn upload(
        &self,
        server: &Process,
        attempt: u64,
        parts: std::ops::Range<u64>,
        ends: bool,
    ) -> Result<Stored, Status> {
        let (give, given) = mpsc::channel::<Part>(1);
        let mut request = self.request(ReceiverStream::new(given));
        let call = format!("0.1.{attempt}").parse().unwrap();
        request.metadata_mut().insert("session-call", call);
        request.metadata_mut().insert(NAME, "hand".parse().unwrap());
        if self.has_activity {
            request.metadata_mut().insert_bin("session-activity-bin", MetadataValue::from_bytes(b"dump"));
        }
        let mut client = VaultClient::new(connect(server).await);
        let giving = async {
            for number in parts {
                if give.send(part(SEED, number)).await.is_err() {
                    break;
                }
            }
            if ends {
                drop(give);
            } else {
                std::future::pending::<()>().await;
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            stored = client.upload(request) => stored.map(tonic::Response::into_inner),
            () = giving => unreachable!("it waits for the answer"),
        }
    }

    /// Makes the first attempt, until something is secured.
    pub(super) async fn begin(&self, server: &Process) {
        let secured = async {
            while place(&self.query(server).await) == 0 {
                sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            stored = self.upload(server, 0, 0..60, false) => panic!("{stored:?}"),
            secured = timeout(Duration::from_secs(30), secured) => secured.unwrap(),
        }
    }

    async fn query(&self, server: &Process) -> QueryResponse {
        let question = QueryRequest { slot: 0, sequence: 1, ..QueryRequest::default() };
        let mut service = SessionServiceClient::new(connect(server).await);
        service.query(self.request(question)).await.unwrap().into_inner()
    }
}

pub(super) fn place(response: &QueryResponse) -> u64 {
    let secured = response.resumption.as_ref().and_then(|resumption| resumption.requests.as_ref());
    secured.and_then(|secured| secured.position).map_or(0, |position| position.messages)
}

//= test S-28, S-29
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_by_hand_asks_again_after_a_crash_and_goes_on() {
    let scratch = Scratch::new("by-hand");
    let mut server = Process::start(Path::new(env!("CARGO_BIN_EXE_vault")), &scratch.0).await.unwrap();
    let program = Program::open(&server, false).await;
    program.begin(&server).await;
    server.kill().await.unwrap();
    server.restart().await.unwrap();
    // It was told a place, or another one, or none: the new server cannot know.
    let refused = program.upload(&server, 1, 0..PARTS, true).await.unwrap_err();
    assert_eq!(refused.reason(), Some(Reason::StreamIncomplete), "{refused:?}");
    let told = program.query(&server).await;
    assert_eq!(told.state(), State::Unknown);
    let from = place(&told);
    assert!(from > 0, "{told:?}");
    let stored = program.upload(&server, 2, from..PARTS, true).await.unwrap();
    assert_eq!(stored.parts, PARTS);
    let again = program.upload(&server, 3, from..PARTS, true).await.unwrap();
    assert_eq!(again, stored, "the record");
    server.kill().await.unwrap();
    assert!(std::fs::read(scratch.0.join("streams/hand")).unwrap() == content(SEED, PARTS));
}

/// Two handlers would work on it.
//= test D-20, D-26
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_comes_back_to_an_activity_of_another_is_refused() {
    let scratch = Scratch::new("taken-over");
    let mut server = Process::start(Path::new(env!("CARGO_BIN_EXE_vault")), &scratch.0).await.unwrap();
    let (slow, back) = (Program::open(&server, true).await, 1);
    slow.begin(&server).await;
    server.kill().await.unwrap();
    server.restart().await.unwrap();
    let told = slow.query(&server).await;
    assert!(told.state() == State::Unknown && place(&told) > 0, "{told:?}");
    let session = caller::open(server.address(), "by-hand").await.unwrap();
    let ActivityResume::Interrupted(checkpoints) = session.resume_activity("dump").await.unwrap() else {
        panic!("it was at work when its server was killed")
    };
    let upload = Streamed { kind: Kind::Upload, name: "hand".into(), seed: SEED, parts: PARTS };
    let (moved, _) = watch::channel(0);
    let mut client = Client::new(session.clone());
    streamer::upload_from(&mut client, &checkpoints, &upload, &moved).await.unwrap();
    let refused = slow.upload(&server, back, place(&told)..PARTS, true).await.unwrap_err();
    assert_eq!(refused.reason(), Some(Reason::ActivityMoved), "{refused:?}");
    session.release().await.unwrap();
    server.kill().await.unwrap();
    let diary = std::fs::read_to_string(scratch.0.join("streams/diary")).unwrap();
    assert_eq!(diary.matches("begin").count(), 2, "{diary}");
    assert!(std::fs::read(scratch.0.join("streams/hand")).unwrap() == content(SEED, PARTS));
}
