//! What a new stream needs beside its slot: memory, its activity, and from where it goes on.

use std::sync::Arc;
use std::time::Duration;

use rpc_core::activity::{BeginError, Key, Name, Worker};
use rpc_core::error::{Outcome, Reason};
use rpc_core::id::Attempt;
use rpc_core::negotiate::{Agreement, Unit};
use rpc_core::policy::{MethodPolicy, Secure};
use rpc_core::record::ActivityRecord;
use rpc_core::session::{Keeping, Session, refused_before_admission};
use rpc_core::stream::Config;
use rpc_core::stream::digest::DigestKind;
use rpc_core::stream::flow::Side;
use rpc_core::stream::position::Position;
use rpc_core::stream::secured::Resumption;
use rpc_flow::{Frames, Stream, dialog_terms};
use rpc_proto::status::Refusal;

use super::joining::Joining;
use super::{AdmissionLayer, Protected, has_single_reply, requests_stream};
use crate::sessions::activities::{Beginning, Working};
use crate::sessions::memory::Reserved;
use crate::sessions::streams::{Found, NewStream};

/// A new stream and the work that goes with it.
pub(super) struct Begun {
    pub(super) stream: Stream,
    pub(super) working: Option<Working>,
}

/// What was found for a new stream. Dropped, it leaves everything as it was.
pub(super) struct Needs<'a> {
    agreement: Arc<Agreement>,
    beginning: Option<Beginning<'a>>,
    memory: Reserved,
    start: Start,
    told: Position,
    frames: Frames,
}

/// From where a stream begins at this server.
enum Start {
    /// From nothing, and so does its caller's.
    Beginning,
    /// From here, and so does its caller's.
    Resumed(Resumption),
    /// From here, while its caller's lives on, and may have more.
    Restored(Resumption),
}

impl AdmissionLayer {
    /// Looks for what a call needs whose handler may have to be run. The slot is asked after that: nothing has changed when
    /// something is missing.
    pub(super) fn look(
        &self,
        session: &Session,
        call: &Protected,
        joining: &Joining,
        found: Option<&Found>,
    ) -> Result<Needs<'_>, Refusal> {
        let outcome = refused_before_admission(call.attempt.attempt);
        let agreement = Arc::clone(session.agreement());
        let left = session.resumption(call.attempt.call);
        let beginning = self.activity(session, call, joining);
        let beginning =
            beginning.map_err(|error| Refusal::new(error.reason(), error.to_string()).outcome(outcome))?;
        let goes_on = call.keeping == Keeping::Stream && !session.is_new(call.attempt.call);
        let told = match goes_on {
            true => place_told(call, joining, found).map_err(|refusal| refusal.outcome(outcome))?,
            false => Position::ORIGIN,
        };
        let resumption = left.or_else(|| beginning.as_ref().and_then(Beginning::resumption)).cloned();
        let start = start(call, joining, resumption);
        let memory = self.reserve(&agreement).map_err(|refusal| refusal.outcome(outcome))?;
        Ok(Needs { agreement, beginning, memory, start, told, frames: joining.frames })
    }

    /// The activity that a call is to work on, or worked on at a server that is gone: then its headers say nothing of it.
    fn activity(
        &self,
        session: &Session,
        call: &Protected,
        joining: &Joining,
    ) -> Result<Option<Beginning<'_>>, BeginError> {
        let (activities, id) = (self.sessions.activities(), call.attempt.call);
        let key = |name: &Name| Key { principal: session.principal().clone(), name: name.clone() };
        let worker = Worker { session: session.id(), call: id };
        let beginning = match (session.is_new(id), session.activity(id), &joining.activity) {
            (true, _, Some(name)) => activities.check(key(name), call.policy.path, worker, joining.resume),
            (false, Some(name), _) => activities.check_again(key(name), call.policy.path, worker),
            (true, _, None) | (false, None, _) => return Ok(None),
        };
        beginning.map(Some)
    }

    /// Looks for what the stream of a call needs that has ended at a server that is gone, and is to answer again.
    pub(super) fn look_again(&self, session: &Session, end: Resumption) -> Result<Needs<'_>, Refusal> {
        let agreement = Arc::clone(session.agreement());
        let memory = self.reserve(&agreement).map_err(|refusal| refusal.outcome(Outcome::Unknown))?;
        let (start, told) = (Start::Restored(end), Position::ORIGIN);
        Ok(Needs { agreement, beginning: None, memory, start, told, frames: Frames::On })
    }

    //= S-31
    fn reserve(&self, agreement: &Agreement) -> Result<Reserved, Refusal> {
        self.sessions.stream_memory().reserve(agreement.window_bytes).map_err(|error| {
            let refusal = Refusal::new(Reason::StreamsExhausted, error.to_string());
            refusal.retry_after(Duration::from_secs(1))
        })
    }
}

/// Where a caller without control frames goes on with a call that a server had begun that is gone, with what that told it.
//= S-29
fn place_told(call: &Protected, joining: &Joining, found: Option<&Found>) -> Result<Position, Refusal> {
    let says = joining.frames == Frames::On || joining.resume.is_some();
    if joining.frames == Frames::Off && call.attempt.attempt > Attempt(0) && !has_single_reply(call.policy) {
        let text = "the server was restarted, and only a caller that reads control frames can say which responses it has";
        return Err(Refusal::new(Reason::StreamIncomplete, text));
    }
    match found {
        Some(Found::Told(place)) => Ok(*place),
        _ if says || call.attempt.attempt == Attempt(0) => Ok(Position::ORIGIN),
        _ => {
            let text =
                "the server was restarted and does not know what it told; ask by `Query` where to go on";
            Err(Refusal::new(Reason::StreamIncomplete, text))
        }
    }
}

/// A client that reads control frames and makes a later attempt has a stream that lives.
fn start(call: &Protected, joining: &Joining, from: Option<Resumption>) -> Start {
    let lives = call.attempt.attempt > Attempt(0) && joining.frames == Frames::On;
    match (call.keeping, from) {
        //= S-28
        (Keeping::Stream, from) if lives => Start::Restored(from.unwrap_or_default()),
        (_, Some(from)) => Start::Resumed(from),
        (_, None) => Start::Beginning,
    }
}

impl Needs<'_> {
    /// What the store is to know of the activity that the call works on, when it begins.
    pub(super) fn activity(&self, call: &Protected) -> Option<Box<ActivityRecord>> {
        let beginning = self.beginning.as_ref().filter(|_| call.keeping == Keeping::Stream);
        beginning.map(Beginning::record)
    }

    /// The call was admitted: its stream, which goes on where that is said.
    pub(super) fn begin(self, call: &Protected, message_bytes_max: usize) -> (NewStream, Option<Working>) {
        let Self { agreement, beginning, memory, start, told, frames } = self;
        let mut config = config(call, &agreement, memory.window_bytes(), message_bytes_max);
        if frames == Frames::On {
            // A method that needs a unit that is off was refused before.
            config.dialog = dialog_terms(Side::Server, &agreement, call.policy).ok().flatten();
        }
        let stream = match &start {
            Start::Beginning => Stream::new(Side::Server, &config),
            Start::Resumed(from) => Stream::resumed(Side::Server, &config, from),
            Start::Restored(from) => Stream::restored(Side::Server, &config, from),
        };
        if !requests_stream(call.policy) {
            stream.single_request();
        }
        let working = beginning.map(|beginning| beginning.begin(stream.clone()));
        (NewStream { stream, memory, told }, working)
    }
}

fn config(call: &Protected, agreement: &Agreement, window_bytes: u64, message_bytes_max: usize) -> Config {
    let policy = call.policy;
    let mut config = Config::default();
    config.window_bytes = window_bytes;
    config.message_bytes_max = u32::try_from(message_bytes_max).unwrap_or(u32::MAX);
    config.checkpoint = policy.checkpoint;
    config.secure = secure(policy);
    config.durable = call.keeping == Keeping::Stream;
    if agreement.units.contains(Unit::Digest) {
        config.digest = DigestKind::Blake3;
    }
    config
}

/// Who declares requests secured. A request that is one message has no points that a handler could see.
fn secure(policy: &MethodPolicy) -> Secure {
    match policy.checkpoint {
        Some(checkpoint) if requests_stream(policy) => checkpoint.secure,
        Some(_) | None => Secure::Automatic,
    }
}

#[cfg(test)]
mod tests {
    use rpc_core::policy::{Checkpoint, MethodKind};

    use super::*;

    /// Every call of such a method failed with CHECKPOINTS_IGNORED: its handler reads the one request as a message.
    #[test]
    fn a_request_of_one_message_is_secured_by_itself() {
        let explicit =
            Checkpoint { every_messages: Some(1), every_bytes: None, every: None, secure: Secure::Explicit };
        for (kind, secures) in [
            (MethodKind::Unary, Secure::Automatic),
            (MethodKind::ServerStreaming, Secure::Automatic),
            (MethodKind::ClientStreaming, Secure::Explicit),
            (MethodKind::Bidirectional, Secure::Explicit),
        ] {
            let plain = MethodPolicy::plain("/archive.v1.Archive/Fetch", kind);
            assert_eq!(secure(&MethodPolicy { checkpoint: Some(explicit), ..plain }), secures, "{kind:?}");
            assert_eq!(secure(&plain), Secure::Automatic);
        }
    }
}
