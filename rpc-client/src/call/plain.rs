//! A call without a promise: passed through, with the deadline that holds to its end.

use http::header::{AUTHORIZATION, HeaderMap};
use http::{Request, Response};
use rpc_core::error::Reason;
use rpc_proto::headers::{SESSION, SESSION_CALL, SESSION_FRAMES, SESSION_RESUME, SESSION_TICKET};
use rpc_proto::status::{Details, Refusal};
use tokio::time::Instant;
use tonic::Status;
use tonic::body::Body;

use super::body::{StreamBody, unanswered};
use super::reply::repair_details;
use crate::Session;
use crate::core::{Core, Proofs};
use crate::deadline;
use crate::keeper::renew;
use crate::net::{ResponseBody, SendOptions};

/// In whose name a plain call is made.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stamp {
    /// The session's: its service was granted.
    Session(Proofs),
    /// The caller's own, by a token.
    Bearer,
}

/// Writes into the headers in whose name the call is made.
pub(super) async fn stamp(core: &Core, path: &str, headers: &mut HeaderMap) -> Result<Stamp, Box<Status>> {
    if core.covers(path) {
        core.check_life(None)?;
        return Ok(Stamp::Session(core.stamp(headers)));
    }
    core.check_open()?;
    // A program that sets its own token means it.
    if !headers.contains_key(AUTHORIZATION) {
        let bearer = core.wallet.current().await.map_err(|error| {
            Box::new(Refusal::new(Reason::AuthUnavailable, format!("no token: {error}")).into_status())
        })?;
        headers.insert(AUTHORIZATION, bearer);
    }
    Ok(Stamp::Bearer)
}

/// Makes the call. Its request body is never read before it is sent, so it is sent once, and another time only if it
/// was handed back unsent.
///
/// # Cancel safety
///
/// Cancel safe; what was sent is reset.
//= C-23
pub(super) async fn call(
    session: Session,
    mut request: Request<Body>,
    deadline: Option<Instant>,
) -> Result<Response<Body>, Box<Status>> {
    let core = session.core();
    for ours in [&SESSION, &SESSION_TICKET, &SESSION_CALL, &SESSION_FRAMES, &SESSION_RESUME] {
        request.headers_mut().remove(ours);
    }
    let path = request.uri().path().to_owned();
    let exchange = async {
        let stamp = stamp(core, &path, request.headers_mut()).await?;
        deadline::put(request.headers_mut(), deadline);
        let sent = Instant::now();
        let options = SendOptions { deadline, wait_for_ready: None };
        let response =
            core.net.send(request, options).await.map_err(|error| Box::new(unanswered(error, None)))?;
        Ok::<_, Box<Status>>((response, stamp, sent))
    };
    let (mut response, stamp, sent) = tokio::select! {
        biased;
        done = exchange => done?,
        () = deadline::passed(deadline) => return Err(Box::new(deadline::exceeded(None))),
    };
    repair_details(response.headers_mut());
    if let Stamp::Session(proofs) = stamp {
        learn(&session, &response, proofs, sent);
    }
    Ok(response.map(|body| Body::new(StreamBody::new(body, deadline, Some(session)))))
}

/// What the head of a response tells about the session.
fn learn(session: &Session, response: &Response<ResponseBody>, proofs: Proofs, sent: Instant) {
    let core = session.core();
    let refused = response.headers().get(Status::GRPC_STATUS).is_some_and(|code| code != "0");
    if !refused {
        core.heard(sent);
        return;
    }
    let Some(status) = Status::from_header_map(response.headers()) else { return };
    let details = Details::of(&status);
    core.note(&details, proofs);
    if details.reason == Some(Reason::AuthorityExpired) {
        // Too late for this call, whose request is gone; in time for the next.
        renew::ask(core);
    }
}
