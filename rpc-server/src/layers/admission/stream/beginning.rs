//! What a new stream needs beside its slot: memory, and its activity.

use std::sync::Arc;
use std::time::Duration;

use rpc_core::activity::{Key, Worker};
use rpc_core::error::Reason;
use rpc_core::negotiate::{Agreement, Unit};
use rpc_core::policy::{MethodPolicy, Secure};
use rpc_core::session::{Session, refused_before_admission};
use rpc_core::stream::Config;
use rpc_core::stream::digest::DigestKind;
use rpc_core::stream::flow::Side;
use rpc_flow::Stream;
use rpc_proto::status::Refusal;

use super::joining::Joining;
use super::{AdmissionLayer, Protected};
use crate::sessions::activities::{Beginning, Working};
use crate::sessions::memory::Reserved;
use crate::sessions::streams::NewStream;

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
}

impl AdmissionLayer {
    /// Looks for what a new call needs. The slot is asked after that: nothing has changed when something is missing.
    pub(super) fn look(
        &self,
        session: &Session,
        call: &Protected,
        joining: &Joining,
    ) -> Result<Needs<'_>, Refusal> {
        let outcome = refused_before_admission(call.attempt.attempt);
        let agreement = Arc::clone(session.agreement());
        let beginning = joining.activity.as_ref().map(|name| {
            let key = Key { principal: session.principal().clone(), name: name.clone() };
            let worker = Worker { session: session.id(), call: call.attempt.call };
            self.sessions.activities().check(key, call.policy.path, worker, joining.resume)
        });
        let beginning = beginning.transpose();
        let beginning =
            beginning.map_err(|error| Refusal::new(error.reason(), error.to_string()).outcome(outcome))?;
        //= S-31
        let memory = self.sessions.stream_memory().reserve(agreement.window_bytes).map_err(|error| {
            let refusal = Refusal::new(Reason::StreamsExhausted, error.to_string());
            refusal.retry_after(Duration::from_secs(1)).outcome(outcome)
        })?;
        Ok(Needs { agreement, beginning, memory })
    }
}

impl Needs<'_> {
    /// The call was admitted: its stream, which goes on where its activity stands.
    pub(super) fn begin(
        self,
        policy: &MethodPolicy,
        message_bytes_max: usize,
    ) -> (NewStream, Option<Working>) {
        let Self { agreement, beginning, memory } = self;
        let config = config(policy, &agreement, memory.window_bytes(), message_bytes_max);
        let stream = match beginning.as_ref().and_then(|beginning| beginning.resumption()) {
            Some(resumption) => Stream::resumed(Side::Server, &config, resumption),
            None => Stream::new(Side::Server, &config),
        };
        let working = beginning.map(|beginning| beginning.begin(stream.clone()));
        (NewStream { stream, memory }, working)
    }
}

fn config(
    policy: &MethodPolicy,
    agreement: &Agreement,
    window_bytes: u64,
    message_bytes_max: usize,
) -> Config {
    let mut config = Config::default();
    config.window_bytes = window_bytes;
    config.message_bytes_max = u32::try_from(message_bytes_max).unwrap_or(u32::MAX);
    config.checkpoint = policy.checkpoint;
    config.secure = policy.checkpoint.map_or(Secure::Automatic, |checkpoint| checkpoint.secure);
    if agreement.units.contains(Unit::Digest) {
        config.digest = DigestKind::Blake3;
    }
    config
}
