//! A program that opens, calls, streams, renews, is refused, and ends its sessions, and prints whatever it holds.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt as _;
use rpc_client::credentials::{Token, from_fn};
use rpc_client::{
    ActivityResume, CallInfo, Checkpoints, CheckpointsExt as _, Event, Item, Outgoing, SavedSession, Session,
    Tls,
};
use rpc_tests::pb::ledger::v1::TestRequest;
use rpc_tests::pb::ledger::v1::test_ledger_client::TestLedgerClient;
use rpc_tests::pb::vault::v1::FetchRequest;
use rpc_tests::pb::vault::v1::vault_client::VaultClient;
use rpc_tests::soon;
use tonic::Status;

use super::canaries::{ACTIVITY, CLIENT_STATE, PAYLOAD};
use super::keeper::chunk;
use super::log::Log;
use super::{chain, token};

pub(crate) async fn does_everything(log: &Log, address: SocketAddr, trusted: &str) {
    let session = open(log, address, trusted).await;
    let mut events = session.events();
    unary(log, &session).await;
    streams(log, &session).await;
    activity(log, &session).await;
    // Tokens last for seconds, so the session is renewed, with a new ticket.
    loop {
        let event = soon("a renewal", events.next()).await.unwrap();
        log.write("client", &format!("{event:?}"));
        if matches!(event, Event::AuthorityRenewed { ticket_rotated: true }) {
            break;
        }
    }
    unary(log, &session).await;
    let saved = session.export();
    let copy = SavedSession::from_bytes(&saved.to_bytes()).unwrap();
    log.write(
        "client",
        &format!("{saved:?} {copy:?} {:?}", SavedSession::from_bytes(&saved.to_bytes()[1..])),
    );
    let summary = soon("the release", session.release()).await;
    log.write("client", &format!("{session:?} {summary:?}"));
    let status = TestLedgerClient::new(session).transfer(request(false, false)).await.unwrap_err();
    log.write("client", &chain(&status));

    let session = open(log, address, trusted).await;
    let fates = soon("the abort", session.abort("it is enough")).await;
    log.write("client", &format!("{fates:?}"));
    refused(log, address, trusted).await;
}

fn builder(address: SocketAddr, trusted: &str) -> rpc_client::Builder {
    let credentials = from_fn(|| async {
        let lasts = Duration::from_secs(4);
        Ok(Token::new(token(lasts)).expires_in(lasts))
    });
    Session::builder(format!("https://localhost:{}", address.port()))
        .credentials(credentials)
        .service::<TestLedgerClient<Session>>()
        .service::<VaultClient<Session>>()
        .tls(Tls::with_ca_pem(trusted).unwrap())
        .open_timeout(Duration::from_secs(10))
}

async fn open(log: &Log, address: SocketAddr, trusted: &str) -> Session {
    let builder = builder(address, trusted);
    log.write("client", &format!("{builder:?} {:?}", Token::new(token(Duration::from_secs(9)))));
    let session = builder.open().await.unwrap();
    let state = session.state();
    log.write(
        "client",
        &format!("{session:?} {:?} {:?} {:?}", session.agreement(), *state.borrow(), session.events()),
    );
    session
}

fn request(fail: bool, panic: bool) -> TestRequest {
    TestRequest { id: "a".into(), fail, panic, payload: PAYLOAD.into(), ..TestRequest::default() }
}

fn print<T>(log: &Log, answer: &Result<tonic::Response<T>, Status>) {
    match answer {
        // The message is the application's own; what lies around it is ours.
        Ok(response) => log.write(
            "client",
            &format!("{:?} {:?}", response.metadata(), response.extensions().get::<CallInfo>()),
        ),
        Err(status) => log.write("client", &chain(status)),
    }
}

async fn unary(log: &Log, session: &Session) {
    let mut client = TestLedgerClient::new(session.clone());
    for (fail, panic) in [(false, false), (true, false), (false, true)] {
        let answer = client.transfer(request(fail, panic)).await;
        if let Some(info) =
            answer.as_ref().ok().and_then(|reply| reply.extensions().get::<CallInfo>().cloned())
        {
            log.write("client", &format!("{info:?} {:?}", session.query(info.call).await));
        }
        print(log, &answer);
        print(log, &client.echo(request(fail, panic)).await);
    }
    // No scope, and no time.
    print(log, &client.admin(request(false, false)).await);
    let mut hasty = tonic::Request::new(TestRequest { delay_ms: 500, ..request(false, false) });
    hasty.set_timeout(Duration::from_millis(20));
    print(log, &client.transfer(hasty).await);
}

fn items() -> impl tokio_stream::Stream<Item = Outgoing<rpc_tests::pb::streams::v1::Chunk>> + Send + 'static {
    futures_util::stream::iter(0..25).flat_map(|index| {
        let point = (index % 10 == 9).then(|| Outgoing::SyncPoint(CLIENT_STATE.into()));
        futures_util::stream::iter([Some(Outgoing::Message(chunk(index))), point].into_iter().flatten())
    })
}

async fn streams(log: &Log, session: &Session) {
    let mut client = VaultClient::new(session.clone());
    let checkpoints = Checkpoints::new();
    let upload = checkpoints.request(checkpoints.outgoing(items()));
    print(log, &soon("the upload", client.store(upload)).await);
    log.write(
        "client",
        &format!("{checkpoints:?} {:?} {:?}", checkpoints.progress(), checkpoints.resumption()),
    );
    let checkpoints = Checkpoints::new();
    let upload = checkpoints.request(checkpoints.outgoing(items()));
    print(log, &soon("the failure", client.store_stoppable(upload)).await);
    print(log, &soon("the panic", client.ignore(futures_util::stream::iter((0..5).map(chunk)))).await);

    let fetched = soon("the head", client.fetch(FetchRequest { chunks: 20 })).await.unwrap();
    let mut fetched = fetched.into_checkpointed().unwrap();
    log.write("client", &format!("{fetched:?}"));
    while let Some(item) = soon("an item", fetched.next()).await.unwrap() {
        log.write("client", &format!("{item:?}"));
        if let Item::SyncPoint(point) = item {
            point.secure(CLIENT_STATE).await.unwrap();
        }
    }
    // Dropped in the middle.
    let mut fetched =
        soon("the head", client.fetch(FetchRequest { chunks: 100_000 })).await.unwrap().into_inner();
    soon("a chunk", fetched.message()).await.unwrap();
}

async fn activity(log: &Log, session: &Session) {
    let ActivityResume::New(checkpoints) = session.resume_activity(ACTIVITY).await.unwrap() else {
        panic!("nobody has worked on it")
    };
    let mut client = VaultClient::new(session.clone());
    let endless = items().chain(futures_util::stream::pending());
    let upload = checkpoints.request(checkpoints.outgoing(endless));
    let call = tokio::spawn(async move { client.note(upload).await });
    let watch = soon("the upload begins", checkpoints.started()).await;
    soon("a point", async {
        while watch.as_ref().is_some_and(|watch| watch.progress().sent_secured.messages < 20) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    log.write("client", &format!("{checkpoints:?} {:?} {watch:?}", session.activity(ACTIVITY).await));
    let resumed = soon("the activity", session.resume_activity(ACTIVITY)).await;
    log.write("client", &format!("{resumed:?}"));
    call.abort();
    let _ = call.await;
    if let Ok(ActivityResume::Interrupted(checkpoints)) = resumed {
        let (out, back) = (checkpoints.resumed(), checkpoints.resumed_incoming());
        log.write("client", &format!("{checkpoints:?} {:?} {out:?} {back:?}", checkpoints.resumption()));
    }
    let discarded = soon("the discarding", session.discard_activity(ACTIVITY)).await;
    log.write("client", &format!("{discarded:?}"));
}

/// Openings that fail.
async fn refused(log: &Log, address: SocketAddr, trusted: &str) {
    let session = Session::builder(format!("https://localhost:{}", address.port()));
    let wrong = token(Duration::from_secs(60)).replace('.', "._");
    let refused =
        session.credentials(wrong).tls(Tls::with_ca_pem(trusted).unwrap()).open().await.unwrap_err();
    log.write("client", &chain(&refused));
    let untrusted = Session::builder(format!("https://localhost:{}", address.port()))
        .credentials(token(Duration::from_secs(60)))
        .open_timeout(Duration::from_millis(500));
    log.write("client", &chain(&untrusted.open().await.unwrap_err()));
}
