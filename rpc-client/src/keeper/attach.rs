//! Ties each connection to the session: keepalive both ways, and the server's notices.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rpc_core::dialog::Holding;
use rpc_core::error::Reason;
use rpc_proto::frames::{holdings_from_wire, holdings_to_wire};
use rpc_proto::pb::session::v1::attach_request::Event as Request;
use rpc_proto::pb::session::v1::attach_response::Event as Notice;
use rpc_proto::pb::session::v1::control_frame::Token;
use rpc_proto::pb::session::v1::{
    AttachRequest, AttachResponse, Keepalive, ReleaseDeclined, ReleaseWanted, TokensAsked, TokensGiven,
};
use rpc_proto::status::Details;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval_at, sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

use crate::control::Via;
use crate::core::Core;
use crate::error::refusal;
use crate::events::Event;
use crate::net::Connection;
use crate::retry::Waits;

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
    let mut waits = Waits::new(&core.chance);
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
    let mut talk = Talk { core, connection, outgoing, last_id: 0, unanswered: None, said: None, asked: None };
    talk.say()?;
    let _ = talk.outgoing.try_send(keepalive(0, false));
    let opened = timeout(PATIENCE, opening).await;
    let opened = opened.map_err(|_| Status::deadline_exceeded("no answer to Attach"))?;
    let notices = opened.inspect_err(|status| core.note(&Details::of(status), proofs))?.into_inner();
    core.heard(sent);
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
    /// What was said on this connection of the owner of the release token.
    said: Option<Vec<Holding>>,
    /// With which priority it was asked for.
    asked: Option<u32>,
}

impl Talk<'_> {
    async fn run(&mut self, mut notices: Streaming<AttachResponse>) -> Result<(), Status> {
        let mut tick = interval_at(Instant::now() + KEEPALIVE, KEEPALIVE);
        let mut token = self.core.parting.token().subscribe();
        loop {
            self.say()?;
            let late = self.unanswered.map(|(_, sent)| sent + PATIENCE);
            tokio::select! {
                notice = notices.message() => match notice? {
                    Some(notice) => self.take(notice.event)?,
                    None => return Ok(()),
                },
                _ = tick.tick() => self.ask(),
                // `core` holds the other end.
                _ = token.changed() => {}
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

    /// Says who owns the release token, and whether this side asks for it, as far as that is new on this connection.
    //= L-39
    fn say(&mut self) -> Result<(), Status> {
        let token = self.core.parting.token().borrow().clone();
        if !token.is_available() {
            return Ok(());
        }
        let (holdings, asked) = (token.holdings(), token.wanted());
        if self.said.as_ref() != Some(&holdings) {
            let given = TokensGiven { holdings: holdings_to_wire(&holdings) };
            self.send(Request::Given(given))?;
            self.said = Some(holdings);
        }
        if self.asked != asked {
            let tokens = asked.iter().map(|_| Token::Release.into()).collect();
            self.send(Request::Asked(TokensAsked { tokens, priority: asked.unwrap_or_default() }))?;
            self.asked = asked;
        }
        Ok(())
    }

    /// Sends what must not be lost: where nothing gets through, the stream is ended, and the next one says everything.
    fn send(&self, event: Request) -> Result<(), Status> {
        let sent = self.outgoing.try_send(AttachRequest { event: Some(event) });
        sent.map_err(|_| Status::unavailable("nothing gets through on Attach"))
    }

    /// The server says who owns the release token.
    fn heard(&self, given: TokensGiven) -> Result<(), Status> {
        let violated = |text: String| refusal(Reason::ProtocolViolated, text, None);
        let holdings =
            holdings_from_wire(given.holdings).map_err(|malformed| violated(malformed.to_string()))?;
        let mut heard = Ok(());
        self.core.parting.token().send_modify(|token| heard = token.heard(&holdings));
        heard.map_err(|violation| violated(violation.to_string()))
    }

    /// The server wants the session to be released.
    //= L-40
    //= L-41
    fn release_wanted(&self, wanted: &ReleaseWanted) -> Result<(), Status> {
        let within = wanted.within.and_then(|within| Duration::try_from(within).ok()).unwrap_or_default();
        self.core.events.say(Event::ReleaseWanted(within));
        if self.core.parting.is_held() {
            return self.send(Request::ReleaseDeclined(ReleaseDeclined {}));
        }
        self.core.parting.wanted().send_replace(Some(Instant::now() + within));
        Ok(())
    }

    fn take(&mut self, notice: Option<Notice>) -> Result<(), Status> {
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
            Some(Notice::Given(given)) => self.heard(given)?,
            Some(Notice::Asked(asked)) => {
                let wants_release = asked.tokens().any(|token| token == Token::Release);
                let priority = wants_release.then_some(asked.priority);
                self.core.parting.token().send_modify(|token| token.heard_asked(priority));
            }
            Some(Notice::ReleaseWanted(wanted)) => self.release_wanted(&wanted)?,
            // A notice of a later version of the protocol.
            None => {}
        }
        Ok(())
    }

    fn answered(&mut self, id: u64) {
        if let Some((asked, sent)) = self.unanswered.filter(|(asked, _)| *asked == id) {
            debug_assert_eq!(asked, id);
            self.core.heard(sent);
            self.unanswered = None;
        }
    }

    fn ended(&self, reason: &str) {
        self.core.told_gone(Reason::from_name(reason).unwrap_or(Reason::SessionEnded));
    }
}

fn keepalive(id: u64, answer: bool) -> AttachRequest {
    AttachRequest { event: Some(Request::Keepalive(Keepalive { id, answer })) }
}
