//! `Attach`: one stream a connection, for keepalive both ways and notices to the client.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use dashmap::DashMap;
use rpc_core::error::Reason;
use rpc_core::id::{ConnectionId, SessionId};
use rpc_core::session::{Said, Session};
use rpc_proto::frames::{holdings_from_wire, holdings_to_wire};
use rpc_proto::pb::session::v1::control_frame::Token;
use rpc_proto::pb::session::v1::{
    AttachRequest, AttachResponse, Drain, Ended, Keepalive, ReleaseDeclined, ReleaseWanted, TokensAsked,
    TokensGiven, attach_request, attach_response,
};
use rpc_proto::status::Refusal;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_stream::{Stream, StreamExt};
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

use super::wire;
use crate::net::{ConnectionHandle, ConnectionInfo, Notice};
use crate::sessions::Live;
use crate::sessions::ends::SessionEnd;

/// Notices that wait for the network. A client that reads none of them has its stream ended.
const QUEUE: usize = 16;

/// A silent stream says something this often, so that proxies do not take it for dead (nginx: 60 s).
const KEEPALIVE: Duration = Duration::from_secs(20);

/// An event for the client, or why the stream ends.
type Told = Result<AttachResponse, Status>;

/// Notices on their way from the work to the stream. Both are polled by one task, one after the other: nobody has to be
/// woken, which makes it a twentieth of a channel.
#[derive(Clone, Default)]
struct Queue(Arc<Mutex<VecDeque<Told>>>);

/// What the client gets. The work behind it is done while it is polled, by no task of its own.
pub(crate) struct Notices {
    queue: Queue,
    work: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Stream for Notices {
    type Item = Result<AttachResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(work) = self.work.as_mut()
            && work.as_mut().poll(cx).is_ready()
        {
            self.work = None;
        }
        match self.queue.pop() {
            Some(notice) => Poll::Ready(Some(notice)),
            None if self.work.is_some() => Poll::Pending,
            // What was queued when the work ended has gone out.
            None => Poll::Ready(None),
        }
    }
}

impl Queue {
    /// False if it is full.
    fn push(&self, notice: Told) -> bool {
        let mut queue = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let has_room = queue.len() < QUEUE;
        if has_room {
            queue.push_back(notice);
        }
        has_room
    }

    /// An empty one keeps no room.
    fn pop(&self) -> Option<Told> {
        let mut queue = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let notice = queue.pop_front();
        if notice.is_none() {
            *queue = VecDeque::new();
        }
        notice
    }
}

/// Who is attached where. At most one stream for a session on a connection: a newer one ends the older.
#[derive(Clone, Default)]
pub(super) struct Attachments {
    places: Arc<DashMap<Place, (u64, CancellationToken)>>,
    count: Arc<AtomicU64>,
}

type Place = (SessionId, ConnectionId);

/// One place taken, until it is dropped or taken by a newer stream.
struct Attachment {
    all: Attachments,
    /// `None` on a server that is not ours: nobody knows the connection there, and streams on two of them must not
    /// end each other.
    place: Option<Place>,
    number: u64,
    superseded: CancellationToken,
}

impl Attachments {
    //= L-28
    fn take(&self, place: Option<Place>) -> Attachment {
        let (number, superseded) = (self.count.fetch_add(1, Ordering::Relaxed), CancellationToken::new());
        let older = place.and_then(|place| self.places.insert(place, (number, superseded.clone())));
        if let Some((_, older)) = older {
            older.cancel();
        }
        Attachment { all: self.clone(), place, number, superseded }
    }

    /// Serves one attached connection.
    pub(super) fn serve(
        &self,
        live: Arc<Live>,
        connection: Option<&ConnectionInfo>,
        requests: Streaming<AttachRequest>,
    ) -> Notices {
        let queue = Queue::default();
        let attachment = self.take(connection.map(|connection| (live.id(), connection.id())));
        let handle = connection.map(ConnectionInfo::handle);
        let attached =
            Attached { live, attachment, notices: queue.clone(), keepalives: 0, said: Said::default() };
        Notices { queue, work: Some(Box::pin(attached.run(handle, requests))) }
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            self.all.places.remove_if(&place, |_, (number, _)| *number == self.number);
        }
    }
}

struct Attached {
    live: Arc<Live>,
    attachment: Attachment,
    notices: Queue,
    keepalives: u64,
    /// What was told on this connection.
    said: Said,
}

impl Attached {
    async fn run(mut self, connection: Option<ConnectionHandle>, mut requests: Streaming<AttachRequest>) {
        let mut ended = self.live.ended();
        let mut ticks = interval_at(Instant::now() + KEEPALIVE, KEEPALIVE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut drain = std::pin::pin!(draining(connection));
        let live = Arc::clone(&self.live);
        loop {
            // Waiting begins before the question, so that a change between the two is not missed.
            let moved = live.said().notified();
            if !self.say() {
                return self.unread();
            }
            let told = tokio::select! {
                () = moved => true,
                request = requests.next() => match request {
                    Some(Ok(request)) => self.answer(request),
                    // The client ended its side, or the connection is gone: nothing more to do.
                    Some(Err(_)) | None => return,
                },
                notice = &mut drain => {
                    // An open stream would keep the connection from ending before its time.
                    self.tell(drain_event(notice));
                    return;
                }
                _ = ticks.tick() => self.keepalive(),
                () = self.attachment.superseded.cancelled() => return,
                reason = ended.wait_for(Option::is_some) => {
                    //= L-30
                    let reason = reason.ok().and_then(|end| *end).map_or(Reason::SessionEnded, SessionEnd::reason);
                    self.tell(attach_response::Event::Ended(Ended { reason: reason.name().to_owned() }));
                    return;
                }
            };
            if !told {
                return self.unread();
            }
        }
    }

    fn unread(&self) {
        tracing::debug!(session = %self.live.id(), "attached client reads nothing; its stream ends");
    }

    /// Tells what has changed since it was told on this connection; at first, everything. False as
    /// [`tell`](Self::tell).
    //= L-39
    //= L-40
    fn say(&mut self) -> bool {
        let (said, now) = self.live.with(|session, now| (session.said(), now));
        if said == self.said {
            return true;
        }
        let Said { holdings, asks, release_by } = &said;
        let before = &self.said;
        let mut told = true;
        if *holdings != before.holdings {
            let holdings = holdings_to_wire(holdings);
            told &= self.tell(attach_response::Event::Given(TokensGiven { holdings }));
        }
        if *asks != before.asks {
            told &= self.tell(attach_response::Event::Asked(asked_to_wire(*asks)));
        }
        if let Some(by) = release_by
            && *release_by != before.release_by
        {
            let within = Some(wire::duration(by.since(now)));
            told &= self.tell(attach_response::Event::ReleaseWanted(ReleaseWanted { within }));
        }
        self.said = said;
        told
    }

    /// The initiator says who owns the release token. One that says what cannot be has its stream ended.
    fn heard(&self, given: TokensGiven) -> bool {
        let heard = holdings_from_wire(given.holdings).map_err(|malformed| malformed.to_string()).and_then(
            |holdings| {
                let heard = self.live.with(|session, _| session.release_heard(&holdings));
                heard.map_err(|violation| violation.to_string())
            },
        );
        let Err(text) = heard else { return true };
        self.notices.push(Err(Refusal::new(Reason::ProtocolViolated, text).into()));
        false
    }

    /// Queues an event; `false` if the client reads nothing and the queue is full.
    fn tell(&self, event: attach_response::Event) -> bool {
        self.notices.push(Ok(AttachResponse { event: Some(event) }))
    }

    //= L-27
    fn answer(&self, request: AttachRequest) -> bool {
        self.live.with(Session::traffic);
        match request.event {
            Some(attach_request::Event::Keepalive(Keepalive { id, answer: false })) => {
                self.tell(attach_response::Event::Keepalive(Keepalive { id, answer: true }))
            }
            Some(attach_request::Event::Given(given)) => self.heard(given),
            Some(attach_request::Event::Asked(asked)) => {
                let wants_release = asked.tokens().any(|token| token == Token::Release);
                let priority = wants_release.then_some(asked.priority);
                self.live.with(|session, _| session.release_asked(priority));
                true
            }
            //= L-41
            Some(attach_request::Event::ReleaseDeclined(ReleaseDeclined {})) => {
                self.live.with(|session, _| session.release_declined());
                true
            }
            Some(attach_request::Event::Keepalive(_)) | None => true,
        }
    }

    fn keepalive(&mut self) -> bool {
        self.keepalives += 1;
        self.tell(attach_response::Event::Keepalive(Keepalive { id: self.keepalives, answer: false }))
    }
}

/// The acceptor asks for the release token, or no longer.
fn asked_to_wire(priority: Option<u32>) -> TokensAsked {
    match priority {
        Some(priority) => TokensAsked { tokens: vec![Token::Release.into()], priority },
        None => TokensAsked::default(),
    }
}

/// Resolves when the connection was asked to go.
async fn draining(connection: Option<ConnectionHandle>) -> Notice {
    if let Some(connection) = connection
        && let Some(notice) = connection.draining().await
    {
        return notice;
    }
    std::future::pending().await
}

//= L-29
fn drain_event(notice: Notice) -> attach_response::Event {
    let left = notice.deadline.saturating_duration_since(Instant::now());
    attach_response::Event::Drain(Drain { deadline: Some(wire::duration(left)) })
}
