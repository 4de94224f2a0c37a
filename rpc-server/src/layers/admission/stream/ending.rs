//! What ends a handler's stream from outside, and what becomes of the handler then.

use rpc_core::error::{Outcome, Reason};
use rpc_core::policy::MethodPolicy;
use rpc_flow::Stream;
use rpc_proto::status::Refusal;
use tokio::time::{Instant, sleep_until};
use tonic::Status;

use super::super::Protected;
use crate::layers::deadline::exceeded;
use crate::methods::may_stop;
use crate::sessions::activities::Working;
use crate::sessions::ends::SessionEnd;

/// Why a stream is over before its handler is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    Deadline,
    SessionEnded(Reason),
    Cancelled,
    Interrupted,
}

impl Cut {
    /// Whether the handler is dropped. Otherwise it runs on to its end, with a stream that is over: its requests end with
    /// the error, and what it answers is recorded and reaches nobody.
    //= C-45
    //= L-25
    //= D-43
    pub(super) fn drops_handler(self, policy: &MethodPolicy) -> bool {
        let may_stop = !policy.is_protected() || may_stop(policy);
        match self {
            Self::Deadline => may_stop,
            Self::SessionEnded(_) => may_stop || policy.exclusive.is_some(),
            Self::Cancelled | Self::Interrupted => true,
        }
    }

    /// What the caller is told.
    //= C-36
    //= C-44
    pub(super) fn status(self, policy: &MethodPolicy) -> Status {
        let refusal = match self {
            Self::Deadline => return exceeded(policy.is_protected()),
            Self::SessionEnded(reason) => {
                Refusal::new(reason, "the session ended while the call was under way")
            }
            Self::Cancelled => Refusal::new(Reason::CallCancelled, "the caller cancelled the call"),
            Self::Interrupted => {
                Refusal::new(Reason::ActivityInterrupted, "another call takes the activity over")
            }
        };
        refusal.outcome(Outcome::Unknown).into()
    }
}

/// Waits for what ends a stream from outside.
///
/// # Cancel safety
///
/// Nothing is lost when the future is dropped.
pub(super) async fn cut(
    call: &Protected,
    stream: &Stream,
    deadline: Option<Instant>,
    working: Option<&Working>,
) -> Cut {
    let mut ended = call.live.ended();
    let late = async {
        match deadline {
            Some(at) => sleep_until(at).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = late => Cut::Deadline,
        // The end of a session stops handlers, too.
        () = cancelled(call, stream) => call.live.end_reason().map_or(Cut::Cancelled, Cut::SessionEnded),
        () = interrupted(working) => Cut::Interrupted,
        end = ended.wait_for(Option::is_some) => {
            Cut::SessionEnded(end.ok().and_then(|end| *end).map_or(Reason::SessionEnded, SessionEnd::reason))
        }
    }
}

/// Waits until the caller has given the call up, by CANCEL or by a query, or broken the stream; for ever where the
/// handler may not be stopped.
//= C-37
async fn cancelled(call: &Protected, stream: &Stream) {
    if !may_stop(call.policy) {
        return std::future::pending().await;
    }
    let stop = call.live.stoppable(call.attempt.call);
    tokio::select! {
        () = stop.cancelled() => {}
        () = stream.until_failed() => {}
    }
}

/// Waits until another call wants the activity that this one works on.
pub(super) async fn interrupted(working: Option<&Working>) {
    match working {
        Some(working) => working.interrupted().await,
        None => std::future::pending().await,
    }
}

/// Waits for the end of the session where that frees an exclusive class; for ever where it does not.
//= D-43
pub(super) async fn forfeited(call: &Protected) {
    if call.policy.exclusive.is_none() || call.live.ended().wait_for(Option::is_some).await.is_err() {
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use rpc_core::policy::{Cancellation, Delivery, Exclusive, ExclusiveScope, MethodKind};

    use super::*;

    //= test C-45
    //= test L-25
    #[test]
    fn what_drops_a_handler_by_its_policy() {
        let plain = MethodPolicy::plain("/archive.v1.Archive/Upload", MethodKind::ClientStreaming);
        let stop = MethodPolicy { delivery: Delivery::AtMostOnce, ..plain };
        let finish = MethodPolicy { cancellation: Cancellation::Finish, ..stop };
        let times = [Cut::Deadline, Cut::SessionEnded(Reason::SessionEnded)];
        for cut in times {
            assert!(cut.drops_handler(&plain) && cut.drops_handler(&stop), "{cut:?}");
            assert!(!cut.drops_handler(&finish), "{cut:?}");
        }
        assert!(Cut::Interrupted.drops_handler(&finish), "two calls never work on one activity");
    }

    //= test D-43
    #[test]
    fn the_end_of_a_session_frees_its_exclusive_classes() {
        let bulk = Exclusive { class: "bulk", scope: ExclusiveScope::Principal };
        let finish = MethodPolicy {
            delivery: Delivery::AtMostOnce,
            cancellation: Cancellation::Finish,
            exclusive: Some(bulk),
            ..MethodPolicy::plain("/archive.v1.Archive/Upload", MethodKind::ClientStreaming)
        };
        assert!(Cut::SessionEnded(Reason::SessionEnded).drops_handler(&finish));
        assert!(!Cut::Deadline.drops_handler(&finish));
    }
}
