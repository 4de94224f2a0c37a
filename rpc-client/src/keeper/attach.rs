//! Ties each connection to the session: keepalive both ways, and the server's notices.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rpc_core::error::Reason;
use rpc_proto::pb::session::v1::attach_request::Event as Request;
use rpc_proto::pb::session::v1::attach_response::Event as Notice;
use rpc_proto::pb::session::v1::{AttachRequest, AttachResponse, Keepalive};
use rpc_proto::status::Details;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval_at, sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

use crate::control::Via;
use crate::core::Core;
use crate::events::Event;
use crate::net::Connection;
use crate::retry::Waits;
use crate::state::{End, Life};

/// A silent direction speaks this often: proxies end what is silent for a minute.
const KEEPALIVE: Duration = Duration::from_secs(20);
/// Time for the answer to `Attach`, and to a keepalive.
const PATIENCE: Duration = Duration::from_secs(10);
/// Messages to the server that wait to be sent; beyond it the connection stalls and keepalives are skipped.
const OUTGOING: usize = 8;

/// Attaches the session to every connection that comes up.
pub(super) async fn run(core: Arc<Core>) {
    let mut live = core.net.live();
    let mut known = BTreeSet::new();
    // Dropped with this task, which ends those it holds.
    let mut attached = JoinSet::new();
    loop {
        let connections = live.borrow_and_update().clone();
        known.retain(|key| connections.iter().any(|connection| connection.key() == *key));
        for connection in connections.iter() {
            if known.insert(connection.key()) {
                attached.spawn(hold(core.clone(), connection.clone()));
            }
        }
        tokio::select! {
            changed = live.changed() => if changed.is_err() { return },
            Some(_) = attached.join_next() => {}
            () = core.over.cancelled() => return,
        }
    }
}

/// Keeps one connection attached for as long as it lives.
async fn hold(core: Arc<Core>, connection: Connection) {
    core.events.say(Event::ConnectionMade);
    let mut waits = Waits::default();
    loop {
        let attached = tokio::select! {
            attached = attach(&core, &connection) => attached,
            () = connection.closed() => break,
        };
        // A server without `Attach` serves calls all the same.
        if attached.is_err_and(|status| status.code() == Code::Unimplemented) {
            connection.closed().await;
            break;
        }
        tokio::select! {
            () = sleep(waits.next()) => {}
            () = connection.closed() => break,
        }
    }
    core.events.say(Event::ConnectionLost);
}

/// One `Attach`, until the stream ends.
async fn attach(core: &Core, connection: &Connection) -> Result<(), Status> {
    let (mut client, proofs) = core.control(Via::One(connection.clone()), None);
    let (outgoing, requests) = mpsc::channel(OUTGOING);
    let opening = client.attach(ReceiverStream::new(requests));
    // The first message opens the stream on servers that wait for one.
    let sent = Instant::now();
    let _ = outgoing.try_send(keepalive(0, false));
    let opened = timeout(PATIENCE, opening).await;
    let opened = opened.map_err(|_| Status::deadline_exceeded("no answer to Attach"))?;
    let notices = opened.inspect_err(|status| core.note(&Details::of(status), proofs))?.into_inner();
    core.heard(sent);
    let mut talk = Talk { core, connection, outgoing, last_id: 0, unanswered: None };
    talk.run(notices).await.inspect_err(|status| core.note(&Details::of(status), proofs))
}

/// One open `Attach`.
struct Talk<'a> {
    core: &'a Core,
    connection: &'a Connection,
    outgoing: mpsc::Sender<AttachRequest>,
    last_id: u64,
    /// The keepalive that waits for its answer, and when it was sent.
    unanswered: Option<(u64, Instant)>,
}

impl Talk<'_> {
    async fn run(&mut self, mut notices: Streaming<AttachResponse>) -> Result<(), Status> {
        let mut tick = interval_at(Instant::now() + KEEPALIVE, KEEPALIVE);
        loop {
            let late = self.unanswered.map(|(_, sent)| sent + PATIENCE);
            tokio::select! {
                notice = notices.message() => match notice? {
                    Some(notice) => self.take(notice.event),
                    None => return Ok(()),
                },
                _ = tick.tick() => self.ask(),
                () = crate::deadline::passed(late) => {
                    return Err(Status::deadline_exceeded("no answer to a keepalive"));
                }
            }
        }
    }

    fn ask(&mut self) {
        self.last_id += 1;
        if self.outgoing.try_send(keepalive(self.last_id, false)).is_ok() {
            self.unanswered = Some((self.last_id, Instant::now()));
        }
    }

    fn take(&mut self, notice: Option<Notice>) {
        match notice {
            Some(Notice::Keepalive(Keepalive { id, answer: true })) => self.answered(id),
            Some(Notice::Keepalive(Keepalive { id, answer: false })) => {
                // A full queue means that nothing gets through anyway.
                let _ = self.outgoing.try_send(keepalive(id, true));
            }
            Some(Notice::Drain(drain)) => {
                let left = drain.deadline.and_then(|left| Duration::try_from(left).ok()).unwrap_or_default();
                tracing::info!(session = %self.core.number, connection = %self.connection.key(), ?left, "drain");
                self.core.events.say(Event::Draining(left));
            }
            Some(Notice::Ended(ended)) => self.ended(&ended.reason),
            Some(Notice::Given(_) | Notice::Asked(_) | Notice::ReleaseWanted(_)) => {}
            // A notice of a later version of the protocol.
            None => {}
        }
    }

    fn answered(&mut self, id: u64) {
        if let Some((asked, sent)) = self.unanswered.filter(|(asked, _)| *asked == id) {
            debug_assert_eq!(asked, id);
            self.core.heard(sent);
            self.unanswered = None;
        }
    }

    fn ended(&self, reason: &str) {
        // While a release is under way its own answer says how the session ended.
        if *self.core.life.borrow() != Life::Releasing {
            self.core.end(End::Told(Reason::from_name(reason).unwrap_or(Reason::SessionEnded)));
        }
    }
}

fn keepalive(id: u64, answer: bool) -> AttachRequest {
    AttachRequest { event: Some(Request::Keepalive(Keepalive { id, answer })) }
}
