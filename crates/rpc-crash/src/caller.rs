//! Clients that call while the server is killed, and remember what they were told.

use std::net::SocketAddr;
use std::time::Duration;

use rpc_client::net::{Backoff, Config, Keepalive};
use rpc_client::{Builder, Outcome, OutcomeExt as _, Session};
use rpc_server::auth::JwtIssuer;
use tokio::sync::watch;

use crate::pb::Entry;
use crate::pb::vault_client::VaultClient;
use crate::trust::{AUDIENCE, ISSUER, SECRET};

/// The stub over a session.
pub type Client = VaultClient<Session>;

/// Which method was called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    /// EXACTLY_ONCE.
    Book,
    /// AT_MOST_ONCE.
    Note,
    /// AT_MOST_ONCE, idempotent.
    NoteAgain,
}

/// What a caller was told of one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The method.
    pub method: Method,
    /// The id that it called with, which no other call has.
    pub id: String,
    /// What it was told.
    pub what: What,
}

/// What a caller is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// It ran, and this is the reply: of a booking, how often the id was booked then and the total.
    Replied(u64, u64),
    /// It never ran.
    NotExecuted,
    /// Nobody knows, for what the message says.
    Unknown(String),
}

/// Opens a session with waits that suit a server that comes back soon.
///
/// # Errors
///
/// The server refuses it, or is not there for 20 s.
pub async fn open(address: SocketAddr, subject: &str) -> Result<Session, Box<dyn std::error::Error>> {
    Ok(builder(address, subject)?.open().await?)
}

/// The session before it is opened.
///
/// # Errors
///
/// There is no token.
pub fn builder(address: SocketAddr, subject: &str) -> Result<Builder, Box<dyn std::error::Error>> {
    let token =
        JwtIssuer::hs256(SECRET, ISSUER, AUDIENCE)?.token(subject, &[], Duration::from_secs(7_200))?;
    let net = Config::default()
        .backoff(Backoff::default().between(Duration::from_millis(2), Duration::from_millis(50)))
        .keepalive(Keepalive::new(Duration::from_secs(2), Duration::from_secs(2)));
    Ok(Session::builder(format!("http://{address}"))
        .credentials(token)
        .service::<Client>()
        .retry_time(Duration::from_secs(60))
        .net(net))
}

/// Calls one method after the other until it is told to stop, and counts in `answered`.
pub async fn call_until(
    stop: watch::Receiver<bool>,
    answered: watch::Sender<u64>,
    session: Session,
    name: String,
    seed: u64,
) -> Vec<Told> {
    let mut client = Client::new(session);
    let mut told = Vec::new();
    let mut random = Random(seed);
    for number in 0_u64.. {
        if *stop.borrow() {
            break;
        }
        let method = match random.below(4) {
            0 | 1 => Method::Book,
            2 => Method::Note,
            _ => Method::NoteAgain,
        };
        let id = format!("{name}/{number}");
        let delay_us = u32::try_from(random.below(2_000)).unwrap_or_default();
        let what = call(&mut client, method, Entry { id: id.clone(), delay_us, ..Entry::default() }).await;
        told.push(Told { method, id, what });
        answered.send_modify(|answered| *answered += 1);
    }
    told
}

async fn call(client: &mut Client, method: Method, entry: Entry) -> What {
    let told = match method {
        Method::Book => client.book(entry).await.map(|reply| (reply.get_ref().count, reply.get_ref().total)),
        Method::Note => client.note(entry).await.map(|_| (1, 0)),
        Method::NoteAgain => client.note_again(entry).await.map(|_| (1, 0)),
    };
    match told {
        Ok((count, total)) => What::Replied(count, total),
        Err(status) if status.outcome() == Some(Outcome::NotExecuted) => What::NotExecuted,
        Err(status) => What::Unknown(format!("{:?}: {}", status.code(), status.message())),
    }
}

/// Numbers that a seed decides: the multiplier of Knuth's MMIX, of whose products the high bits are used.
#[derive(Debug, Clone)]
pub struct Random(pub u64);

impl Random {
    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}
