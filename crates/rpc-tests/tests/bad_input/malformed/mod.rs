//! Headers and control frames that are none, by the hundred: each is told its code, its reason and its outcome. After each,
//! calls on the same connection are answered, and a stream that began before all of them has lost nothing.

mod bodies;
mod calls;
mod headers;
mod streams;

use std::collections::BTreeSet;

use bytes::Bytes;
use rpc_core::error::{Outcome, Reason};
use rpc_proto::pb::session::v1::{OpenRequest, Unit};
use rpc_tests::channel::{Channel, Withheld, frame};
use rpc_tests::pb::ledger::v1::TestReply;
use rpc_tests::pb::streams::v1::Summary;
use rpc_tests::pb::streams::v1::test_streams_server::TestStreamsServer;
use rpc_tests::pb::vault::v1::vault_server::VaultServer;
use rpc_tests::server::TestServer;
use rpc_tests::session::{Opened, booking, nonce};
use rpc_tests::soon;
use rpc_tests::streams::{Streams, chunk, tally};
use rpc_tests::vault::Vault;
use tonic::Code;

use crate::scene::{ECHO, Told};

const STORE: &str = "/vault.v1.Vault/Store";
const PAYLOAD_BYTES: u32 = 10;

/// One request that nobody should send, and what it is told.
struct Bad {
    name: String,
    /// Added to those that make the request good.
    headers: Vec<(&'static str, Vec<u8>)>,
    base: Base,
    path: &'static str,
    body: Bytes,
    told: Told,
}

/// What a request has before something is added.
#[derive(Debug, Clone, Copy)]
enum Base {
    /// Nothing.
    Bare,
    /// The number.
    Number,
    /// The ticket.
    Ticket,
    /// Both.
    Session,
    /// Both, and a call that would be admitted.
    Call(&'static str),
    /// A call of a session of its own, which reads control frames.
    Frames,
}

impl Bad {
    fn of(base: Base, path: &'static str, header: &'static str, value: &[u8], told: Told) -> Self {
        let name = format!("{path} after {base:?}, {header}: {}", value.escape_ascii());
        let body = frame(&booking("bad"));
        Self { name, headers: vec![(header, value.to_vec())], base, path, body, told }
    }

    fn and(mut self, header: &'static str, value: impl AsRef<[u8]>) -> Self {
        self.name = format!("{}, {header}: {}", self.name, value.as_ref().escape_ascii());
        self.headers.push((header, value.as_ref().to_vec()));
        self
    }
}

/// One connection with a session, and a stream of another session that goes on.
struct Yard {
    server: TestServer,
    alice: Opened,
    witness: Withheld,
    seen: tokio::sync::watch::Receiver<u64>,
    given: u64,
}

impl Yard {
    async fn set() -> Self {
        let (streams, vault) = (Streams::default(), Vault::default());
        let seen = streams.seen();
        let server = TestServer::start_with(|builder| {
            builder.service(TestStreamsServer::new(streams)).service(VaultServer::new(vault))
        })
        .await;
        let channel = server.connect().await;
        let alice = open(&channel, "alice").await;
        let bob = open(&channel, "bob").await;
        let witness = bob.channel_for("0.1.0").withhold("/streams.v1.TestStreams/Upload");
        Self { server, alice, witness, seen, given: 0 }
    }

    async fn channel(&self, base: Base) -> (Channel, Option<Opened>) {
        let bare = self.alice.bare().clone();
        let number = self.alice.number.to_string();
        let ticket = rpc_proto::headers::ticket_value(&self.alice.ticket);
        match base {
            Base::Bare => (bare, None),
            Base::Number => (bare.with_header("session", number), None),
            Base::Ticket => (bare.with_header("session-ticket", ticket), None),
            Base::Session => (self.alice.channel(), None),
            Base::Call(call) => (self.alice.channel_for(call), None),
            Base::Frames => {
                let mallory = open(&bare, "mallory").await;
                (mallory.channel_for("0.1.0").with_header("session-frames", "1"), Some(mallory))
            }
        }
    }

    /// What was told instead, if it was something else.
    async fn refuses(&mut self, bad: &Bad) -> Option<String> {
        let (channel, own) = self.channel(bad.base).await;
        let said =
            |channel: Channel, (name, value): &(&'static str, Vec<u8>)| channel.with_header(name, value);
        let channel = bad.headers.iter().fold(channel, said);
        let answer = soon(&bad.name, channel.call_bytes(bad.path, bad.body.clone())).await;
        let answer = answer.unwrap_or_else(|error| panic!("{}: {error}", bad.name));
        let (code, reason, outcome) = bad.told;
        let status = answer.status();
        // Whoever is told nothing of it takes the outcome of a stream that broke off for unknown.
        let absent = matches!(bad.base, Base::Frames).then_some(Outcome::Unknown);
        let told = (status.code(), answer.reason(), answer.outcome().or(absent));
        let is_right = told == (code, Some(reason), outcome);
        if let Some(own) = own {
            own.abort().await;
        }
        self.is_unharmed(&bad.name).await;
        let name: String = bad.name.chars().take(120).collect();
        (!is_right).then(|| format!("{name}: {told:?}, {}", status.message()))
    }

    /// The next chunk of the stream arrives, and both kinds of calls of a session are answered.
    async fn is_unharmed(&mut self, after: &str) {
        self.witness.give(frame(&chunk(self.given, PAYLOAD_BYTES))).await;
        self.given += 1;
        let given = self.given;
        soon(after, self.seen.wait_for(|seen| *seen == given)).await.unwrap();
        let good = soon(after, self.alice.channel().call(ECHO, &booking("good"))).await.unwrap();
        assert_eq!(good.message::<TestReply>().booked, given, "after {after}");
        let (call, id) = (format!("63.{given}.0"), format!("good {given}"));
        let good = self.alice.transfer(&call, &booking(&id)).await;
        assert_eq!(good.message::<TestReply>().booked, 1, "after {after}");
    }

    async fn nothing_was_lost(self) {
        let summary: Summary = self.witness.finish().await.message();
        assert_eq!(summary, tally(self.given, PAYLOAD_BYTES).summary());
        assert_eq!(self.server.books().entry("bad").started, 0, "what was refused ran");
        // No slot that was named was used.
        for slot in 0..8 {
            let state = self.alice.query(slot, 1).await.state();
            assert_eq!(state, rpc_proto::pb::session::v1::query_response::State::Absent, "slot {slot}");
        }
    }
}

async fn open(channel: &Channel, subject: &str) -> Opened {
    let units = [Unit::ExactlyOnce, Unit::Resume, Unit::MinorSynchronize, Unit::Activity];
    let units = units.map(i32::from).to_vec();
    let proposal = OpenRequest { nonce: nonce(), units, ..OpenRequest::default() };
    Opened::propose(channel, subject, proposal).await.unwrap()
}

const fn told(reason: Reason, outcome: Option<Outcome>) -> Told {
    let code = match reason {
        Reason::TokenMissing => Code::Unauthenticated,
        Reason::ProtocolViolated => Code::Internal,
        Reason::StreamDiverged => Code::DataLoss,
        _ => Code::InvalidArgument,
    };
    (code, reason, outcome)
}

const INVALID: Told = told(Reason::HeaderInvalid, None);
const NOT_EXECUTED: Told = told(Reason::HeaderInvalid, Some(Outcome::NotExecuted));
const UNKNOWN: Told = told(Reason::HeaderInvalid, Some(Outcome::Unknown));

//= test W-3
//= test W-4
//= test W-5
//= test W-6
//= test W-7
//= test W-8
//= test W-9
//= test W-14
#[tokio::test]
async fn hundreds_of_malformed_headers_and_frames_are_told_their_reasons_and_harm_nobody() {
    let mut yard = Yard::set().await;
    let all: Vec<Bad> =
        [headers::all(), calls::all(), streams::all(), bodies::all()].into_iter().flatten().collect();
    let mut names = BTreeSet::new();
    for bad in &all {
        assert!(names.insert(&bad.name), "twice: {}", bad.name);
    }
    assert!(all.len() >= 250, "{} of them", all.len());
    let mut wrong = Vec::new();
    for bad in &all {
        wrong.extend(yard.refuses(bad).await);
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(yard.given, all.len() as u64);
    yard.nothing_was_lost().await;
}
