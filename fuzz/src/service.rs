//! The session service of a whole server, behind all its layers.

use std::convert::Infallible;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, Request};
use http_body_util::{BodyExt as _, Full};
use prost::Message as _;
use rpc_core::config::Terms;
use rpc_core::negotiate::{Unit, Units};
use rpc_proto::pb::session::v1::{OpenRequest, OpenResponse};
use rpc_proto::status::Details;
use rpc_server::auth::dangerous_anonymous;
use rpc_server::{MemoryStore, Server, SessionStack};
use tokio::runtime::{Builder, Runtime};
use tonic::body::Body;
use tonic::{Code, Status};
use tower_layer::Layer as _;
use tower_service::Service as _;

const METHODS: [&str; 5] = ["Open", "Renew", "Query", "Release", "Abort"];

/// The first byte says which method is called, and the rest is its request: an `OpenRequest` is answered with an agreement
/// that is within what was proposed and what the server offers, or refused for a reason; the others, asked in a session
/// that lives, are answered or refused. Afterwards the server opens sessions as before.
pub fn run(bytes: &[u8]) {
    let Some((first, request)) = bytes.split_first() else { return };
    let method = METHODS[usize::from(*first) % METHODS.len()];
    let mut scene = SCENE.lock().unwrap_or_else(PoisonError::into_inner);
    let scene = scene.get_or_insert_with(Scene::new);
    if method == "Open" {
        scene.opens(request);
    } else {
        let opened = scene.open(&OpenRequest { nonce: vec![7; 16].into(), ..OpenRequest::default() });
        let status = scene.call(method, request, Some(&opened)).err();
        if let Some(status) = status {
            is_told(&status);
        }
        // Released or aborted, it is gone.
        let _ = scene.call("Abort", &[], Some(&opened));
        scene.forget();
    }
}

static SCENE: Mutex<Option<Scene>> = Mutex::new(None);

struct Scene {
    runtime: Runtime,
    stack: SessionStack,
}

impl Scene {
    fn new() -> Self {
        let runtime =
            Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
        let inside = runtime.enter();
        let mut limits = rpc_server::Limits::default();
        limits.retention = Duration::ZERO;
        let server = Server::builder().authenticate(dangerous_anonymous()).store(MemoryStore::new());
        let stack = server.limits(limits).stack().expect("nothing is missing");
        drop(inside);
        Self { runtime, stack }
    }

    /// One call, with the message as it is.
    fn call(&self, method: &str, message: &[u8], of: Option<&OpenResponse>) -> Result<Bytes, Status> {
        let mut body = BytesMut::new();
        body.put_u8(0);
        body.put_u32(u32::try_from(message.len()).expect("a short one"));
        body.put_slice(message);
        let mut request = Request::builder()
            .method("POST")
            .uri(format!("http://server/session.v1.SessionService/{method}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        if let Some(opened) = of {
            let ticket: [u8; 32] = opened.ticket[..].try_into().expect("32 bytes");
            let ticket = rpc_proto::headers::ticket_value(&rpc_core::id::Ticket(ticket));
            request = request.header("session", opened.number).header("session-ticket", ticket);
        }
        let body = Full::new(body.freeze()).map_err(|never: Infallible| match never {});
        let request = request.body(Body::new(body)).expect("well formed");
        let mut service = self.stack.layer().layer(self.stack.routes());
        self.runtime.block_on(async move {
            let response = service.call(request).await.expect("a response");
            let (head, body) = response.into_parts();
            let whole = body.collect().await.expect("a body");
            let trailers = whole.trailers().cloned().unwrap_or_default();
            let status = status(&head.headers).or_else(|| status(&trailers)).expect("a status");
            let bytes = whole.to_bytes();
            if status.code() == Code::Ok { Ok(bytes.slice(5..)) } else { Err(status) }
        })
    }

    fn open(&self, request: &OpenRequest) -> OpenResponse {
        let answer = self.call("Open", &request.encode_to_vec(), None).expect("an ordinary opening");
        OpenResponse::decode(answer).expect("an answer")
    }

    fn opens(&self, request: &[u8]) {
        let answer = match self.call("Open", request, None) {
            Ok(answer) => OpenResponse::decode(answer).expect("an answer"),
            Err(status) => return is_told(&status),
        };
        let asked = OpenRequest::decode(request).expect("it was understood");
        is_agreed(&asked, &answer);
        let again = self.open(&asked);
        assert!(again.existing && !answer.existing, "the same opening");
        assert_eq!(again.number, answer.number);
        self.call("Abort", &[], Some(&again)).expect("it lives");
        self.forget();
    }

    /// Lets the server forget what has ended, and be as it was.
    fn forget(&self) {
        let reaper = self.stack.reaper();
        let soon = Duration::from_millis(1);
        let _ = self.runtime.block_on(async { tokio::time::timeout(soon, reaper).await });
    }
}

fn status(headers: &HeaderMap) -> Option<Status> {
    Status::from_header_map(headers)
}

/// A refusal has a reason of ours, or is tonic's own word for what is no message.
fn is_told(status: &Status) {
    let is_undecodable = status.code() == Code::Internal && status.message().contains("decod");
    assert!(is_undecodable || Details::of(status).reason.is_some(), "{status:?}");
    assert!(status.message().len() < 400, "{status:?}");
}

/// Nothing is on that was not wanted, everything is that was required, and each quantity is in the server's range.
fn is_agreed(asked: &OpenRequest, agreed: &OpenResponse) {
    let terms = Terms::default();
    assert!(agreed.number > 0 && agreed.ticket.len() == 32 && agreed.version == 1);
    let units =
        |numbers: &[i32]| numbers.iter().filter_map(|number| Unit::from_number(*number)).collect::<Units>();
    let (wanted, required, on) = (units(&asked.units), units(&asked.required_units), units(&agreed.units));
    assert!(on.iter().all(|unit| wanted.contains(unit)), "{on:?} of {wanted:?}");
    assert!(required.iter().all(|unit| on.contains(unit)), "{required:?}, but {on:?}");
    let duration = |wire: &Option<prost_types::Duration>| {
        Duration::try_from(wire.expect("it is said")).expect("no negative time")
    };
    let (lease, linger) = (duration(&agreed.lease), duration(&agreed.linger));
    assert!((terms.lease.min..=terms.lease.max).contains(&lease), "{lease:?}");
    assert!((terms.linger.min..=terms.linger.max).contains(&linger), "{linger:?}");
    assert!((terms.slots.min..=terms.slots.max).contains(&agreed.slots) && agreed.slots >= asked.slots_min);
    assert!((terms.reply_bytes.min..=terms.reply_bytes.max).contains(&agreed.reply_bytes_max));
    assert!((terms.window_bytes.min..=terms.window_bytes.max).contains(&agreed.window_bytes));
}
