//! One attempt: one request on one connection.

use http::{HeaderMap, HeaderValue, Request, StatusCode};
use http_body::Body as _;
use rpc_flow::{Attempt, Ended, Feed};
use rpc_proto::frames::resume_value;
use rpc_proto::headers::{SESSION_ACTIVITY, SESSION_FRAMES, SESSION_RESUME};
use tokio::time::Instant;
use tonic::Status;
use tonic::body::Body;

use crate::call::reply::{repair_details, without_status};
use crate::core::Core;
use crate::net::{SendError, SendOptions};

const FRAMES: HeaderValue = HeaderValue::from_static("1");

/// How an attempt ended.
pub(super) enum Met {
    /// No response came.
    Unanswered(SendError),
    /// A response that is the status and nothing else: the attempt was not joined to the stream.
    Refused(Box<Status>),
    /// Something answered that does not speak gRPC.
    NotGrpc(Box<Status>),
    /// The attempt was joined to the stream at that time, and its response ended so.
    Joined(Instant, Ended),
}

/// Says in `headers` that this side reads frames, on which activity it works, and from where the attempt goes on.
//= S-13
pub(super) fn stamp(headers: &mut HeaderMap, attempt: &Attempt, activity: Option<&HeaderValue>) {
    headers.insert(SESSION_FRAMES, FRAMES);
    if let Some(name) = activity {
        headers.insert(SESSION_ACTIVITY, name.clone());
    }
    if let Some(resume) = attempt.resume() {
        headers.insert(SESSION_RESUME, resume_value(resume));
    }
}

/// Sends the request and reads its response to the end. `joined` gets the response's headers.
///
/// # Cancel safety
///
/// Dropped, the HTTP/2 stream is reset, and the attempt is one that was lost.
pub(super) async fn exchange(
    core: &Core,
    request: Request<Body>,
    options: SendOptions,
    feed: Feed,
    joined: impl FnOnce(&HeaderMap),
) -> Met {
    let response = match core.net.send(request, options).await {
        Ok(response) => response,
        Err(error) => return Met::Unanswered(error),
    };
    let (mut head, body) = response.into_parts();
    if head.status != StatusCode::OK {
        return Met::NotGrpc(Box::new(without_status(head.status)));
    }
    repair_details(&mut head.headers);
    let Some(status) = Status::from_header_map(&head.headers) else {
        joined(&head.headers);
        let at = Instant::now();
        return Met::Joined(at, feed.run(body).await);
    };
    if body.is_end_stream() {
        // The request ends in order, and not with a reset that would count against the connection.
        feed.run(body).await;
    }
    Met::Refused(Box::new(status))
}
