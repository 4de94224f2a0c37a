//! All sessions of this server: the shell around the core's registry.
//!
//! Locks are taken in one order, connection list, session, registry or activities, exclusive classes, and none is held
//! across an `await`. An ordinary call takes its own session's lock and a shard of the directory, nothing global.

pub(crate) mod activities;
mod adopt;
mod alike;
mod clock;
mod committer;
pub(crate) mod ends;
pub(crate) mod exclusive;
mod live;
pub(crate) mod memory;
mod reaper;
pub(crate) mod streams;
mod surroundings;
pub(crate) mod ticket;
mod values;

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dashmap::DashMap;
use rpc_core::activity::{self, Key, Worker};
use rpc_core::config::{Limits, Terms};
use rpc_core::error::Reason;
use rpc_core::id::{ConnectionId, Epoch, Nonce, SessionId, Ticket};
use rpc_core::negotiate::{Agreement, Unit};
use rpc_core::principal::Principal;
use rpc_core::record::{Change, Tombstone, Write};
use rpc_core::registry::{Place, PlaceError, Registry, Released};
use rpc_core::session::{Answer, Authority, Opening, RequestId, Session, SessionUnknown};
use rpc_core::store::{Durability, Store, StoreError, WriteError};
use rpc_core::time::Timestamp;
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::WallClock;
use activities::Activities;
use alike::Alike;
pub(crate) use clock::Clock;
use committer::Committer;
use ends::{EndedSession, Ends};
use exclusive::Exclusion;
use live::Opened;
pub(crate) use live::{AdmittedStream, Live, Recorded, Recording};
use memory::StreamMemory;
pub(crate) use surroundings::Surroundings;
pub use surroundings::{Committing, SimulatedStore};
pub use ticket::{Entropy, SystemEntropy};
pub(crate) use values::Values;

/// Why a session is not opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error(transparent)]
    Place(#[from] PlaceError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the system gives no random bytes: {0}")]
    Entropy(#[from] std::io::Error),
    #[error("the session was not opened")]
    Failed(Reason),
}

/// An open session and the ticket for it.
pub(crate) struct OpenSession {
    pub(crate) live: Arc<Live>,
    pub(crate) ticket: Ticket,
    pub(crate) existing: bool,
}

/// All sessions of this server.
pub(crate) struct Sessions {
    clock: Clock,
    terms: Terms,
    limits: Limits,
    entropy: Box<dyn Entropy>,
    wall: Box<dyn WallClock>,
    store: Arc<dyn Store>,
    values: Values,
    /// Cancelled when the store has failed.
    store_failed: CancellationToken,
    committer: Committer,
    directory: DashMap<SessionId, Arc<Live>>,
    /// What each open connection carries.
    connections: DashMap<ConnectionId, Vec<SessionId>>,
    registry: Mutex<Registry>,
    agreements: Alike<Agreement>,
    scopes: Alike<[Box<str>]>,
    activities: Arc<Activities>,
    exclusion: Arc<Exclusion>,
    stream_memory: StreamMemory,
    /// The application's hooks.
    ends: Ends,
    /// A deadline came nearer than the reaper knows.
    nearer: Notify,
    draining: AtomicBool,
    /// Handlers that outlived their connection.
    orphans: TaskTracker,
}

impl Sessions {
    /// Sessions under these terms and limits, kept in `store`. The unit *durable* is not offered where that is not
    /// durable.
    pub(crate) fn start(
        store: Arc<dyn Store>,
        mut terms: Terms,
        limits: Limits,
        surroundings: Surroundings,
        ends: Ends,
    ) -> std::io::Result<Arc<Self>> {
        let Surroundings { entropy, wall, simulated } = surroundings;
        let clock = Clock::new();
        terms.units = match store.durability() {
            Durability::Durable => terms.units,
            Durability::Volatile => terms.units.without(Unit::Durable),
        };
        let store_failed = CancellationToken::new();
        let values = match &simulated {
            Some(_) => Values::at_hand(Arc::clone(&store)),
            None => Values::of(Arc::clone(&store)),
        };
        let committer = match simulated {
            Some(simulated) => Committer::start_task(simulated, store_failed.clone())?,
            None => Committer::start(Arc::clone(&store), store_failed.clone())?,
        };
        Ok(Arc::new(Self {
            clock,
            committer,
            store_failed,
            store,
            values,
            directory: DashMap::new(),
            connections: DashMap::new(),
            registry: Mutex::new(Registry::new(limits.clone())),
            agreements: Alike::new(),
            scopes: Alike::new(),
            activities: Activities::new(clock, &limits),
            exclusion: Exclusion::new(clock, &limits),
            stream_memory: StreamMemory::new(limits.stream_memory_max),
            terms,
            limits,
            entropy,
            wall,
            ends,
            nearer: Notify::new(),
            draining: AtomicBool::new(false),
            orphans: TaskTracker::new(),
        }))
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    pub(crate) fn terms(&self) -> &Terms {
        &self.terms
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The activities of all sessions.
    pub(crate) fn activities(&self) -> &Arc<Activities> {
        &self.activities
    }

    /// The exclusive classes of all sessions.
    pub(crate) fn exclusion(&self) -> &Arc<Exclusion> {
        &self.exclusion
    }

    /// What streams may take together.
    pub(crate) fn stream_memory(&self) -> &StreamMemory {
        &self.stream_memory
    }

    /// Cancelled when the store has failed: nothing is kept until it is opened again.
    pub(crate) fn store_failed(&self) -> &CancellationToken {
        &self.store_failed
    }

    /// The application's values in the store.
    pub(crate) fn values(&self) -> &Values {
        &self.values
    }

    /// Handlers that outlived their connection.
    pub(crate) fn orphans(&self) -> &TaskTracker {
        &self.orphans
    }

    /// Scopes of a token, kept once for all sessions whose tokens have the same.
    pub(crate) fn scopes(&self, scopes: impl Iterator<Item = Box<str>>) -> Arc<[Box<str>]> {
        self.scopes.share(scopes.collect())
    }

    /// From now on no session is opened.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Release);
        // They learn that the server drains when they ask again.
        self.exclusion.disperse();
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Opens the session that principal and nonce name, or finds it.
    ///
    /// # Cancel safety
    ///
    /// The session may be open although nobody took the answer; the same nonce finds it.
    pub(crate) async fn open(
        self: &Arc<Self>,
        principal: Principal,
        nonce: Nonce,
        agreement: Agreement,
        authority: Authority,
    ) -> Result<OpenSession, OpenError> {
        let ticket = self.make_ticket()?;
        let opening = Opening {
            principal,
            nonce,
            agreement: self.agreements.share(Arc::new(agreement)),
            ticket: ticket::hash(&ticket),
            authority,
        };
        let (answer, answered) = oneshot::channel();
        let (live, answered) = match self.place(opening, answer).await? {
            Placed::New(live) => {
                live.with(|_, _| ());
                (live, answered.await)
            }
            Placed::Existing(live) => {
                let hash = ticket::hash(&ticket);
                let again =
                    live.request(|session, now, request| session.open_again(now, hash, request)).await;
                (live, Ok(again.map_err(|SessionUnknown| PlaceError::NonceUsed)?))
            }
        };
        match answered {
            Ok(Answer::Opened { existing }) => Ok(OpenSession { live, ticket, existing }),
            Ok(Answer::Failed(reason)) => Err(OpenError::Failed(reason)),
            Ok(_) | Err(_) => Err(OpenError::Failed(Reason::SessionEnded)),
        }
    }

    async fn place(
        self: &Arc<Self>,
        mut opening: Opening,
        answer: oneshot::Sender<Answer>,
    ) -> Result<Placed, OpenError> {
        loop {
            {
                let mut registry = self.registry();
                match registry.place(&opening.principal, opening.nonce) {
                    Ok(Place::New(id)) => {
                        opening.principal = registry.known(&opening.principal);
                        let request = RequestId(0);
                        let session = Session::open(self.clock.now(), id, opening, request);
                        let live = Live::new(self, session, Opened { request, answer });
                        // Under the registry's lock, so that a second opening with the nonce finds it.
                        self.directory.insert(id, Arc::clone(&live));
                        return Ok(Placed::New(live));
                    }
                    Ok(Place::Existing(id)) => {
                        let found = self.directory.get(&id).map(|live| Arc::clone(&live));
                        return found.map(Placed::Existing).ok_or(PlaceError::NonceUsed.into());
                    }
                    Err(PlaceError::NoNumber) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            let count = NonZeroU32::new(self.limits.numbers_reserved).unwrap_or(NonZeroU32::MIN);
            let range = self.committer.reserve(count).await?;
            self.registry().refill(range);
        }
    }

    /// A request came that names a session and shows a ticket. `judge` says whether its owner may make it; a request
    /// that is refused changes nothing.
    ///
    /// # Errors
    ///
    /// There is no such session, it has ended, or the ticket is not its ticket: not told apart, and the ticket is
    /// hashed in each case, so that the time tells nothing either. Or what `judge` says.
    //= A-17
    //= A-19
    pub(crate) fn present<E: From<SessionUnknown>>(
        &self,
        id: SessionId,
        ticket: &Ticket,
        connection: Option<ConnectionId>,
        judge: impl FnOnce(&Session, Timestamp) -> Result<(), E>,
    ) -> Result<Arc<Live>, E> {
        let hash = ticket::hash(ticket);
        let live = self.directory.get(&id).map(|live| Arc::clone(&live)).ok_or(SessionUnknown)?;
        let is_new = live.with(|session, now| {
            //= E-8
            if !session.is_owned_by(now, &hash) {
                return Err(SessionUnknown.into());
            }
            judge(session, now)?;
            Ok::<_, E>(session.present(now, &hash, connection)?)
        })?;
        if is_new && let Some(connection) = connection {
            self.carry(connection, &live);
        }
        Ok(live)
    }

    fn carry(&self, connection: ConnectionId, live: &Arc<Live>) {
        match self.connections.get_mut(&connection) {
            Some(mut carried) => {
                // Those that have ended are looked for when the list would grow. It then has room for as many as
                // are left, so that they are not looked for with each session.
                if carried.len() == carried.capacity() {
                    carried.retain(|id| self.directory.contains_key(id));
                    let left = carried.len();
                    carried.reserve(left);
                }
                carried.push(live.id());
            }
            // It closed while the request was on its way through the layers.
            None => live.with(|session, now| session.connection_lost(now, connection)),
        }
    }

    /// A connection is open.
    pub(crate) fn connection_open(&self, connection: ConnectionId) {
        self.connections.insert(connection, Vec::new());
    }

    /// A connection is gone.
    pub(crate) fn connection_closed(&self, connection: ConnectionId) {
        let Some((_, carried)) = self.connections.remove(&connection) else { return };
        for id in carried {
            let live = self.directory.get(&id).map(|live| Arc::clone(&live));
            if let Some(live) = live {
                live.with(|session, now| session.connection_lost(now, connection));
            }
        }
    }

    /// Ends the work on an activity and forgets it, in the store too, and tells how it stands then: absent, or running where
    /// its handler did not end or another call was faster.
    ///
    /// # Errors
    ///
    /// The store did not forget it; it is not there until the store is opened again.
    ///
    /// # Cancel safety
    ///
    /// The work is ended, and the activity may be forgotten, although nobody waits for it.
    //= D-45
    pub(crate) async fn discard_activity(&self, key: Key) -> Result<activity::State, WriteError> {
        if let running @ activity::State::Running(_) = self.activities.interrupt(&key).await {
            return Ok(running);
        }
        if let Some(Worker { session, call }) = self.activities.give_up(&key)
            && self.store.durability() == Durability::Durable
        {
            let change = Change::ForgetActivity(Box::new(key.clone()), call);
            match self.committer.forget_now(Write { session, epoch: Epoch::FIRST, change }).await {
                // Its stream was not kept in the store.
                Ok(()) | Err(WriteError::Missing) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(self.activities.state(&key))
    }

    /// A new ticket.
    pub(crate) fn make_ticket(&self) -> std::io::Result<Ticket> {
        ticket::make(&*self.entropy)
    }

    fn committer(&self) -> &Committer {
        &self.committer
    }

    fn schedule(&self, id: SessionId, at: Timestamp) {
        let mut registry = self.registry();
        let before = registry.next_wake();
        registry.schedule(id, at);
        if at < before {
            self.nearer.notify_one();
        }
    }

    //= L-26
    fn ended(&self, session: &Session) {
        let id = session.id();
        let mut registry = self.registry();
        registry.end(self.clock.now(), id, session.epoch(), session.principal(), session.nonce());
        if let Some(Tombstone { principal, receipt: Some(receipt), .. }) = session.tombstone() {
            registry.released(id, principal, receipt);
        }
        self.exclusion.end(id);
        // Behind the receipt, so that whoever asks again finds the one or the other.
        self.directory.remove(&id);
        drop(registry);
        self.nearer.notify_one();
    }

    /// The end of a session is recorded.
    //= L-34
    fn end_recorded(&self, ended: EndedSession) {
        self.registry().recorded(ended.number);
        self.ends.tell(ended);
    }

    /// What the release of a session was answered with that is over since, for whoever has its ticket; `identity` is who
    /// else the caller says to be.
    //= L-43
    //= A-13
    pub(crate) fn released(
        &self,
        id: SessionId,
        ticket: &Ticket,
        identity: Option<&Principal>,
    ) -> Option<Released> {
        let hash = ticket::hash(ticket);
        let registry = self.registry();
        let (principal, released) = registry.receipt(id, &hash)?;
        identity.is_none_or(|identity| identity == principal).then_some(released)
    }

    fn never_opened(&self, session: &Session) {
        // In this order, so that nobody finds the place taken and nothing in it.
        self.registry().never_opened(session.id(), session.principal(), session.nonce());
        self.directory.remove(&session.id());
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Placed {
    New(Arc<Live>),
    Existing(Arc<Live>),
}
