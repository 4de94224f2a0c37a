//! Decisions about a session before it is opened.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use rpc_core::initiator::calls::Calls;
use rpc_core::initiator::renewal::Rotation;
use rpc_core::negotiate::{FirstTurnProposal, Offer, ServiceRequest, Unit, Units};
use rpc_core::policy::{Described, ServicePolicy};
use tokio::time::Instant;

use crate::core::{Clock, Core, Opened, Parts, Settings};
use crate::credentials::{Credentials, Wallet};
use crate::entropy::{Chance, Entropy};
use crate::error::OpenError;
use crate::events::Announcer;
use crate::net::{Config, Connections, Connector, Tls};
use crate::open;
use crate::plaintext::Plaintext;
use crate::policy::Policies;
use crate::resume;
use crate::saved::{Lock, SavedSession, Saving, target_name};
use crate::session::Session;
use crate::slots::Slots;

/// Stands for "no end" where a duration does not fit the clock.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3_600);

/// Longest name of a program, in bytes.
const CLIENT_NAME_MAX: usize = 128;

/// A session of which the target is known, and not yet who opens it: the one decision without a safe default.
#[derive(Debug)]
#[must_use]
pub struct Target {
    pub(crate) uri: String,
}

impl Target {
    /// Says who opens the session: a token that never changes, as a string, or anything that fetches
    /// [`Credentials`].
    pub fn credentials(self, credentials: impl Credentials) -> Builder {
        Builder {
            uri: self.uri,
            credentials: Arc::new(credentials),
            services: Vec::new(),
            offer: Offer::default(),
            refused: Units::KERNEL,
            client_name: String::new(),
            net: Config::default(),
            plaintext: Plaintext::Loopback,
            open_timeout: Duration::from_secs(30),
            rotation: Rotation::default(),
            save_to: None,
            slot_wait: Duration::from_secs(30),
            slot_waiters_max: 10_000,
            chance: Chance::default(),
            settings: Settings {
                call_timeout: None,
                retry_time: Duration::from_secs(120),
                request_bytes_max: 4 << 20,
                response_bytes_max: 4 << 20,
            },
        }
    }
}

/// A session before it is opened: what it needs, and the bounds it keeps. All have defaults.
#[must_use]
pub struct Builder {
    uri: String,
    credentials: Arc<dyn Credentials>,
    services: Vec<&'static ServicePolicy>,
    offer: Offer,
    /// Units that are not proposed, whoever needs them.
    refused: Units,
    client_name: String,
    net: Config,
    plaintext: Plaintext,
    open_timeout: Duration,
    rotation: Rotation,
    save_to: Option<PathBuf>,
    slot_wait: Duration,
    slot_waiters_max: usize,
    chance: Chance,
    settings: Settings,
}

/// A builder whose decisions were looked at.
struct Ready {
    parts: Parts,
    target: String,
    offer: Offer,
    refused: Units,
    client_name: String,
    deadline: Instant,
    rotation: Rotation,
    save_to: Option<PathBuf>,
    lock: Option<Lock>,
    slot_wait: Duration,
    slot_waiters_max: usize,
}

impl Builder {
    /// Declares a service that the program calls: `service::<LedgerClient<Session>>()`. May be repeated.
    ///
    /// The opening fails if the server does not grant it, or was built with other policies for it. Methods of services
    /// that are not declared are plain: they are called once, and if the session was not granted their service, with
    /// the token and without the session. Default: none declared, and the session may use what its principal may.
    ///
    /// A service with a policy adds the units that its methods can use to the proposal, and each can be
    /// [left out](Self::without_unit):
    ///
    /// - methods with checkpoints: minor synchronize, resume, activity, and durable, which a server with a durable store
    ///   agrees on;
    /// - those of them that have a `dialog`, as methods that stream both ways do unless they say otherwise: typed data,
    ///   expedited data, major synchronize, resynchronize;
    /// - those of them that are `half_duplex`: half-duplex and exceptions.
    pub fn service<S: Described>(mut self) -> Self {
        if !self.services.iter().any(|policy| policy.name == S::POLICY.name) {
            self.services.push(S::POLICY);
        }
        self
    }

    /// Keeps this many connections to the server: 1 to 16, default 2.
    pub fn connections(mut self, count: usize) -> Self {
        self.net = self.net.connections(count);
        self
    }

    /// Says whom to trust, and who this end is. Only for `https`; default: the system's roots.
    pub fn tls(mut self, tls: Tls) -> Self {
        self.net = self.net.tls(tls);
        self
    }

    /// Replaces the way to reach the target, under TLS. Default: TCP. Whoever replaces it knows who reads along, so
    /// `http` targets are then not bound to loopback addresses.
    pub fn connector(mut self, connector: impl Connector) -> Self {
        self.net = self.net.connector(connector);
        self.plaintext = Plaintext::Anywhere;
        self
    }

    /// Sends token and ticket without TLS to hosts that are not this one. Whoever is on the way can read and use them,
    /// so this is for networks where something else encrypts. Default: refused.
    pub fn dangerous_plaintext(mut self) -> Self {
        self.plaintext = Plaintext::Anywhere;
        self
    }

    /// Replaces all settings of the connections, those set here before included.
    pub fn net(mut self, config: Config) -> Self {
        self.net = config;
        self
    }

    /// Proposes how long the session lives without traffic. Default: the server's.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.offer.lease = Some(lease);
        self
    }

    /// Proposes how long the session is kept after its last connection is lost. Default: the server's.
    pub fn linger(mut self, linger: Duration) -> Self {
        self.offer.linger = Some(linger);
        self
    }

    /// Proposes how many protected calls may be outstanding at the same time. Default: the server's.
    pub fn slots(mut self, slots: u32) -> Self {
        self.offer.slots = Some(slots);
        self
    }

    /// Proposes the largest reply that is kept for replay, in bytes. Default: the server's.
    pub fn reply_bytes_max(mut self, bytes: u32) -> Self {
        self.offer.reply_bytes = Some(bytes);
        self
    }

    /// Proposes how many bytes of each direction of a stream may wait to be secured. More is kept in memory at both sides,
    /// and keeps long fat links busy. Default: the server's.
    pub fn window_bytes(mut self, bytes: u64) -> Self {
        self.offer.window_bytes = Some(bytes);
        self
    }

    /// Proposes a unit that the session can do without, and what it needs. Default: exactly-once and duplex, and what
    /// methods of [declared services](Self::service) can use.
    ///
    /// Of the others, [`Unit::Digest`] has what streams carry compared by BLAKE3 beside CRC32C, which finds intent as well
    /// as accidents, and which both sides pay for with CPU. [`Unit::NegotiatedRelease`] lets the server refuse a release
    /// in place of aborting what still runs. [`Unit::DataSeparation`] excludes [`Unit::Activity`], which wins where both
    /// are proposed: [require](Self::require_unit) the one or [leave out](Self::without_unit) the other.
    ///
    /// Of this, [`require_unit`](Self::require_unit) and [`without_unit`](Self::without_unit), what is said last of a unit
    /// holds.
    pub fn unit(mut self, unit: Unit) -> Self {
        self.refused = self.refused.without(unit);
        self.offer.units = self.offer.units.with_needs(unit);
        self
    }

    /// Proposes a unit, and what it needs, without which the opening fails with UNIT_UNSUPPORTED.
    pub fn require_unit(mut self, unit: Unit) -> Self {
        self.offer.required = self.offer.required.with(unit);
        self.unit(unit)
    }

    /// Does not propose a unit, whatever services are declared: nothing of it is used in the session, and what needs it is
    /// off, too. Methods that promise what belongs to it are refused with UNIT_UNSUPPORTED, or are plain.
    pub fn without_unit(mut self, unit: Unit) -> Self {
        self.refused = self.refused.with(unit);
        self.offer.required = self.offer.required.without(unit);
        self
    }

    /// Proposes who begins. Default: this side.
    pub fn first_turn(mut self, turn: FirstTurnProposal) -> Self {
        self.offer.first_turn = turn;
        self
    }

    /// Replaces the whole proposal but its services, for the minima that have no method here. The units that declared
    /// services can use are added to it all the same, but for those that are [left out](Self::without_unit).
    pub fn offer(mut self, offer: Offer) -> Self {
        self.offer = offer;
        self
    }

    /// Names the program for people who look at the server. Cut to 128 bytes; default: nothing.
    pub fn client_name(mut self, name: impl Into<String>) -> Self {
        self.client_name = name.into();
        let mut end = CLIENT_NAME_MAX.min(self.client_name.len());
        while !self.client_name.is_char_boundary(end) {
            end -= 1;
        }
        self.client_name.truncate(end);
        self
    }

    /// Sets how long the opening is tried: default 30 s.
    pub fn open_timeout(mut self, timeout: Duration) -> Self {
        self.open_timeout = timeout.min(LONGEST);
        self
    }

    /// Sets the longest time for any call, all attempts together. A shorter one of the request or the method wins.
    /// Default: none.
    pub fn call_timeout(mut self, timeout: Duration) -> Self {
        self.settings.call_timeout = Some(timeout);
        self
    }

    /// Sets how long a call *without* a deadline is sent again before it is given up: default 2 min.
    pub fn retry_time(mut self, time: Duration) -> Self {
        self.settings.retry_time = time.min(LONGEST);
        self
    }

    /// Sets how long a protected call *without* a deadline waits for a slot: default 30 s.
    pub fn slot_wait(mut self, wait: Duration) -> Self {
        self.slot_wait = wait.min(LONGEST);
        self
    }

    /// Sets how many protected calls may wait for a slot: default 10,000. One more is refused with SLOTS_EXHAUSTED.
    pub fn slot_waiters_max(mut self, waiters: usize) -> Self {
        self.slot_waiters_max = waiters;
        self
    }

    /// Sets the largest request that is kept to be sent again, in bytes: default 4 MiB. A larger one of a method that is
    /// sent again is refused before it is sent, with REQUEST_TOO_LARGE. Plain calls are not bounded by this.
    pub fn request_bytes_max(mut self, bytes: usize) -> Self {
        self.settings.request_bytes_max = bytes;
        self
    }

    /// Sets the largest reply that is taken whole, in bytes: default 4 MiB. A larger reply to a protected call is
    /// answered with EXECUTED_REPLY_DROPPED and the outcome *done*. Plain calls are not bounded by this.
    pub fn response_bytes_max(mut self, bytes: usize) -> Self {
        self.settings.response_bytes_max = bytes;
        self
    }

    /// Says when the ticket is replaced. Default: with every renewal of the authority.
    pub fn rotation(mut self, rotation: Rotation) -> Self {
        self.rotation = rotation;
        self
    }

    /// Keeps the session in this file, as [`SavedSession::save`] does: from its beginning, and with each new ticket before
    /// that is used, so that a process that is killed at any time leaves a file that the next one can
    /// [go on](Self::resume) with. Default: none.
    ///
    /// On Unix the file is locked while the session lives, by an empty file beside it of the same name with `.lock` after
    /// it: a second session, of whatever process, is refused with [`SavedError::InUse`](crate::SavedError::InUse) after
    /// waiting 2 s for one that is ending.
    ///
    /// Where the file cannot be written later, the ticket is not replaced, and [`Event::SaveFailed`](crate::Event::SaveFailed)
    /// says so. The end by [`release`](Session::release) or [`abort`](Session::abort) removes the file; any other leaves it,
    /// and the next process is told that the session is [gone](OpenError::Gone).
    pub fn save_to(mut self, path: impl Into<PathBuf>) -> Self {
        self.save_to = Some(path.into());
        self
    }

    /// Where the nonce of the opening and the waits between attempts come from. Default: the system's randomness; only
    /// simulations give another. The pauses between dials have a seed of their own:
    /// [`net::Backoff::seed`](crate::net::Backoff::seed).
    pub fn entropy(mut self, entropy: impl Entropy) -> Self {
        self.chance = Chance::new(entropy);
        self
    }

    /// Opens the session, waiting for the server to be reachable.
    ///
    /// Lost answers are asked for again under the same nonce, so there is one session however often that happens.
    ///
    /// # Errors
    ///
    /// As [`OpenError`] says.
    ///
    /// # Cancel safety
    ///
    /// Dropped halfway, a session may be open at the server; it ends with its lease.
    pub async fn open(self) -> Result<Session, OpenError> {
        let mut ready = self.ready().await?;
        ready.offer.services = open::needed(&ready.parts.policies);
        ready.offer.units = open::usable(&ready.parts.policies, ready.offer.units).except(ready.refused);
        let Ready { parts, offer, client_name, rotation, deadline, .. } = &ready;
        let opened = open::open(parts, offer, client_name, *rotation, *deadline).await?;
        tracing::info!(session = %opened.number, epoch = %opened.epoch, "session opened");
        let (number, ticket) = (opened.number, opened.tickets.current.clone());
        let services = ready.offer.services.clone();
        let calls = Calls::new(opened.agreement.slots);
        let core = ready.core(opened, services, calls);
        if let Err(error) = core.saving.write(core.export()).await {
            open::give_up(&core.net, number, &ticket, "the session is not saved").await;
            return Err(error.into());
        }
        Ok(Session::start(core))
    }

    /// Goes on with a session that was [saved](SavedSession), in place of opening one, waiting for the server to be
    /// reachable. All settings of the builder hold but the proposal: what was agreed stays agreed.
    ///
    /// The session is proven to live by a renewal with a fresh token. Of its calls, nothing is known to this process:
    ///
    /// - What became of those whose ids the program knows, it may [ask](Session::query). A slot remembers its last call until
    ///   the next one, so it asks before it makes new calls.
    /// - Slots are resolved when they are first used, by two questions to the server, which also see to it that a request
    ///   of the other process that is still on its way never runs. Slots in which calls of that process run are left to
    ///   them; if there is no other, new calls wait as long as [`slot_wait`](Self::slot_wait) or their deadlines let them.
    /// - Streams that were open do not go on, but [activities](Session::resume_activity) do.
    ///
    /// The process that had the session must have ended.
    ///
    /// # Errors
    ///
    /// As [`OpenError`] says. [`Gone`](OpenError::Gone): the session is no more. [`Elsewhere`](OpenError::Elsewhere): it was
    /// saved at another target, whatever that stands for. [`Service`](OpenError::Service): it was opened without a service
    /// that the builder names, or that has changed in this program since.
    ///
    /// # Cancel safety
    ///
    /// Dropped halfway, the session is as it was, and can be gone on with.
    pub async fn resume(self, saved: SavedSession) -> Result<Session, OpenError> {
        let ready = self.ready().await?;
        let services = resume::check(&ready.parts, &ready.target, &saved)?;
        let opened = resume::resume(&ready.parts, &saved, ready.rotation, ready.deadline).await?;
        tracing::info!(session = %opened.number, epoch = %opened.epoch, "session resumed");
        let calls = Calls::resumed(opened.agreement.slots);
        let core = ready.core(opened, services, calls);
        core.saving.write(core.export()).await?;
        Ok(Session::start(core))
    }

    async fn ready(self) -> Result<Ready, OpenError> {
        let target: Uri =
            self.uri.parse().map_err(|source| OpenError::Target { target: self.uri.clone(), source })?;
        self.plaintext.check(&target)?;
        let lock = match &self.save_to {
            Some(path) => Some(Lock::take(path).await?),
            None => None,
        };
        Ok(Ready {
            lock,
            target: target_name(&target),
            parts: Parts {
                net: Connections::new(target, self.net)?,
                settings: self.settings,
                policies: Policies::new(self.services),
                wallet: Wallet::new(self.credentials),
                events: Arc::new(Announcer::new()),
                clock: Clock::start(),
                chance: self.chance,
            },
            offer: self.offer,
            refused: self.refused,
            client_name: self.client_name,
            deadline: Instant::now() + self.open_timeout,
            rotation: self.rotation,
            save_to: self.save_to,
            slot_wait: self.slot_wait,
            slot_waiters_max: self.slot_waiters_max,
        })
    }
}

impl Ready {
    fn core(self, opened: Opened, services: Vec<ServiceRequest>, calls: Calls) -> Core {
        let slots = Slots::new(calls, self.slot_waiters_max, self.slot_wait, self.parts.events.clone());
        let saving = Saving {
            target: self.target,
            services,
            path: self.save_to,
            lock: Arc::new(self.lock.into()),
            over: Arc::default(),
        };
        Core::new(self.parts, Arc::new(slots), saving, opened)
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let services: Vec<_> = self.services.iter().map(|policy| policy.name).collect();
        f.debug_struct("Builder")
            .field("uri", &self.uri)
            .field("services", &services)
            .field("offer", &self.offer)
            .field("refused", &self.refused)
            .field("client_name", &self.client_name)
            .field("net", &self.net)
            .field("plaintext", &self.plaintext)
            .field("open_timeout", &self.open_timeout)
            .field("rotation", &self.rotation)
            .field("save_to", &self.save_to)
            .field("slot_wait", &self.slot_wait)
            .field("slot_waiters_max", &self.slot_waiters_max)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
