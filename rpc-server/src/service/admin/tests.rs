use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use rpc_core::store::operations::{Contents, Copied, Statistics, StoreId};
use rpc_core::store::{MemoryStore, StoreError};
use rpc_proto::pb::session::v1::admin_service_client::AdminServiceClient;
use rpc_proto::status::Details;
use tokio::sync::watch;
use tokio_stream::StreamExt as _;
use tonic::Code;
use tonic::service::Routes;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tower_layer::Layer as _;

use super::*;
use crate::Server;
use crate::auth::{JwtAuthenticator, JwtIssuer, Key, TrustedIssuer};
use crate::server::Stack;

const SECRET: &[u8] = &[7; 32];
const OPERATOR: &[&str] = &["session.admin"];

/// A store that does what a test says.
#[derive(Default)]
struct Fake {
    asked: AtomicUsize,
    names: Mutex<BTreeSet<String>>,
    running: AtomicBool,
    /// Backups wait until they are let go or are to stop.
    held: AtomicBool,
    fails: Mutex<Option<OperationError>>,
    panics: AtomicBool,
    /// How many backups have begun, and how many were given up.
    begun: watch::Sender<u32>,
    stopped: watch::Sender<u32>,
}

impl Fake {
    fn fail(&self, error: OperationError) {
        *self.fails.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }

    fn failure(&self) -> Result<(), OperationError> {
        assert!(!self.panics.load(Ordering::SeqCst), "as the test wants");
        self.fails.lock().unwrap_or_else(PoisonError::into_inner).clone().map_or(Ok(()), Err)
    }

    fn copy(&self, name: &BackupName, goes_on: &dyn Fn() -> bool) -> Result<Copied, OperationError> {
        self.begun.send_modify(|begun| *begun += 1);
        while self.held.load(Ordering::SeqCst) {
            if !goes_on() {
                return Err(OperationError::Stopped);
            }
            thread::yield_now();
        }
        if !self.names.lock().unwrap().insert(name.to_string()) {
            return Err(OperationError::NameTaken);
        }
        Ok(Copied { id: StoreId([9; 16]), commits: 5, ..Copied::default() })
    }
}

impl Operations for Fake {
    fn statistics(&self) -> Result<Statistics, StoreError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        match self.failure() {
            Err(OperationError::Store(error)) => Err(error),
            _ => {
                let contents = Contents { sessions_live: 3, ..Contents::default() };
                Ok(Statistics { contents, closed: Some("full".into()), ..Statistics::default() })
            }
        }
    }

    fn backup(&self, name: &BackupName, goes_on: &dyn Fn() -> bool) -> Result<Copied, OperationError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.failure()?;
        if self.running.swap(true, Ordering::SeqCst) {
            return Err(OperationError::Running);
        }
        let copied = self.copy(name, goes_on);
        self.running.store(false, Ordering::SeqCst);
        if copied == Err(OperationError::Stopped) {
            self.stopped.send_modify(|stopped| *stopped += 1);
        }
        copied
    }
}

fn serve(operations: Option<&Arc<Fake>>) -> Stack<Routes> {
    let issuer = TrustedIssuer::new("https://id.test", "admin").key(Key::hs256(SECRET).unwrap());
    let builder =
        Server::builder().authenticate(JwtAuthenticator::new(issuer).unwrap()).store(MemoryStore::new());
    let builder = match operations {
        Some(operations) => builder.operations(Arc::clone(operations)),
        None => builder,
    };
    let stack = builder.stack().unwrap();
    stack.layer().layer(stack.routes().prepare())
}

fn scene() -> (Arc<Fake>, AdminServiceClient<Stack<Routes>>) {
    let fake = Arc::new(Fake::default());
    let client = AdminServiceClient::new(serve(Some(&fake)));
    (fake, client)
}

fn with_scopes<T>(message: T, scopes: &[&str]) -> Request<T> {
    let issuer = JwtIssuer::hs256(SECRET, "https://id.test", "admin").unwrap();
    let token = issuer.token("olga", scopes, Duration::from_secs(60)).unwrap();
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    request
}

fn stats() -> Request<StatsRequest> {
    with_scopes(StatsRequest {}, OPERATOR)
}

fn backup(name: &str) -> Request<BackupRequest> {
    with_scopes(BackupRequest { name: name.into() }, OPERATOR)
}

#[track_caller]
fn refused<T: std::fmt::Debug>(answer: Result<T, Status>, reason: Reason, code: Code) -> Status {
    let status = answer.unwrap_err();
    assert_eq!((Details::of(&status).reason, status.code()), (Some(reason), code), "{status:?}");
    status
}

#[tokio::test]
async fn an_operator_counts_and_copies() {
    let (_fake, mut client) = scene();
    let counted = client.stats(stats()).await.unwrap().into_inner();
    assert_eq!(counted.contents.unwrap().sessions_live, 3);
    assert_eq!(counted.closed.as_deref(), Some("full"), "a store that is closed is counted still");
    let copied = client.backup(backup("monday")).await.unwrap().into_inner();
    assert_eq!((copied.store, copied.commits), ("09".repeat(16), 5));
}

//= test A-27
#[tokio::test]
async fn who_is_no_operator_is_refused_before_the_store_is_asked() {
    let (fake, mut client) = scene();
    let anonymous = Request::new(StatsRequest {});
    refused(client.stats(anonymous).await, Reason::TokenMissing, Code::Unauthenticated);
    let anonymous = Request::new(BackupRequest { name: "../x".into() });
    refused(client.backup(anonymous).await, Reason::TokenMissing, Code::Unauthenticated);
    let mut forged = stats();
    forged.metadata_mut().insert("authorization", "Bearer x.y.z".parse().unwrap());
    refused(client.stats(forged).await, Reason::TokenInvalid, Code::Unauthenticated);
    for scopes in [&[][..], &["session"], &["session.admin.read"], &["SESSION.ADMIN"]] {
        let asked = client.stats(with_scopes(StatsRequest {}, scopes)).await;
        refused(asked, Reason::ScopeMissing, Code::PermissionDenied);
        let asked = client.backup(with_scopes(BackupRequest { name: "a".into() }, scopes)).await;
        refused(asked, Reason::ScopeMissing, Code::PermissionDenied);
    }
    assert_eq!(fake.asked.load(Ordering::SeqCst), 0);
}

async fn listed(stack: Stack<Routes>) -> Vec<String> {
    let request = ServerReflectionRequest {
        message_request: Some(MessageRequest::ListServices(String::new())),
        ..ServerReflectionRequest::default()
    };
    let mut client = ServerReflectionClient::new(stack);
    let mut answers = client.server_reflection_info(tokio_stream::once(request)).await.unwrap().into_inner();
    match answers.next().await.unwrap().unwrap().message_response.unwrap() {
        MessageResponse::ListServicesResponse(list) => {
            list.service.into_iter().map(|service| service.name).collect()
        }
        other => panic!("{other:?}"),
    }
}

//= test A-26
#[tokio::test]
async fn it_is_off_unless_the_program_switches_it_on() {
    let name = "session.v1.AdminService".to_owned();
    let mut client = AdminServiceClient::new(serve(None));
    refused(client.stats(stats()).await, Reason::MethodUnknown, Code::Unimplemented);
    refused(client.backup(backup("a")).await, Reason::MethodUnknown, Code::Unimplemented);
    refused(client.stats(Request::new(StatsRequest {})).await, Reason::TokenMissing, Code::Unauthenticated);
    let off = listed(serve(None)).await;
    assert!(!off.contains(&name) && off.contains(&"session.v1.SessionService".to_owned()), "{off:?}");
    let on = listed(serve(Some(&Arc::default()))).await;
    assert!(on.contains(&name), "{on:?}");
}

//= test A-28
#[tokio::test]
async fn a_name_that_is_a_path_is_refused() {
    let (fake, mut client) = scene();
    for name in ["", ".", "..", "../x", "/tmp/x", "a/b", "a\\b", ".x", "-x", "q w", "a\0b", &"a".repeat(65)] {
        let status = refused(client.backup(backup(name)).await, Reason::FieldInvalid, Code::InvalidArgument);
        assert!(name.len() < 3 || !status.message().contains(name), "{}", status.message());
    }
    assert_eq!(fake.asked.load(Ordering::SeqCst), 0);
}

//= test A-30
#[tokio::test]
async fn a_name_is_used_once_and_backups_are_made_one_at_a_time() {
    let (fake, client) = scene();
    fake.held.store(true, Ordering::SeqCst);
    let mut begun = fake.begun.subscribe();
    let mut other = client.clone();
    let first = tokio::spawn(async move { other.backup(backup("one")).await });
    begun.wait_for(|begun| *begun == 1).await.unwrap();
    let mut client = client;
    let second = refused(client.backup(backup("two")).await, Reason::BackupRunning, Code::ResourceExhausted);
    assert_eq!(Details::of(&second).retry_after, Some(RETRY_AFTER));
    client.stats(stats()).await.unwrap();
    fake.held.store(false, Ordering::SeqCst);
    first.await.unwrap().unwrap();
    refused(client.backup(backup("one")).await, Reason::BackupExists, Code::FailedPrecondition);
    client.backup(backup("two")).await.unwrap();
}

//= test A-29
#[tokio::test]
async fn a_backup_that_nobody_waits_for_is_given_up() {
    let (fake, mut client) = scene();
    fake.held.store(true, Ordering::SeqCst);
    let mut stopped = fake.stopped.subscribe();
    let mut hurried = backup("one");
    hurried.set_timeout(Duration::from_millis(50));
    let late = client.backup(hurried).await;
    refused(late, Reason::DeadlineExceeded, Code::DeadlineExceeded);
    stopped.wait_for(|stopped| *stopped == 1).await.unwrap();

    let mut begun = fake.begun.subscribe();
    let mut other = client.clone();
    let left = tokio::spawn(async move { other.backup(backup("one")).await });
    begun.wait_for(|begun| *begun == 2).await.unwrap();
    left.abort();
    stopped.wait_for(|stopped| *stopped == 2).await.unwrap();
    assert!(fake.names.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_failure_is_told_by_its_reason_and_no_more() {
    let (fake, mut client) = scene();
    let rows = [
        (StoreError::Closed("/secret/place".into()), Reason::StoreUnavailable, Code::Unavailable),
        (StoreError::Failed("/secret/place".into()), Reason::StoreUnavailable, Code::Unavailable),
        (StoreError::Damaged("/secret/place".into()), Reason::StoreDamaged, Code::DataLoss),
    ];
    for (error, reason, code) in rows {
        fake.fail(error.into());
        for status in [
            refused(client.stats(stats()).await, reason, code),
            refused(client.backup(backup("a")).await, reason, code),
        ] {
            assert!(!status.message().contains("secret"), "{}", status.message());
        }
    }
    fake.fail(OperationError::Target("/secret/place".into()));
    let status = refused(client.backup(backup("a")).await, Reason::BackupFailed, Code::Internal);
    assert!(!status.message().contains("secret"), "{}", status.message());

    fake.panics.store(true, Ordering::SeqCst);
    refused(client.stats(stats()).await, Reason::StoreUnavailable, Code::Unavailable);
    refused(client.backup(backup("a")).await, Reason::StoreUnavailable, Code::Unavailable);
}
