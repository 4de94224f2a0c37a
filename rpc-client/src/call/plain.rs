//! A call without a promise: passed through, with the deadline that holds to its end.

use http::header::{AUTHORIZATION, HeaderMap};
use http::{Request, Response};
use rpc_core::error::Reason;
use rpc_proto::status::{Details, Refusal};
use tokio::time::{Instant, sleep};
use tonic::Status;
use tonic::body::Body;

use super::body::{StreamBody, unanswered};
use super::headers::Template;
use super::reply::repair_details;
use super::rewind::Rewind;
use crate::Session;
use crate::core::{Core, Proofs};
use crate::deadline;
use crate::keeper::renew;
use crate::net::{ResponseBody, SendError, SendOptions};
use crate::retry::Waits;

/// How often a call is sent again that the server did not process.
const REPLAYS_MAX: u32 = 10;

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

/// Makes the call. It is sent once, and another time only if the server provably did not process it: because it was
/// handed back unsent, or because the server said so and the beginning of its body is still there.
///
/// # Cancel safety
///
/// Cancel safe; what was sent is reset.
//= C-23
pub(super) async fn call(
    session: Session,
    request: Request<Body>,
    deadline: Option<Instant>,
) -> Result<Response<Body>, Box<Status>> {
    let core = session.core();
    let (mut response, stamp, sent) = tokio::select! {
        biased;
        done = exchange(core, request, deadline) => done?,
        () = deadline::passed(deadline) => return Err(Box::new(deadline::exceeded(None))),
    };
    repair_details(response.headers_mut());
    if let Stamp::Session(proofs) = stamp {
        learn(&session, &response, proofs, sent);
    }
    Ok(response.map(|body| Body::new(StreamBody::new(body, deadline, Some(session)))))
}

/// Sends the request until it was processed, or may have been.
//= C-50
async fn exchange(
    core: &Core,
    request: Request<Body>,
    deadline: Option<Instant>,
) -> Result<(Response<ResponseBody>, Stamp, Instant), Box<Status>> {
    let (parts, body) = request.into_parts();
    let (mut template, body) = (Template::new(parts), Rewind::new(body));
    let mut next = body.attempt();
    let mut waits = Waits::new(&core.chance);
    let mut replays = 0;
    while let Some(attempt) = next {
        let mut request = template.request(attempt);
        let stamp = stamp(core, template.path(), request.headers_mut()).await?;
        deadline::put(request.headers_mut(), deadline);
        let sent = Instant::now();
        let options = SendOptions { deadline, wait_for_ready: None };
        match core.net.send_boxed(Box::new(request), options).await {
            Ok(response) => {
                body.commit();
                return Ok((response, stamp, sent));
            }
            Err(SendError::NotProcessed { cause }) if replays < REPLAYS_MAX => {
                tracing::debug!(replays, error = %cause, "request not processed, sending it again");
                next = body.attempt();
                if next.is_none() {
                    return Err(Box::new(unanswered(SendError::NotProcessed { cause }, None)));
                }
            }
            Err(error) => return Err(Box::new(unanswered(error, None))),
        }
        // Mostly a connection was being replaced, so the first time at once; then the server may be overloaded.
        if replays > 0 {
            sleep(waits.next_soon()).await;
        }
        replays += 1;
    }
    Err(Box::new(crate::error::lost("the request cannot be sent from its beginning", None)))
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
    core.doubt(&details);
    if details.reason == Some(Reason::AuthorityExpired) && !core.has_newer_authority(proofs) {
        // Too late for this call, whose request is gone; in time for the next.
        renew::ask(core);
    }
}
