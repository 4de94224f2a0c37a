//! What the parts of an open session share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use rpc_core::error::{Outcome, Reason};
use rpc_core::id::{Epoch, SessionId, Ticket};
use rpc_core::initiator::renewal::Renewal;
use rpc_core::negotiate::Agreement;
use rpc_core::record::Summary;
use rpc_core::time::Timestamp;
use rpc_proto::headers::{SESSION, SESSION_TICKET, session_value, ticket_value};
use rpc_proto::status::Details;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::control::{Client, Control, Via};
use crate::credentials::Wallet;
use crate::entropy::Chance;
use crate::error::refusal;
use crate::events::{Announcer, Event};
use crate::net::Connections;
use crate::policy::{Policies, service_of};
use crate::release::Parting;
use crate::saved::{SavedError, SavedSession, Saving, Tickets};
use crate::slots::{Slots, Taken};
use crate::state::{End, Life};

/// Bounds and defaults of the calls of a session.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) call_timeout: Option<Duration>,
    pub(crate) retry_time: Duration,
    pub(crate) request_bytes_max: usize,
    pub(crate) response_bytes_max: usize,
}

/// An open session, without the tasks that keep it.
pub(crate) struct Core {
    pub(crate) net: Connections,
    pub(crate) settings: Settings,
    pub(crate) policies: Policies,
    pub(crate) wallet: Wallet,
    pub(crate) number: SessionId,
    pub(crate) epoch: Epoch,
    pub(crate) agreement: Agreement,
    pub(crate) slots: Arc<Slots>,
    pub(crate) events: Arc<Announcer>,
    pub(crate) life: watch::Sender<Life>,
    /// Who may release the session, and what the server wants.
    pub(crate) parting: Parting,
    /// Held while the session is being ended: one release or abort at a time.
    pub(crate) ending: tokio::sync::Mutex<()>,
    /// What was exchanged, once the session is released.
    pub(crate) summary: OnceLock<Summary>,
    /// Cancelled when the server has said that the session is gone: nothing that still waits will be answered.
    pub(crate) over: CancellationToken,
    pub(crate) clock: Clock,
    pub(crate) chance: Chance,
    renewal: Mutex<Renewal>,
    /// Told when the renewal plan changed.
    pub(crate) replan: Notify,
    /// Told when an answer that is no proof says that the session is gone.
    pub(crate) doubted: Notify,
    /// Nanoseconds of the clock when the last request was sent that the server then took. Apart from the plan, so
    /// that a call pays for no lock.
    heard: AtomicU64,
    /// Held while a renewal is under way: there is one at a time, so the newest answer is the last one.
    pub(crate) renewing: tokio::sync::Mutex<()>,
    pub(crate) saving: Saving,
    number_value: HeaderValue,
    ticket: RwLock<TicketInUse>,
    /// How many times the authority was renewed.
    authority: AtomicU64,
    /// How many times it was tried.
    authority_tries: AtomicU64,
}

/// The ticket, also as its header, and how many were in use before it.
struct TicketInUse {
    /// There is one before it until this side has fallen back to that.
    tickets: Tickets,
    value: HeaderValue,
    rank: u64,
}

impl TicketInUse {
    fn new(tickets: Tickets, rank: u64) -> Self {
        Self { value: ticket_value(&tickets.current), tickets, rank }
    }
}

/// The proofs that an attempt was sent with. What refuses them may be answered by newer ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Proofs {
    ticket: u64,
    authority: u64,
}

/// What an opening gave, or a saved session that the server knows.
pub(crate) struct Opened {
    pub(crate) number: SessionId,
    pub(crate) epoch: Epoch,
    pub(crate) tickets: Tickets,
    pub(crate) agreement: Agreement,
    pub(crate) renewal: Renewal,
    /// It was opened, and not another process's before.
    pub(crate) is_new: bool,
}

/// Parts of a session that exist before it is opened.
pub(crate) struct Parts {
    pub(crate) net: Connections,
    pub(crate) settings: Settings,
    pub(crate) policies: Policies,
    pub(crate) wallet: Wallet,
    pub(crate) events: Arc<Announcer>,
    pub(crate) clock: Clock,
    pub(crate) chance: Chance,
}

impl Core {
    pub(crate) fn new(parts: Parts, slots: Arc<Slots>, saving: Saving, opened: Opened) -> Self {
        let parting = Parting::new(&opened.agreement, opened.is_new);
        Self {
            net: parts.net,
            settings: parts.settings,
            policies: parts.policies,
            wallet: parts.wallet,
            number: opened.number,
            epoch: opened.epoch,
            agreement: opened.agreement,
            slots,
            events: parts.events,
            life: watch::Sender::new(Life::Active),
            parting,
            ending: tokio::sync::Mutex::new(()),
            summary: OnceLock::new(),
            over: CancellationToken::new(),
            clock: parts.clock,
            chance: parts.chance,
            renewal: Mutex::new(opened.renewal),
            replan: Notify::new(),
            doubted: Notify::new(),
            heard: AtomicU64::new(0),
            renewing: tokio::sync::Mutex::new(()),
            saving,
            number_value: session_value(opened.number),
            ticket: RwLock::new(TicketInUse::new(opened.tickets, 0)),
            authority: AtomicU64::new(0),
            authority_tries: AtomicU64::new(0),
        }
    }

    /// Writes number and ticket into the headers of a request, and tells with which proofs it travels.
    pub(crate) fn stamp(&self, headers: &mut HeaderMap) -> Proofs {
        let ticket = self.ticket_in_use();
        headers.insert(SESSION, self.number_value.clone());
        headers.insert(SESSION_TICKET, ticket.value.clone());
        Proofs { ticket: ticket.rank, authority: self.authority.load(Ordering::Acquire) }
    }

    /// The session service, called for this session, with a token too if there is one.
    pub(crate) fn control(&self, via: Via, bearer: Option<HeaderValue>) -> (Client, Proofs) {
        let mut map = HeaderMap::new();
        let proofs = self.stamp(&mut map);
        let mut headers: Vec<(HeaderName, HeaderValue)> =
            map.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        headers.extend(bearer.map(|bearer| (http::header::AUTHORIZATION, bearer)));
        (Control::client(via, headers), proofs)
    }

    /// The session service over any connection.
    pub(crate) fn client(&self) -> (Client, Proofs) {
        self.control(Via::Any(self.net.clone()), None)
    }

    /// Whether calls of this path belong to the session: those of services that it was granted.
    pub(crate) fn covers(&self, path: &str) -> bool {
        service_of(path).is_some_and(|service| self.agreement.grants(service))
    }

    /// Uses this ticket from now on. The server keeps the old one until this one was used, so requests that are
    /// under way with the old one may be refused, and are sent again.
    pub(crate) fn set_ticket(&self, ticket: &Ticket) {
        let mut in_use = self.ticket.write().unwrap_or_else(PoisonError::into_inner);
        *in_use = TicketInUse::new(in_use.tickets.followed_by(ticket), in_use.rank + 1);
    }

    /// Has the file of the session, if there is one, hold a ticket that is not in use yet.
    ///
    /// # Cancel safety
    ///
    /// Dropped halfway, the file may hold it. Whoever reads it can go on with it.
    pub(crate) async fn save_with(&self, ticket: &Ticket) -> Result<(), SavedError> {
        let mut saved = self.export();
        saved.tickets = saved.tickets.followed_by(ticket);
        self.saving.write(saved).await
    }

    /// The session as another process can go on with it.
    pub(crate) fn export(&self) -> SavedSession {
        SavedSession {
            target: self.saving.target.clone(),
            number: self.number,
            epoch: self.epoch,
            tickets: self.ticket_in_use().tickets.clone(),
            agreement: self.agreement.clone(),
            services: self.saving.services.clone(),
        }
    }

    /// The server does not know the session by this ticket: goes back to the one before it, once. True if another ticket
    /// than the refused one is in use afterwards.
    ///
    /// A renewal that was given up may arrive after its successor and replace the ticket that was answered to that one
    /// (L-16). Nobody knows its own ticket, but the one before both is then still valid, because neither was used
    /// (L-15). Where the refused one was used before, the older one is void (L-14), the server says so, and the session
    /// has ended.
    fn fall_back(&self, refused: Proofs) -> bool {
        let mut in_use = self.ticket.write().unwrap_or_else(PoisonError::into_inner);
        if in_use.rank != refused.ticket {
            return in_use.rank > refused.ticket;
        }
        let Some(previous) = in_use.tickets.previous.take() else { return false };
        tracing::debug!(session = %self.number, "ticket is not known, going back to the one before it");
        *in_use = TicketInUse::new(Tickets::first(previous), in_use.rank + 1);
        true
    }

    /// Whether another ticket than that of these proofs is in use now.
    pub(crate) fn has_newer_ticket(&self, than: Proofs) -> bool {
        self.ticket_in_use().rank > than.ticket
    }

    /// Whether the authority was renewed since.
    pub(crate) fn has_newer_authority(&self, than: Proofs) -> bool {
        self.authority.load(Ordering::Acquire) > than.authority
    }

    pub(crate) fn authority_renewed(&self) {
        self.authority.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn authority_tried(&self) {
        self.authority_tries.fetch_add(1, Ordering::AcqRel);
    }

    /// How often a renewal of the authority has come to its end, whichever way.
    pub(crate) fn authority_tries(&self) -> u64 {
        self.authority_tries.load(Ordering::Acquire)
    }

    /// The server took a request that was sent at `sent`: that renewed the lease.
    pub(crate) fn heard(&self, sent: Instant) {
        self.heard.fetch_max(self.clock.nanos(sent), Ordering::Relaxed);
    }

    /// The renewal plan, brought up to what was heard.
    pub(crate) fn renewal(&self) -> MutexGuard<'_, Renewal> {
        let mut renewal = self.renewal.lock().unwrap_or_else(PoisonError::into_inner);
        renewal.heard(Timestamp::from_origin(Duration::from_nanos(self.heard.load(Ordering::Relaxed))));
        renewal
    }

    /// Refuses a new call if the session takes none.
    pub(crate) fn check_life(&self, outcome: Option<Outcome>) -> Result<(), Box<Status>> {
        let (reason, message) = match *self.life.borrow() {
            Life::Active => return Ok(()),
            Life::Releasing => (Reason::SessionReleasing, "the session is being released".to_owned()),
            Life::Ended(End::Released) => (Reason::SessionEnded, "the session was released".to_owned()),
            Life::Ended(End::Aborted) => (Reason::SessionEnded, "the session was aborted".to_owned()),
            Life::Ended(End::Told(reason)) => (reason, format!("session {} is gone: {reason}", self.number)),
        };
        Err(Box::new(refusal(reason, message, outcome)))
    }

    /// Takes a slot for a call, waiting for one until `deadline`.
    ///
    /// # Errors
    ///
    /// As [`Slots::take`]; or the session has ended meanwhile, and with it the slots.
    pub(crate) async fn take_slot(&self, deadline: Option<Instant>) -> Result<Taken, Box<Status>> {
        match self.slots.take(deadline).await {
            Ok(taken) => Ok(taken),
            Err(none) => {
                self.check_life(Some(Outcome::NotExecuted))?;
                Err(none)
            }
        }
    }

    /// Refuses a further attempt if the session has ended; one that is being released still answers.
    pub(crate) fn check_running(&self) -> Result<(), Box<Status>> {
        let releasing = matches!(*self.life.borrow(), Life::Releasing);
        if releasing { Ok(()) } else { self.check_life(None) }
    }

    /// Refuses a call that needs no session if this side has closed the connections.
    pub(crate) fn check_open(&self) -> Result<(), Box<Status>> {
        let closed = matches!(*self.life.borrow(), Life::Ended(End::Released | End::Aborted));
        if closed { self.check_life(None) } else { Ok(()) }
    }

    /// The status of a call whose session has ended.
    pub(crate) fn gone(&self) -> Box<Status> {
        self.check_life(None)
            .err()
            .unwrap_or_else(|| Box::new(refusal(Reason::SessionEnded, "the session has ended", None)))
    }

    /// The session is over. Whoever comes first says how.
    pub(crate) fn end(&self, end: End) {
        let first = self.life.send_if_modified(|life| {
            let lives = !matches!(life, Life::Ended(_));
            if lives {
                *life = Life::Ended(end);
            }
            lives
        });
        if !first {
            return;
        }
        self.slots.close();
        if let End::Told(reason) = end {
            tracing::warn!(session = %self.number, epoch = %self.epoch, %reason, "session is gone");
            self.saving.unlock();
            self.over.cancel();
        } else {
            tracing::info!(session = %self.number, epoch = %self.epoch, "session ended");
        }
        self.events.say(Event::Ended(end));
    }

    /// Has the session asked about soon if `details` say that it is gone. A plain call proves nothing: a handler that
    /// has a session with another server hands on what that one says, and there is nothing in the answer to tell.
    pub(crate) fn doubt(&self, details: &Details) {
        if let Some(Reason::SessionUnknown | Reason::SessionEnded | Reason::SessionFenced) = details.reason {
            self.doubted.notify_one();
        }
    }

    /// Ends the session if `details` say that it is gone, and not only that a ticket is: while there is another ticket,
    /// that is in use afterwards.
    pub(crate) fn note(&self, details: &Details, proofs: Proofs) {
        if let Some(reason) = self.end_in(details, proofs) {
            self.told_gone(reason);
        }
    }

    /// The server says that the session is gone. While this side is ending it, the answer to that says how it ended: a
    /// session that was just released answers everything else that comes with SESSION_ENDED.
    pub(crate) fn told_gone(&self, reason: Reason) {
        if *self.life.borrow() != Life::Releasing {
            self.end(End::Told(reason));
        }
    }

    /// The end of the session of which `details` speak. Where they may mean the ticket only, another one is in use
    /// afterwards, and [`has_newer_ticket`](Self::has_newer_ticket).
    pub(crate) fn end_in(&self, details: &Details, proofs: Proofs) -> Option<Reason> {
        match details.reason? {
            Reason::SessionUnknown if self.fall_back(proofs) => None,
            reason @ (Reason::SessionUnknown | Reason::SessionEnded | Reason::SessionFenced) => Some(reason),
            _ => None,
        }
    }

    fn ticket_in_use(&self) -> RwLockReadGuard<'_, TicketInUse> {
        self.ticket.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Points of tokio's clock as the core wants them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    origin: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { origin: Instant::now() }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.at(Instant::now())
    }

    pub(crate) fn at(&self, instant: Instant) -> Timestamp {
        Timestamp::from_origin(instant.saturating_duration_since(self.origin))
    }

    /// The instant of a point; far in the future for a point that is never reached.
    pub(crate) fn instant(&self, point: Timestamp) -> Instant {
        const FAR: Duration = Duration::from_secs(86_400 * 365);
        self.origin + point.since(Timestamp::ORIGIN).min(FAR)
    }

    fn nanos(&self, instant: Instant) -> u64 {
        u64::try_from(instant.saturating_duration_since(self.origin).as_nanos()).unwrap_or(u64::MAX)
    }
}
