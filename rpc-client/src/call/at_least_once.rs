//! A call of an idempotent method: sent again until it is answered.

use std::time::Duration;

use http::{Request, Response};
use rpc_proto::status::Details;
use tokio::time::Instant;
use tonic::body::Body;
use tonic::{Code, Status};

use super::exchange::{Attempted, attempt};
use super::headers::Template;
use super::plain::{Stamp, stamp};
use super::reply::{Reply, Verdict};
use super::retrying::{Limits, Refreshed, full, pause, refresh, take_message, wants_retry};
use crate::Session;
use crate::core::Core;
use crate::retry::Waits;

/// Makes the call.
///
/// # Cancel safety
///
/// Cancel safe: the method is idempotent.
pub(super) async fn call(
    session: Session,
    request: Request<Body>,
    deadline: Option<Instant>,
) -> Result<Response<Body>, Box<Status>> {
    let core = session.core();
    let (parts, body) = request.into_parts();
    let mut template = Template::new(parts);
    let message = take_message(core, body, deadline).await?;
    let limits = Limits::new(deadline, core.settings.retry_time);
    let mut trying = Trying { core, limits, waits: Waits::new(&core.chance), reauthorized: false };
    loop {
        let mut request = template.request(full(&message));
        let path = template.path();
        let stamped = tokio::select! {
            biased;
            stamped = stamp(core, path, request.headers_mut()) => stamped?,
            () = crate::deadline::passed(deadline) => return Err(Box::new(crate::deadline::exceeded(None))),
        };
        crate::deadline::put(request.headers_mut(), deadline);
        let sent = Instant::now();
        let (wait, why) = match attempt(core, Box::new(request), limits).await {
            Attempted::Answered(reply) => match trying.judge(&reply, stamped, sent).await {
                Ok(()) => return Ok(reply.into_response()),
                Err(Failed::Retry(wait, why)) => (wait, why),
                Err(Failed::For(status)) => return Err(status),
            },
            Attempted::Unanswered(_, why) => (trying.waits.next(), why),
            Attempted::TooLarge(bytes_max) => {
                let message = format!("the reply is larger than {bytes_max} bytes");
                return Err(Box::new(Status::new(Code::ResourceExhausted, message)));
            }
            Attempted::DeadlinePassed => return Err(Box::new(crate::deadline::exceeded(None))),
            Attempted::SessionGone => return Err(core.gone()),
        };
        pause(core, wait, limits, &why).await?;
    }
}

struct Trying<'a> {
    core: &'a Core,
    limits: Limits,
    waits: Waits,
    reauthorized: bool,
}

enum Failed {
    Retry(Duration, Box<Status>),
    For(Box<Status>),
}

impl Trying<'_> {
    async fn judge(&mut self, reply: &Reply, stamped: Stamp, sent: Instant) -> Result<(), Failed> {
        let status = match reply.verdict() {
            Verdict::Success => {
                if let Stamp::Session(_) = stamped {
                    self.core.heard(sent);
                }
                return Ok(());
            }
            Verdict::Failure(status) | Verdict::NotGrpc(status) => status,
        };
        let details = Details::of(&status);
        if let Stamp::Session(proofs) = stamped {
            self.core.doubt(&details);
            match refresh(self.core, &details, proofs, &mut self.reauthorized, self.limits.deadline).await {
                Refreshed::Yes => return Err(Failed::Retry(Duration::ZERO, status)),
                Refreshed::No => {}
            }
        }
        match wants_retry(&status, &details, &mut self.waits) {
            Some(wait) => Err(Failed::Retry(wait, status)),
            None => Err(Failed::For(status)),
        }
    }
}
