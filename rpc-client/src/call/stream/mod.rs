//! A call whose stream outlives its connections: one slot, one call id, one [`rpc_flow::Stream`], as many attempts as it
//! takes.
//!
//! ```text
//!   stub ── request body ──▶ ┌────────┐ ── NetBody ──▶ ┌─────────┐
//!                            │ Stream │                │ attempt │ ◀─▶ a connection
//!   stub ◀─ StreamedBody ─── └────────┘ ◀─── Feed ──── └─────────┘
//! ```
//!
//! - The [`Driver`](driver::Driver) is a task of the session: it reads the stub's request, makes the attempts, and ends
//!   with the call. The stub's future and then its body hold what tells it to: dropping them gives the call up.
//! - **The slot** is finished when the caller has read the answer to its end or dropped it, not when the answer came.
//!   So what is kept for callers that do not read is bounded by slots and windows, and as long as anything of a call is
//!   wanted its id is not used again.
//! - **Without a deadline** a lost connection is replaced for [`retry_time`](crate::Builder::retry_time), counted from
//!   the last progress and not from the beginning: streams may run for days.
//! - **Given up**, a call sends CANCEL and waits a second for the answer before its stream is reset. Unless that said
//!   what became of the call, the slot goes into quarantine like any other.

mod attempt;
mod body;
mod driver;
mod head;
mod patience;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use http::{HeaderValue, Request, Response};
use rpc_core::error::{Outcome, Reason};
use rpc_core::negotiate::Unit;
use rpc_core::policy::{MethodPolicy, Secure};
use rpc_core::stream::Config;
use rpc_core::stream::digest::DigestKind;
use rpc_core::stream::flow::Side;
use rpc_core::stream::secured::Resumption;
use rpc_flow::{Checkpoints, Stream, dialog_terms};
use rpc_proto::status::with_outcome;
use tokio::time::Instant;
use tonic::Status;
use tonic::body::Body;

use self::driver::Driver;
use super::headers::Template;
use crate::Session;
use crate::activity;
use crate::core::Core;
use crate::error::refusal;

/// Whether a call of this method is made here: it has checkpoints, its service was granted, and the session has agreed to
/// resume.
pub(super) fn resumes(core: &Core, method: &MethodPolicy) -> bool {
    method.checkpoint.is_some()
        && method.kind.streams()
        && core.agreement.units.contains(Unit::Resume)
        && core.covers(method.path)
}

/// Makes the call and waits for the handler's head, or for the end that came without one.
///
/// # Cancel safety
///
/// Dropped anywhere, the call is given up as the module says.
//= W-19
pub(super) async fn call(
    session: Session,
    method: &'static MethodPolicy,
    request: Request<Body>,
    deadline: Option<Instant>,
) -> Result<Response<Body>, Box<Status>> {
    let core = session.core();
    core.check_life(Some(Outcome::NotExecuted))?;
    let (mut parts, body) = request.into_parts();
    let checkpoints = parts.extensions.remove::<Checkpoints>();
    let activity = checkpoints.as_ref().and_then(Checkpoints::activity);
    let activity = activity.map(|name| activity_value(core, name)).transpose()?;
    let config = config(core, method)?;
    // Dropped without having been bound, the checkpoints tell whoever waits for the call that there is none.
    let taken = core.take_slot(deadline).await?;
    let call = begin(&config, checkpoints, activity)?;
    let (driver, answer) = Driver::new(session.clone(), call, Template::new(parts), taken, deadline);
    session.own(driver.run(body));
    answer.wait().await
}

/// A call that has its stream.
struct Begun {
    stream: Stream,
    checkpoints: Checkpoints,
    activity: Option<HeaderValue>,
}

/// Makes the stream of a call, from where its checkpoints say, and ties the two together before anybody reads the request.
fn begin(
    config: &Config,
    checkpoints: Option<Checkpoints>,
    activity: Option<HeaderValue>,
) -> Result<Begun, Box<Status>> {
    let Some(checkpoints) = checkpoints else {
        let stream = Stream::new(Side::Client, config);
        return Ok(Begun { checkpoints: Checkpoints::of_stream(&stream), stream, activity });
    };
    let resumption = checkpoints.resumption();
    let stream = if *resumption == Resumption::default() {
        Stream::new(Side::Client, config)
    } else {
        Stream::resumed(Side::Client, config, resumption)
    };
    if !checkpoints.bind(&stream) {
        let message = "the checkpoints of the request are another call's";
        return Err(Box::new(with_outcome(Status::failed_precondition(message), Outcome::NotExecuted)));
    }
    Ok(Begun { stream, checkpoints, activity })
}

/// The name of the activity as its header, where the session has activities.
fn activity_value(core: &Core, name: &[u8]) -> Result<HeaderValue, Box<Status>> {
    activity::check(core, name).map_err(|status| Box::new(with_outcome(*status, Outcome::NotExecuted)))?;
    let text = HeaderValue::from_str(&STANDARD_NO_PAD.encode(name));
    text.map_err(|error| Box::new(Status::internal(error.to_string())))
}

//= O-27
fn config(core: &Core, method: &MethodPolicy) -> Result<Config, Box<Status>> {
    let mut config = Config::default();
    if core.agreement.window_bytes > 0 {
        config.window_bytes = core.agreement.window_bytes;
    }
    let settings = core.settings;
    let message_bytes_max = settings.request_bytes_max.max(settings.response_bytes_max);
    config.message_bytes_max = u32::try_from(message_bytes_max).unwrap_or(u32::MAX);
    config.checkpoint = method.checkpoint;
    if core.agreement.units.contains(Unit::Digest) {
        config.digest = DigestKind::Blake3;
    }
    // The policy speaks of the handler. A stub's reader knows no points, so the session declares them, unless the caller
    // reads in the form with sync points.
    config.secure = Secure::Automatic;
    config.dialog = dialog_terms(Side::Client, &core.agreement, method).map_err(|unit| {
        let message = format!("the session was opened without the unit {unit}");
        Box::new(refusal(Reason::UnitUnsupported, message, Some(Outcome::NotExecuted)))
    })?;
    Ok(config)
}
