//! The session service: what `session.v1.SessionService` asks, put to the core and answered.

pub(crate) mod admin;
mod attach;
mod offer;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use rpc_core::activity::{Key, Name};
use rpc_core::error::Reason;
use rpc_core::id::{CallId, Sequence, SlotId};
use rpc_core::negotiate::{self, Unit};
use rpc_core::registry::Released;
use rpc_core::session::{Answer, Authority, CallState, RenewError, SessionUnknown};
use rpc_core::time::Timestamp;
use rpc_proto::pb::session::v1::session_service_server::SessionService;
use rpc_proto::pb::session::v1::{
    AbortRequest, AbortResponse, AttachRequest, OpenRequest, OpenResponse, QueryRequest, QueryResponse,
    ReleaseRequest, ReleaseResponse, RenewRequest, RenewResponse,
};
use rpc_proto::status::Refusal;
use tonic::{Request, Response, Status, Streaming};

use crate::auth::{Expiry, Identity};
use crate::context::{Authenticated, ReleasedBefore, SessionContext, SessionExt};
use crate::layers::session::session_unknown;
use crate::methods::Methods;
use crate::net::ConnectionInfo;
use crate::sessions::{Live, OpenError, Sessions, ticket};

/// Longest reason of an abort, and longest name of a client, in bytes.
const TEXT_BYTES_MAX: usize = 128;

/// What is to become of an activity that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    Ask,
    /// The call that works on it is to be ended.
    Interrupt,
    /// That, and it is to be forgotten.
    Discard,
}

/// The session service of one server. Comes inside of the layers, which have checked session and ticket.
#[derive(Clone)]
pub(crate) struct Service {
    sessions: Arc<Sessions>,
    methods: Arc<Methods>,
    attachments: attach::Attachments,
}

impl Service {
    pub(crate) fn new(sessions: Arc<Sessions>, methods: Arc<Methods>) -> Self {
        Self { sessions, methods, attachments: attach::Attachments::default() }
    }

    //= A-14
    fn authority<T>(&self, identity: &Identity, request: &Request<T>) -> Authority {
        let expiry = identity.expiry();
        let since =
            request.extensions().get::<Authenticated>().map_or(Duration::ZERO, |found| found.0.elapsed());
        let left = |expiry: Expiry| self.sessions.clock().now() + expiry.remaining.saturating_sub(since);
        let unix = expiry.and_then(|expiry| expiry.at.duration_since(std::time::UNIX_EPOCH).ok());
        Authority {
            until: expiry.map_or(Timestamp::NEVER, left),
            unix_s: unix.map(|unix| unix.as_secs()),
            scopes: self.sessions.scopes(identity.scopes().iter().map(Box::from)),
        }
    }

    //= D-19
    async fn query_activity(
        &self,
        live: &Arc<Live>,
        name: bytes::Bytes,
        wish: Wish,
    ) -> Result<Response<QueryResponse>, Status> {
        //= O-21
        if !live.agreement().units.contains(Unit::Activity) {
            let text = "the session was opened without the unit activity";
            return Err(Refusal::new(Reason::UnitUnsupported, text).into());
        }
        let name = Name::new(name).map_err(|error| Refusal::new(Reason::FieldInvalid, error.to_string()))?;
        let key = Key { principal: live.principal().clone(), name };
        let activities = self.sessions.activities();
        let state = match wish {
            Wish::Ask => activities.state(&key),
            Wish::Interrupt => activities.interrupt(&key).await,
            Wish::Discard => self.sessions.discard_activity(key).await.map_err(|error| {
                let text = "the store could not forget the activity";
                Refusal::new(error.reason(), text).retry_after(Duration::from_secs(1))
            })?,
        };
        Ok(Response::new(wire::activity_response(&state)))
    }

    /// How long the session's authority lasts; `None`: as long as the session.
    fn authority_left(&self, live: &Arc<Live>) -> Option<prost_types::Duration> {
        let until = live.with(|session, _| session.authority_until());
        (until != Timestamp::NEVER).then(|| wire::duration(self.sessions.clock().until(until)))
    }
}

#[tonic::async_trait]
impl SessionService for Service {
    type AttachStream = attach::Notices;

    //= O-16
    async fn open(&self, request: Request<OpenRequest>) -> Result<Response<OpenResponse>, Status> {
        let identity = request.extensions().get::<Identity>().cloned().ok_or_else(|| {
            Status::from(Refusal::new(Reason::TokenMissing, "opening a session needs a bearer token"))
        })?;
        if self.sessions.is_draining() {
            return Err(Refusal::new(Reason::Draining, "the server is draining; call another").into());
        }
        let authority = self.authority(&identity, &request);
        let (nonce, offer) = offer::parse(request.into_inner())?;
        let offered = self.methods.offered(|scopes| identity.scopes().contains_all(scopes));
        let agreement = negotiate::answer(&offer, self.sessions.terms(), &offered).map_err(|refusal| {
            //= O-10
            Refusal::new(refusal.reason(), refusal.to_string())
                .limits(wire::limits(self.sessions.terms()))
                .into_status()
        })?;
        let opened = self.sessions.open(identity.principal().clone(), nonce, agreement, authority).await;
        let opened = opened.map_err(|error| open_refusal(&error))?;
        let authority = self.authority_left(&opened.live);
        Ok(Response::new(offer::answer(&opened, authority)))
    }

    //= L-10
    //= L-11
    //= L-16
    async fn renew(&self, request: Request<RenewRequest>) -> Result<Response<RenewResponse>, Status> {
        let live = session_of(&request)?;
        let identity = request.extensions().get::<Identity>().cloned();
        let authority =
            identity.as_ref().map(|identity| (identity.principal(), self.authority(identity, &request)));
        let ticket = match request.get_ref().rotate_ticket {
            true => Some(self.sessions.make_ticket().map_err(|error| open_refusal(&error.into()))?),
            false => None,
        };
        let hash = ticket.as_ref().map(ticket::hash);
        let answer = live.request(|session, now, request| session.renew(now, hash, authority, request)).await;
        let answer = answer.map_err(|error| match error {
            RenewError::PrincipalMismatch => {
                Refusal::new(Reason::PrincipalMismatch, "the token is not of the session's principal")
            }
            RenewError::Unknown(SessionUnknown) => session_unknown(),
        })?;
        match answer {
            Answer::Renewed => Ok(Response::new(RenewResponse {
                ticket: ticket.map(|ticket| ticket.0.to_vec().into()).unwrap_or_default(),
                lease: Some(wire::duration(live.agreement().lease)),
                authority: self.authority_left(&live),
            })),
            other => Err(unexpected(&other)),
        }
    }

    async fn attach(
        &self,
        request: Request<Streaming<AttachRequest>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let live = session_of(&request)?;
        let connection = request.extensions().get::<ConnectionInfo>().cloned();
        Ok(Response::new(self.attachments.serve(live, connection.as_ref(), request.into_inner())))
    }

    async fn query(&self, request: Request<QueryRequest>) -> Result<Response<QueryResponse>, Status> {
        let live = session_of(&request)?;
        let QueryRequest { slot, sequence, settle, cancel, activity, interrupt, discard } =
            request.into_inner();
        if !activity.is_empty() || interrupt || discard {
            let wish = match (discard, interrupt) {
                (true, _) => Wish::Discard,
                (false, true) => Wish::Interrupt,
                (false, false) => Wish::Ask,
            };
            return self.query_activity(&live, activity, wish).await;
        }
        if sequence == 0 {
            return Err(Refusal::new(Reason::FieldInvalid, "sequence is 0, the first call has 1").into());
        }
        let call = CallId { slot: SlotId(slot), sequence: Sequence(sequence) };
        let answer = live.request(|session, _, request| session.query(call, settle, cancel, request)).await;
        match answer.map_err(|error| Refusal::new(error.reason(), error.to_string()))? {
            Answer::Queried(state, last) => {
                //= S-29
                let goes_on = matches!(state, CallState::Running | CallState::Unknown);
                let resumption = if goes_on { live.tell_stream(call) } else { None };
                let exclusion = self.sessions.exclusion();
                if state == CallState::NotExecuted {
                    exclusion.withdraw(live.id(), call);
                }
                //= D-44
                let waits_behind = exclusion.behind(live.id(), call);
                let answer = wire::query_response(&state, last, resumption.as_ref(), waits_behind);
                Ok(Response::new(answer))
            }
            other => Err(unexpected(&other)),
        }
    }

    //= L-19
    //= L-20
    async fn release(&self, request: Request<ReleaseRequest>) -> Result<Response<ReleaseResponse>, Status> {
        if let Some(ReleasedBefore(released)) = request.extensions().get() {
            return released_before(released);
        }
        let live = session_of(&request)?;
        let wait = wire::optional_duration("wait", request.into_inner().wait)?;
        let wait = self.sessions.limits().release_wait.clamp(wait);
        match live.release(wait).await.map_err(|SessionUnknown| session_unknown())? {
            Answer::Released(summary) => Ok(Response::new(wire::release_response(&summary))),
            //= L-38
            Answer::ReleaseTokenMissing => {
                let text = "the acceptor owns the release token; nothing has changed";
                Err(Refusal::new(Reason::ReleaseRefused, text).into())
            }
            //= L-21
            Answer::ReleaseRefused { running } => Err(Refusal::new(
                Reason::ReleaseRefused,
                format!("{running} calls are not at their end; nothing has changed"),
            )
            .into()),
            //= L-22
            Answer::Aborted { calls } => Err(Refusal::new(
                Reason::SessionEnded,
                format!("{} calls were not at their end in time; the session was aborted", calls.len()),
            )
            .into()),
            other => Err(unexpected(&other)),
        }
    }

    //= L-24
    async fn abort(&self, request: Request<AbortRequest>) -> Result<Response<AbortResponse>, Status> {
        let live = session_of(&request)?;
        let AbortRequest { reason } = request.into_inner();
        if reason.len() > TEXT_BYTES_MAX {
            let text = format!("reason has {} bytes, {TEXT_BYTES_MAX} is the bound", reason.len());
            return Err(Refusal::new(Reason::FieldInvalid, text).into());
        }
        // What is secured a moment later is not claimed.
        let places = live.stream_places();
        let answer = live.request(|session, _, request| session.abort(request)).await;
        match answer.map_err(|SessionUnknown| session_unknown())? {
            Answer::Aborted { calls } => {
                tracing::info!(session = %live.id(), ?reason, "session aborted by its owner");
                Ok(Response::new(wire::abort_response(&calls, &places)))
            }
            other => Err(unexpected(&other)),
        }
    }
}

/// The answer to a release that was lost on its way.
//= L-43
fn released_before(released: &Released) -> Result<Response<ReleaseResponse>, Status> {
    match released {
        Released::Done(summary) => Ok(Response::new(wire::release_response(summary))),
        Released::Recording => {
            let text = "the end of the session is on its way to the store; ask again";
            Err(Refusal::new(Reason::StoreUnavailable, text).retry_after(Duration::from_millis(100)).into())
        }
    }
}

fn session_of<T>(request: &Request<T>) -> Result<Arc<Live>, Status> {
    Ok(Arc::clone(SessionContext::live(request.session()?)))
}

/// A failure of the store, or an answer to another question.
fn unexpected(answer: &Answer) -> Status {
    let Answer::Failed(reason) = answer else {
        tracing::error!(?answer, "the session answered another question");
        return Refusal::new(Reason::ProtocolViolated, "the server contradicts itself").into();
    };
    let refusal = Refusal::new(*reason, "what the answer rests on could not be kept");
    if *reason == Reason::StoreUnavailable {
        refusal.retry_after(Duration::from_secs(1)).into()
    } else {
        refusal.into()
    }
}

fn open_refusal(error: &OpenError) -> Status {
    let reason = match error {
        OpenError::Place(place) => place.reason(),
        OpenError::Store(_) | OpenError::Entropy(_) => Reason::StoreUnavailable,
        OpenError::Failed(reason) => *reason,
    };
    let refusal = Refusal::new(reason, error.to_string());
    match reason {
        Reason::SessionsExhausted | Reason::ServerFull | Reason::StoreUnavailable => {
            refusal.retry_after(Duration::from_secs(1)).into()
        }
        _ => refusal.into(),
    }
}
