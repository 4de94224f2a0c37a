//! The way between core errors and gRPC statuses: code, reason, outcome and delay, as `google.rpc.Status` details.

use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use rpc_core::error::{Outcome, Reason};
use tonic::{Code, Status};

use crate::pb::google::rpc;
use crate::pb::session::v1::{CallOutcome, ServerLimits, call_outcome::Executed};

/// `ErrorInfo.domain` of everything that the session protocol itself says.
pub const DOMAIN: &str = "session.v1";

/// Builds one status of the session protocol.
#[derive(Debug, Clone)]
#[must_use]
pub struct Refusal {
    reason: Reason,
    message: String,
    outcome: Option<Outcome>,
    retry_after: Option<Duration>,
    /// Boxed, because hardly any refusal has them.
    limits: Option<Box<ServerLimits>>,
}

impl Refusal {
    /// Refuses for `reason`. The message is for people; a lower-case fragment without secrets.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), outcome: None, retry_after: None, limits: None }
    }

    /// Says whether the call ran.
    pub fn outcome(mut self, outcome: Outcome) -> Self {
        self.outcome = Some(outcome);
        self
    }

    /// Says when to try again.
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.retry_after = Some(delay);
        self
    }

    /// Adds the server's own limits.
    pub fn limits(mut self, limits: ServerLimits) -> Self {
        self.limits = Some(Box::new(limits));
        self
    }

    /// The finished status.
    //= E-1
    pub fn into_status(self) -> Status {
        let code = code(self.reason);
        let info =
            rpc::ErrorInfo { reason: self.reason.name().into(), domain: DOMAIN.into(), ..Default::default() };
        let mut details = vec![any("google.rpc.ErrorInfo", &info)];
        if let Some(delay) = self.retry_after {
            let delay = prost_types::Duration::try_from(delay).unwrap_or_default();
            details.push(any("google.rpc.RetryInfo", &rpc::RetryInfo { retry_delay: Some(delay) }));
        }
        if let Some(outcome) = self.outcome {
            details.push(any("session.v1.CallOutcome", &CallOutcome { executed: executed(outcome).into() }));
        }
        if let Some(limits) = &self.limits {
            details.push(any("session.v1.ServerLimits", &**limits));
        }
        let status = rpc::Status { code: code as i32, message: self.message.clone(), details };
        Status::with_details(code, self.message, Bytes::from(status.encode_to_vec()))
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        refusal.into_status()
    }
}

/// The gRPC code of a reason, as tonic's type.
//= E-2
pub fn code(reason: Reason) -> Code {
    Code::from_i32(i32::from(reason.code() as u8))
}

/// What a status says in its details. Details that are absent, foreign or damaged read as `None`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Details {
    /// The session protocol's reason.
    pub reason: Option<Reason>,
    /// Whether the call ran.
    pub outcome: Option<Outcome>,
    /// When to try again.
    pub retry_after: Option<Duration>,
    /// The server's limits.
    pub limits: Option<ServerLimits>,
}

impl Details {
    /// Reads the details of `status`.
    //= E-7
    pub fn of(status: &Status) -> Self {
        let mut found = Self::default();
        let Ok(parsed) = rpc::Status::decode(status.details()) else { return found };
        for detail in parsed.details {
            match detail.type_url.rsplit('/').next() {
                Some("google.rpc.ErrorInfo") => {
                    found.reason = rpc::ErrorInfo::decode(&*detail.value)
                        .ok()
                        .filter(|info| info.domain == DOMAIN)
                        .and_then(|info| Reason::from_name(&info.reason));
                }
                Some("google.rpc.RetryInfo") => {
                    found.retry_after = rpc::RetryInfo::decode(&*detail.value)
                        .ok()
                        .and_then(|info| info.retry_delay)
                        .and_then(|delay| Duration::try_from(delay).ok());
                }
                Some("session.v1.CallOutcome") => {
                    found.outcome =
                        CallOutcome::decode(&*detail.value).ok().map(|told| outcome(told.executed()));
                }
                Some("session.v1.ServerLimits") => {
                    found.limits = ServerLimits::decode(&*detail.value).ok();
                }
                Some(_) | None => {}
            }
        }
        found
    }
}

/// Adds an outcome to a status that a handler made, keeping its code, message, details and metadata.
///
/// A status without details of its own gets a `google.rpc.Status` around the outcome. Details that are not a
/// `google.rpc.Status` are the handler's own affair and are left as they are.
//= C-24
//= E-5
pub fn with_outcome(status: Status, told: Outcome) -> Status {
    let Ok(mut parsed) = rpc::Status::decode(status.details()) else { return status };
    parsed.code = status.code() as i32;
    parsed.message = status.message().to_owned();
    parsed.details.retain(|detail| !detail.type_url.ends_with("/session.v1.CallOutcome"));
    parsed.details.push(any("session.v1.CallOutcome", &CallOutcome { executed: executed(told).into() }));
    Status::with_details_and_metadata(
        status.code(),
        status.message(),
        Bytes::from(parsed.encode_to_vec()),
        status.metadata().clone(),
    )
}

fn any(name: &str, message: &impl prost::Message) -> prost_types::Any {
    prost_types::Any { type_url: format!("type.googleapis.com/{name}"), value: message.encode_to_vec() }
}

fn executed(outcome: Outcome) -> Executed {
    match outcome {
        Outcome::Done => Executed::Yes,
        Outcome::NotExecuted => Executed::No,
        Outcome::Unknown => Executed::Unknown,
    }
}

fn outcome(executed: Executed) -> Outcome {
    match executed {
        Executed::Yes => Outcome::Done,
        Executed::No => Outcome::NotExecuted,
        Executed::Unspecified | Executed::Unknown => Outcome::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    //= test E-1
    //= test E-2
    fn every_reason_makes_the_round_trip() {
        for &reason in Reason::ALL {
            let status = Refusal::new(reason, "why").into_status();
            assert_eq!(status.code(), code(reason), "{reason}");
            assert_ne!(status.code(), Code::Ok);
            assert_eq!(Details::of(&status).reason, Some(reason));
            assert_eq!(Details::of(&status).outcome, None);
        }
    }

    #[test]
    fn outcome_delay_and_limits_make_the_round_trip() {
        for told in [Outcome::Done, Outcome::NotExecuted, Outcome::Unknown] {
            let limits = ServerLimits { slots_max: 7, ..Default::default() };
            let status = Refusal::new(Reason::ServerFull, "full")
                .outcome(told)
                .retry_after(Duration::from_millis(1500))
                .limits(limits.clone())
                .into_status();
            let details = Details::of(&status);
            assert_eq!(details.outcome, Some(told));
            assert_eq!(details.retry_after, Some(Duration::from_millis(1500)));
            assert_eq!(details.limits, Some(limits));
        }
    }

    #[test]
    //= test E-5
    fn a_handlers_status_keeps_what_it_said() {
        let mut status = Status::not_found("no such account");
        status.metadata_mut().insert("hint", "look elsewhere".parse().unwrap());
        let told = with_outcome(with_outcome(status, Outcome::Unknown), Outcome::Done);
        assert_eq!((told.code(), told.message()), (Code::NotFound, "no such account"));
        assert_eq!(Details::of(&told), Details { outcome: Some(Outcome::Done), ..Details::default() });
        assert_eq!(told.metadata().get("hint").unwrap(), "look elsewhere");
    }

    #[test]
    //= test E-7
    fn foreign_details_are_left_alone() {
        let status = Status::with_details(Code::Aborted, "x", Bytes::from_static(b"\xff\xff\xff"));
        assert_eq!(Details::of(&status), Details::default());
        assert_eq!(with_outcome(status, Outcome::Done).details(), b"\xff\xff\xff");
    }
}
