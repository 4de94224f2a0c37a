//! What a server keeps of streams so that they can go on: by hand, under a name, within its memory and its time.
#![expect(clippy::unwrap_used, reason = "a test says by panicking that something went wrong")]

mod activities;
mod authority;
mod by_hand;
mod discard;
mod explicit;
mod memory;
mod time;
mod units;

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use rpc_core::stream::position::Position;
use rpc_core::stream::resume::Resume;
use rpc_proto::frames::resume_value;
use rpc_proto::pb::session::v1::query_response::State;
use rpc_proto::pb::session::v1::{OpenRequest, QueryRequest, QueryResponse, Secured, Unit};
use rpc_tests::channel::{Answer, Channel, Withheld, frame};
use rpc_tests::pb::streams::v1::Summary;
use rpc_tests::pb::vault::v1::Stored;
use rpc_tests::pb::vault::v1::vault_server::VaultServer;
use rpc_tests::server::{Ready, TestServer};
use rpc_tests::session::{Opened, nonce};
use rpc_tests::soon;
use rpc_tests::streams::{Tally, chunk};
use rpc_tests::vault::Vault;

const STORE: &str = "/vault.v1.Vault/Store";
const STOPPABLE: &str = "/vault.v1.Vault/StoreStoppable";
const PAYLOAD_BYTES: u32 = 100;
const UNITS: [Unit; 4] = [Unit::ExactlyOnce, Unit::Resume, Unit::MinorSynchronize, Unit::Activity];

/// A server with a vault, as the test wants it.
async fn served(configure: impl FnOnce(Ready) -> Ready) -> (TestServer, Vault) {
    let vault = Vault::default();
    let service = VaultServer::new(vault.clone());
    (TestServer::start_with(|builder| configure(builder.service(service))).await, vault)
}

/// The same on pipes, so that the time can be paused.
async fn piped(configure: impl FnOnce(Ready) -> Ready) -> (TestServer, Vault) {
    let vault = Vault::default();
    let service = VaultServer::new(vault.clone());
    (TestServer::on_pipes(|builder| configure(builder.service(service))).await, vault)
}

fn proposal(units: &[Unit]) -> OpenRequest {
    let units = units.iter().map(|unit| i32::from(*unit)).collect();
    OpenRequest { nonce: nonce(), units, ..OpenRequest::default() }
}

async fn open(channel: &Channel, subject: &str) -> Opened {
    Opened::propose(channel, subject, proposal(&UNITS)).await.unwrap()
}

/// One attempt of an upload, by hand: no control frames.
struct Upload(Withheld);

impl Upload {
    fn begin(channel: &Channel, path: &'static str) -> Self {
        Self(channel.withhold(path))
    }

    /// Sends the chunks of these indices.
    async fn give(&self, chunks: std::ops::Range<u64>) {
        for index in chunks {
            self.0.give(frame(&chunk(index, PAYLOAD_BYTES))).await;
        }
    }

    async fn finish(self) -> Answer {
        self.0.finish().await
    }

    /// The answer that comes before the end.
    async fn answer(self) -> Answer {
        self.0.answer().await
    }

    async fn lose(self) {
        self.0.reset().await;
    }
}

/// The channel of an attempt that works on an activity, from there on.
fn for_activity(session: &Opened, call: &str, name: &str, from: Option<&QueryResponse>) -> Channel {
    let channel = session.channel_for(call).with_header("session-activity-bin", encoded(name));
    match from {
        Some(from) => channel.with_header("session-resume-bin", resume_value(&resume(place(from)))),
        None => channel,
    }
}

fn encoded(name: &str) -> String {
    STANDARD_NO_PAD.encode(name)
}

fn resume(send_from: Position) -> Resume {
    Resume { send_from, ..Resume::default() }
}

fn secured(response: &QueryResponse) -> &Secured {
    response.resumption.as_ref().and_then(|at| at.requests.as_ref()).expect("something is secured")
}

/// Where requests go on.
fn place(response: &QueryResponse) -> Position {
    let position = secured(response).position.unwrap();
    Position { messages: position.messages, bytes: position.bytes }
}

async fn ask_activity(session: &Opened, name: &str, interrupt: bool) -> QueryResponse {
    let activity = name.as_bytes().to_vec().into();
    session.ask(QueryRequest { activity, interrupt, ..QueryRequest::default() }).await
}

/// Asks until the activity is in that state.
async fn until_activity(session: &Opened, name: &str, state: State) -> QueryResponse {
    soon("the activity", async {
        loop {
            let response = ask_activity(session, name, false).await;
            if response.state() == state {
                return response;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
}

fn tally(chunks: u64) -> Tally {
    let mut tally = Tally::default();
    (0..chunks).for_each(|index| tally.add(&chunk(index, PAYLOAD_BYTES)).unwrap());
    tally
}

fn summary(answer: &Answer) -> Summary {
    answer.message::<Stored>().summary.unwrap()
}
