//! Calls that their callers stopped, at a server that is killed afterwards.

use std::path::Path;
use std::time::Duration;

use rpc_client::{OutcomeExt as _, Reason};
use rpc_crash::pb::vault_client::VaultClient;
use rpc_crash::pb::{Entry, Noted};
use rpc_crash::process::Process;
use rpc_proto::pb::session::v1::query_response::State;
use rpc_proto::pb::session::v1::session_service_client::SessionServiceClient;
use rpc_proto::pb::session::v1::{QueryRequest, QueryResponse};
use tokio::time::{sleep, timeout};
use tonic::Status;

use super::Scratch;
use super::by_hand::{Program, connect, place};

/// Longer than any test.
const LONG: Duration = Duration::from_secs(3_600);

async fn query(program: &Program, server: &Process, cancel: bool) -> QueryResponse {
    let question = QueryRequest { slot: 0, sequence: 1, cancel, ..QueryRequest::default() };
    let mut service = SessionServiceClient::new(connect(server).await);
    service.query(program.request(question)).await.unwrap().into_inner()
}

/// Stops the call, and waits until it is.
async fn stop(program: &Program, server: &Process) {
    let stopped = async {
        while query(program, server, true).await.state() != State::Unknown {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(30), stopped).await.unwrap();
}

/// Calls a handler that may run again after a crash, and takes long.
async fn note_again(program: &Program, server: &Process, attempt: u64) -> Result<Noted, Status> {
    let delay_us = u32::try_from(LONG.as_micros()).unwrap();
    let entry = Entry { id: "stopped".into(), delay_us, ..Entry::default() };
    let mut request = program.request(entry);
    request.metadata_mut().insert("session-call", format!("0.1.{attempt}").parse().unwrap());
    let noted = VaultClient::new(connect(server).await).note_again(request).await;
    noted.map(tonic::Response::into_inner)
}

/// The store had such a call as begun, and the next server ran it again for whoever asked.
//= test C-36
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_call_does_not_run_at_the_next_server() {
    let scratch = Scratch::new("stopped-call");
    let mut server = Process::start(Path::new(env!("CARGO_BIN_EXE_vault")), &scratch.0).await.unwrap();
    let program = Program::open(&server, false).await;
    let running = async {
        while query(&program, &server, false).await.state() != State::Running {
            sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        noted = note_again(&program, &server, 0) => panic!("{noted:?}"),
        running = timeout(Duration::from_secs(30), running) => running.unwrap(),
    }
    stop(&program, &server).await;
    server.kill().await.unwrap();
    server.restart().await.unwrap();
    assert_eq!(query(&program, &server, false).await.state(), State::Unknown);
    let late = timeout(Duration::from_secs(30), note_again(&program, &server, 1)).await;
    let refused = late.expect("its handler does not run").unwrap_err();
    assert_eq!(refused.reason(), Some(Reason::OutcomeUnknown), "{refused:?}");
}

//= test C-36
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_stream_does_not_go_on_at_the_next_server() {
    let scratch = Scratch::new("stopped-stream");
    let mut server = Process::start(Path::new(env!("CARGO_BIN_EXE_vault")), &scratch.0).await.unwrap();
    let program = Program::open(&server, false).await;
    program.begin(&server).await;
    stop(&program, &server).await;
    server.kill().await.unwrap();
    server.restart().await.unwrap();
    let told = query(&program, &server, false).await;
    assert_eq!((told.state(), place(&told)), (State::Unknown, 0), "{told:?}");
    let refused = program.upload(&server, 1, 0..60, true).await.unwrap_err();
    assert_eq!(refused.reason(), Some(Reason::OutcomeUnknown), "{refused:?}");
    server.kill().await.unwrap();
    let diary = std::fs::read_to_string(scratch.0.join("streams/diary")).unwrap();
    assert_eq!(diary.matches("begin").count(), 1, "{diary}");
}
