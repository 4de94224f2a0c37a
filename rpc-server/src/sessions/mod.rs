//! All sessions of this server: the shell around the core's registry.
//!
//! Locks are taken in one order, connection list, session, registry or activities, and none is held across an `await`. An
//! ordinary call takes its own session's lock and a shard of the directory, nothing global.

pub(crate) mod activities;
mod adopt;
mod clock;
mod committer;
mod live;
pub(crate) mod memory;
mod reaper;
pub(crate) mod streams;
pub(crate) mod ticket;

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dashmap::DashMap;
use rpc_core::config::{Limits, Terms};
use rpc_core::error::Reason;
use rpc_core::id::{ConnectionId, Epoch, Nonce, SessionId, Ticket};
use rpc_core::negotiate::{Agreement, Unit};
use rpc_core::principal::Principal;
use rpc_core::registry::{Place, PlaceError, Registry};
use rpc_core::session::{Answer, Authority, Opening, RequestId, Session, SessionUnknown};
use rpc_core::store::{Durability, Store, StoreError};
use rpc_core::time::Timestamp;
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use activities::Activities;
pub(crate) use clock::Clock;
use committer::Committer;
use live::Opened;
pub(crate) use live::{AdmittedStream, Live, Recorded, Recording};
use memory::StreamMemory;
pub use ticket::{Entropy, SystemEntropy};

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
    store: Arc<dyn Store>,
    /// Cancelled when the store has failed.
    store_failed: CancellationToken,
    committer: Committer,
    directory: DashMap<SessionId, Arc<Live>>,
    /// What each open connection carries.
    connections: DashMap<ConnectionId, Vec<SessionId>>,
    registry: Mutex<Registry>,
    activities: Arc<Activities>,
    stream_memory: StreamMemory,
    /// A deadline came nearer than the reaper knows.
    nearer: Notify,
    draining: AtomicBool,
    /// Handlers that outlived their connection.
    orphans: TaskTracker,
}

impl Sessions {
    /// Sessions under these terms and limits, kept in `store`. The unit *durable* is offered if that is durable, and only
    /// then.
    pub(crate) fn start(
        store: Arc<dyn Store>,
        mut terms: Terms,
        limits: Limits,
        entropy: Box<dyn Entropy>,
    ) -> std::io::Result<Arc<Self>> {
        let clock = Clock::new();
        terms.units = match store.durability() {
            Durability::Durable => terms.units.with(Unit::Durable),
            Durability::Volatile => terms.units.without(Unit::Durable),
        };
        let store_failed = CancellationToken::new();
        Ok(Arc::new(Self {
            clock,
            committer: Committer::start(Arc::clone(&store), store_failed.clone())?,
            store_failed,
            store,
            directory: DashMap::new(),
            connections: DashMap::new(),
            registry: Mutex::new(Registry::new(limits.clone())),
            activities: Activities::new(clock, &limits),
            stream_memory: StreamMemory::new(limits.stream_memory_max),
            terms,
            limits,
            entropy,
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

    /// What streams may take together.
    pub(crate) fn stream_memory(&self) -> &StreamMemory {
        &self.stream_memory
    }

    /// Cancelled when the store has failed: nothing is kept until it is opened again.
    pub(crate) fn store_failed(&self) -> &CancellationToken {
        &self.store_failed
    }

    /// Where they are kept.
    pub(crate) fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Handlers that outlived their connection.
    pub(crate) fn orphans(&self) -> &TaskTracker {
        &self.orphans
    }

    /// From now on no session is opened.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Release);
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
            agreement: Arc::new(agreement),
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
        opening: Opening,
        answer: oneshot::Sender<Answer>,
    ) -> Result<Placed, OpenError> {
        loop {
            {
                let mut registry = self.registry();
                match registry.place(&opening.principal, opening.nonce) {
                    Ok(Place::New(id)) => {
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

    fn ended(&self, id: SessionId, epoch: Epoch) {
        //= L-26
        self.directory.remove(&id);
        self.registry().end(self.clock.now(), id, epoch);
        self.nearer.notify_one();
    }

    fn never_opened(&self, id: SessionId) {
        // In this order, so that nobody finds the place taken and nothing in it.
        self.registry().never_opened(id);
        self.directory.remove(&id);
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Placed {
    New(Arc<Live>),
    Existing(Arc<Live>),
}
