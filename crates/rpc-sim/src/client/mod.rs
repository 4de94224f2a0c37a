//! A client's host: a session that is opened, gone on with after a crash, and opened anew when it is over; calls of every
//! kind meanwhile; and in the end the proof that everything works.

mod proof;
mod streaming;
mod talking;
mod unary;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rpc_client::credentials::{BoxError, Token, from_fn};
use rpc_client::net::{Backoff, Config, Keepalive};
use rpc_client::{Builder, CallId, Life, OpenError, SavedSession, Session};
use rpc_client::{Outcome, OutcomeExt as _};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tonic::Status;

use crate::pb::sim_client::SimClient;
use crate::random::{Entropy, Random};
use crate::witness::{Asked, Kind, Over, What, now};
use crate::world::{World, server_name};
use crate::{net, token};

/// What the numbers of those begin with that use the session of a client, too. Even: whose they are is theirs.
const RIVALS: usize = 100;
/// How often the session is saved.
const SAVE_EVERY: Duration = Duration::from_millis(100);
/// The wait after an opening that failed.
const OPEN_AGAIN: Duration = Duration::from_millis(300);

/// One life of a client, until its host crashes or it is done.
///
/// # Errors
///
/// None: what goes wrong is seen by the witness.
pub async fn run(world: Arc<World>, number: usize) -> turmoil::Result {
    let person = &world.people[number];
    let life = person.lives.fetch_add(1, Ordering::Relaxed);
    let mut sessions = 0;
    loop {
        person.does("opens a session".into());
        let salt = 0xc11e_0000_0000 + ((number as u64) << 24) + (life << 8) + sessions;
        sessions += 1;
        let Some(session) = obtain(&world, number, (number, life), salt).await else {
            sleep(OPEN_AGAIN).await;
            continue;
        };
        let caller = Caller::new(Arc::clone(&world), (number, life), session);
        let _saver = caller.save();
        if !world.is_healing() {
            caller.work().await;
        }
        // A session that two have had is given up.
        if caller.is_over() || caller.is_contested() {
            caller.session_over(false);
            *person.saved() = None;
            continue;
        }
        if caller.prove().await && caller.release().await {
            person.is_done.store(true, Ordering::Relaxed);
            person.does("is done".into());
            return Ok(());
        }
    }
}

/// Goes on with the saved session, or opens one.
async fn obtain(world: &Arc<World>, number: usize, client: (usize, u64), salt: u64) -> Option<Session> {
    let person = &world.people[number];
    let saved = person.saved().clone().and_then(|bytes| SavedSession::from_bytes(&bytes).ok());
    let builder = builder(world, number, salt);
    let opened = match &saved {
        Some(saved) => builder.resume(saved.clone()).await,
        None => builder.open().await,
    };
    match opened {
        Ok(session) => {
            let how = if saved.is_some() { "goes on with" } else { "opened" };
            world.witness.event(|| format!("client {client:?} {how} session {}", session.number()));
            Some(session)
        }
        Err(OpenError::Gone { number: session, reason }) => {
            world.witness.note(
                || format!("client {client:?} finds session {session} gone: {reason}"),
                |seen, order| {
                    // What was saved may be older than the last ticket.
                    let over = Over { order, at: now(), client, session, released: false, contested: true };
                    seen.over.push(over);
                },
            );
            *person.saved() = None;
            None
        }
        Err(error) => {
            world.witness.event(|| format!("client {client:?} has no session: {error}"));
            None
        }
    }
}

fn builder(world: &Arc<World>, number: usize, salt: u64) -> Builder {
    let issuer = Arc::clone(world);
    let credentials = from_fn(move || {
        let issuer = Arc::clone(&issuer);
        async move {
            if issuer.issuer_is_away.load(Ordering::Relaxed) {
                return Err(BoxError::from("nobody gives out tokens"));
            }
            let lifetime = issuer.config.token_lifetime;
            let text = token::token(&subject(number), issuer.next_token(), lifetime);
            Ok(Token::new(text).expires_in(lifetime))
        }
    });
    let target = Arc::clone(world);
    let seed = world.config.seed;
    let net = Config::default()
        .connect_timeout(Duration::from_secs(2))
        .backoff(Backoff::default().between(Duration::from_millis(20), Duration::from_millis(500)).seed(seed))
        .keepalive(Keepalive::new(Duration::from_secs(1), Duration::from_secs(1)))
        .connector(net::connector(Arc::clone(&world.witness), move || server_name(target.serving())));
    Session::builder("http://server")
        .credentials(credentials)
        .service::<SimClient<Session>>()
        .open_timeout(Duration::from_secs(5))
        .retry_time(Duration::from_secs(15))
        .entropy(Entropy::new(seed, salt))
        // Bounds are replaced as a whole; whoever replaces the connector knows who reads along.
        .dangerous_plaintext()
        .net(net)
}

/// Who a client is. Two of three share a principal.
fn subject(number: usize) -> String {
    if number.is_multiple_of(2) { "alice".into() } else { "bob".into() }
}

/// A client with a session. A cheap clone.
#[derive(Clone)]
pub(crate) struct Caller {
    world: Arc<World>,
    client: (usize, u64),
    session: Session,
    stub: SimClient<Session>,
}

/// Ends a task with its owner.
struct Owned(tokio::task::JoinHandle<()>);

impl Drop for Owned {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Caller {
    fn new(world: Arc<World>, client: (usize, u64), session: Session) -> Self {
        Self { world, client, stub: SimClient::new(session.clone()), session }
    }

    fn subject(&self) -> String {
        subject(self.client.0)
    }

    /// Saves the session as long as the answer lives.
    fn save(&self) -> Owned {
        let caller = self.clone();
        Owned(tokio::spawn(async move {
            let person = &caller.world.people[caller.client.0];
            let mut rivals = JoinSet::new();
            loop {
                if caller.is_over() {
                    return;
                }
                let called = person.rivals.load(Ordering::Relaxed);
                if called > 0 && !caller.world.is_healing() {
                    person.rivals.fetch_sub(1, Ordering::Relaxed);
                    let rival = caller.clone();
                    rivals.spawn(async move { rival.rival(called).await });
                }
                *caller.world.people[caller.client.0].saved() = Some(caller.session.export().to_bytes());
                sleep(SAVE_EVERY).await;
            }
        }))
    }

    fn is_over(&self) -> bool {
        matches!(self.session.state().borrow().life, Life::Ended(_))
    }

    /// Goes on with the session as if this were another process, though the first one lives.
    async fn rival(self, count: u64) {
        let (number, life) = self.client;
        let session = self.session.number();
        self.world.witness.note(
            || format!("somebody else goes on with session {session} of client {:?}", self.client),
            |seen, _| _ = seen.contested.insert(session),
        );
        let salt = self.world.witness.look(|seen| seen.order);
        let saved = self.session.export();
        let Ok(session) = builder(&self.world, number, salt).resume(saved).await else { return };
        let rival = Self::new(Arc::clone(&self.world), (number + RIVALS, life), session);
        let mut random = Random::new(self.world.config.seed, salt);
        let calls = random.within(1..12);
        rival.work_as(salt << 8 | count, calls).await;
    }

    fn is_contested(&self) -> bool {
        let session = self.session.number();
        self.world.witness.look(|seen| seen.contested.contains(&session))
    }

    /// Calls what comes to its mind until there are no more faults, or the session is over.
    async fn work(&self) {
        let mut workers = JoinSet::new();
        for worker in 0..self.world.config.workers {
            let caller = self.clone();
            workers.spawn(async move { caller.work_as(worker, u64::MAX).await });
        }
        self.world.people[self.client.0].does("waits for its workers".into());
        while workers.join_next().await.is_some() {}
    }

    async fn work_as(&self, worker: u64, calls: u64) {
        let salt = self.session.number().value().rotate_left(24)
            ^ (self.client.1 << 16)
            ^ ((self.client.0 as u64) << 8)
            ^ worker;
        let mut random = Random::new(self.world.config.seed, salt);
        let mut count = 0;
        while count < calls && !self.world.is_healing() && !self.is_over() {
            let id =
                format!("{}.{}.{}.{worker}.{count}", self.client.0, self.client.1, self.session.number());
            count += 1;
            let kind =
                if random.percent(65) { random.one_of(Kind::UNARY) } else { random.one_of(Kind::STREAMS) };
            if kind.streams() {
                self.stream(&id, kind, &mut random).await;
            } else {
                self.unary(&id, kind, &mut random).await;
            }
            let pause = random.one_of(&[5, 50, 300]);
            sleep(random.millis(0..pause)).await;
        }
    }

    fn session_over(&self, released: bool) {
        let (client, session) = (self.client, self.session.number());
        let life = self.session.state().borrow().life;
        let contested = self.is_contested();
        self.world.witness.note(
            || format!("session {session} of client {client:?} is over: {life:?}"),
            |seen, order| seen.over.push(Over { order, at: now(), client, session, released, contested }),
        );
    }

    fn asks(&self, id: &str, kind: Kind, parts: u64) {
        let (client, session) = (self.client, self.session.number());
        self.world.witness.note(
            || format!("client {client:?} calls {kind:?} {id} in session {session}"),
            |seen, order| {
                let asked = Asked {
                    order,
                    client,
                    session,
                    kind,
                    parts,
                    told: None,
                    call: None,
                    attempts: 0,
                    queried: None,
                    reply: None,
                };
                seen.asked.insert(id.to_owned(), asked);
            },
        );
    }

    fn is_told(&self, id: &str, what: &What) {
        self.world.witness.note(
            || format!("{id} is told {what:?}"),
            |seen, order| {
                if let Some(asked) = seen.asked.get_mut(id) {
                    asked.told = Some((order, what.clone()));
                }
            },
        );
    }

    fn is_call(&self, id: &str, call: Option<CallId>, attempts: u32) {
        self.world.witness.note(
            || format!("{id} is call {call:?}"),
            |seen, _| {
                if let Some(asked) = seen.asked.get_mut(id) {
                    (asked.call, asked.attempts) = (call, attempts);
                }
            },
        );
    }
}

/// What a status says.
fn what(status: &Status) -> What {
    let text = format!("{:?} {:?}: {}", status.code(), status.reason(), status.message());
    match status.outcome() {
        Some(Outcome::Done) => What::Failed(text),
        Some(Outcome::NotExecuted) => What::NotExecuted(text),
        Some(Outcome::Unknown) => What::Unknown(text),
        // Of a call without promise nothing is told; this is what a handler says.
        None if status.message() == "the call wants its handler to fail" => What::Failed(text),
        None => What::Unknown(text),
    }
}
