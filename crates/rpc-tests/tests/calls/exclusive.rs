//! Calls of one exclusive class run one after another.

use std::time::Duration;

use rpc_core::error::{Outcome, Reason};
use rpc_proto::headers::Answered;
use rpc_proto::pb::session::v1::query_response::State;
use rpc_proto::pb::session::v1::{OpenRequest, QueryRequest, Unit};
use rpc_tests::channel::Answer;
use rpc_tests::ledger::{Books, Ledger};
use rpc_tests::pb::bulk::v1::test_bulk_server::TestBulkServer;
use rpc_tests::pb::ledger::v1::{TestReply, TestRequest};
use rpc_tests::server::{Ready, TestServer, limits};
use rpc_tests::session::{Opened, booking, duration, proposal};
use rpc_tests::{soon, token};
use tokio::task::JoinHandle;

const CARRY: &str = "/bulk.v1.TestBulk/Carry";
const CARRY_HERE: &str = "/bulk.v1.TestBulk/CarryHere";
const WEIGH: &str = "/bulk.v1.TestBulk/Weigh";
const WEIGH_HERE: &str = "/bulk.v1.TestBulk/WeighHere";
const LIST: &str = "/bulk.v1.TestBulk/List";
const POUR: &str = "/bulk.v1.TestBulk/Pour";

/// A server of exclusive calls, and what they did.
struct Scene {
    server: TestServer,
    books: Books,
}

type Going = JoinHandle<Option<Answer>>;

fn bulk(builder: Ready, books: &Books) -> Ready {
    builder.service(TestBulkServer::new(Ledger::new(books.clone())))
}

impl Scene {
    async fn start() -> Self {
        Self::with(|builder| builder).await
    }

    async fn with(configure: impl FnOnce(Ready) -> Ready) -> Self {
        let books = Books::default();
        let server = TestServer::start_with(|builder| configure(bulk(builder, &books))).await;
        Self { server, books }
    }

    /// A session of `alice`, over a connection of its own.
    async fn alice(&self) -> Opened {
        self.of("alice").await
    }

    async fn of(&self, subject: &str) -> Opened {
        let units = vec![Unit::ExactlyOnce.into(), Unit::Resume.into(), Unit::MinorSynchronize.into()];
        let open = OpenRequest { units, ..proposal() };
        Opened::propose(&self.server.connect().await, subject, open).await.unwrap()
    }

    /// A call that has the class, and is held in its handler under `id`.
    async fn held(&self, session: &Opened, path: &'static str, call: &str, id: &str) -> Going {
        self.books.hold(id);
        let going = session.begin_at(path, call, &booking(id));
        self.books.started(id).await;
        going
    }

    /// A call that waits behind so many.
    async fn waits(&self, session: &Opened, call: &str, id: &str, behind: u32) -> Going {
        let going = session.begin_at(CARRY, call, &booking(id));
        waits_behind(session, call, behind).await;
        going
    }
}

/// Waits until the call waits behind so many.
async fn waits_behind(session: &Opened, call: &str, behind: u32) {
    let numbers: Vec<u64> = call.split('.').map(|number| number.parse().unwrap()).collect();
    let slot = u32::try_from(numbers[0]).unwrap();
    let there = async {
        loop {
            let answer = session.query(slot, numbers[1]).await;
            if answer.waits_behind == behind && answer.state() == State::Absent {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    soon("the call waits", there).await;
}

async fn answer(going: Going) -> Answer {
    soon("the answer", going).await.unwrap().expect("the connection holds")
}

async fn ran(going: Going) {
    assert_eq!(answer(going).await.message::<TestReply>().booked, 1);
}

//= test D-10
//= test D-44
#[tokio::test]
async fn the_calls_of_a_principal_run_one_after_another() {
    let scene = Scene::start().await;
    let (one, two, bob) = (scene.alice().await, scene.alice().await, scene.of("bob").await);
    let first = scene.held(&one, CARRY, "0.1.0", "first").await;
    let second = scene.waits(&two, "0.1.0", "second", 1).await;
    let third = scene.waits(&one, "1.1.0", "third", 2).await;
    bob.call(CARRY, "0.1.0", &booking("bob")).await.message::<TestReply>();
    scene.books.hold("second");
    scene.books.let_go("first");
    ran(first).await;
    scene.books.started("second").await;
    assert_eq!(scene.books.entry("third").started, 0);
    waits_behind(&one, "1.1.0", 1).await;
    scene.books.let_go("second");
    ran(second).await;
    ran(third).await;
}

//= test D-10
#[tokio::test]
async fn the_calls_of_a_session_run_one_after_another() {
    let scene = Scene::start().await;
    let (one, two) = (scene.alice().await, scene.alice().await);
    let first = scene.held(&one, CARRY_HERE, "0.1.0", "first").await;
    two.call(CARRY_HERE, "0.1.0", &booking("two")).await.message::<TestReply>();
    let second = one.begin_at(CARRY_HERE, "1.1.0", &booking("second"));
    waits_behind(&one, "1.1.0", 1).await;
    scene.books.let_go("first");
    ran(first).await;
    ran(second).await;
}

//= test D-7
#[tokio::test]
async fn the_retry_of_a_call_that_ran_does_not_wait() {
    let scene = Scene::start().await;
    let alice = scene.alice().await;
    alice.call(CARRY, "0.1.0", &booking("done")).await.message::<TestReply>();
    let held = scene.held(&alice, CARRY, "1.1.0", "held").await;
    let again = alice.call(CARRY, "0.1.1", &booking("done")).await;
    assert_eq!(again.answered(), Some(Answered::Replayed));
    let other = alice.call(CARRY, "0.1.1", &booking("other")).await;
    assert_eq!(other.reason(), Some(Reason::CallFalseRetry));
    let misordered = alice.call(CARRY, "2.7.0", &booking("other")).await;
    assert_eq!(misordered.reason(), Some(Reason::CallMisordered), "what would not run does not wait");
    scene.books.let_go("held");
    ran(held).await;
}

//= test D-41
//= test C-25
#[tokio::test]
async fn a_wait_ends_with_the_deadline() {
    let scene = Scene::start().await;
    let alice = scene.alice().await;
    let held = scene.held(&alice, CARRY, "0.1.0", "held").await;
    for (call, outcome) in [("1.1.0", Outcome::NotExecuted), ("1.1.1", Outcome::Unknown)] {
        let channel = alice.channel_for(call).with_header("grpc-timeout", "50m");
        let late = soon("late", channel.call(CARRY, &booking("late"))).await.unwrap();
        assert_eq!((late.reason(), late.outcome()), (Some(Reason::DeadlineExceeded), Some(outcome)));
    }
    waits_behind(&alice, "1.1.0", 0).await;
    scene.books.let_go("held");
    ran(held).await;
    assert_eq!(scene.books.entry("late").started, 0);
}

//= test D-41
#[tokio::test]
async fn no_more_wait_than_may() {
    let limits = limits(|limits| limits.exclusive_waiting_per_class = 1);
    let scene = Scene::with(|builder| builder.limits(limits)).await;
    let alice = scene.alice().await;
    let held = scene.held(&alice, CARRY, "0.1.0", "held").await;
    let waiting = scene.waits(&alice, "1.1.0", "waiting", 1).await;
    let over = alice.call(CARRY, "2.1.0", &booking("over")).await;
    assert_eq!(
        (over.reason(), over.outcome()),
        (Some(Reason::ExclusiveExhausted), Some(Outcome::NotExecuted))
    );
    let plain = alice.channel().call(WEIGH, &booking("over")).await.unwrap();
    assert_eq!(plain.reason(), Some(Reason::ExclusiveExhausted));
    scene.books.let_go("held");
    ran(held).await;
    ran(waiting).await;
    assert_eq!(scene.books.entry("over").started, 0);
}

//= test D-42
#[tokio::test]
async fn a_call_whose_connection_is_lost_keeps_its_place() {
    let scene = Scene::start().await;
    let (alice, other) = (scene.alice().await, scene.alice().await);
    let held = scene.held(&alice, CARRY, "0.1.0", "held").await;
    let lost = other.over(&scene.server.connect().await);
    let away = scene.waits(&lost, "0.1.0", "away", 1).await;
    let next = scene.waits(&alice, "1.1.0", "next", 2).await;
    let last = scene.waits(&alice, "2.1.0", "last", 3).await;
    lost.bare().cut();
    away.await.unwrap();
    scene.books.hold("next");
    scene.books.let_go("held");
    ran(held).await;
    // It is not there: whoever is next goes first.
    scene.books.started("next").await;
    waits_behind(&other, "0.1.0", 1).await;
    scene.books.hold("away");
    let back = other.begin_at(CARRY, "0.1.1", &booking("away"));
    waits_behind(&alice, "2.1.0", 2).await;
    let late = other.call(CARRY, "0.1.0", &booking("away")).await;
    assert_eq!(late.reason(), Some(Reason::AttemptFenced));
    scene.books.let_go("next");
    ran(next).await;
    scene.books.started("away").await;
    assert_eq!(scene.books.entry("last").started, 0);
    scene.books.let_go("away");
    ran(back).await;
    ran(last).await;
}

//= test D-42
#[tokio::test]
async fn a_call_that_is_settled_waits_no_more() {
    let scene = Scene::start().await;
    let alice = scene.alice().await;
    let held = scene.held(&alice, CARRY, "0.1.0", "held").await;
    let waiting = scene.waits(&alice, "1.1.0", "waiting", 1).await;
    let settle = QueryRequest { slot: 1, sequence: 1, settle: true, ..QueryRequest::default() };
    let settled = alice.ask(settle).await;
    assert_eq!((settled.state(), settled.waits_behind), (State::NotExecuted, 0));
    assert_eq!(answer(waiting).await.reason(), Some(Reason::CallSettled));
    scene.books.let_go("held");
    ran(held).await;
    assert_eq!(scene.books.entry("waiting").started, 0);
}

//= test D-43
#[tokio::test]
async fn the_end_of_its_session_takes_the_class_from_a_handler() {
    let scene = Scene::start().await;
    let (alice, other) = (scene.alice().await, scene.alice().await);
    let held = scene.held(&alice, CARRY, "0.1.0", "held").await;
    let mine = scene.waits(&alice, "1.1.0", "mine", 1).await;
    let next = scene.waits(&other, "0.1.0", "next", 2).await;
    alice.abort().await;
    ran(next).await;
    assert_eq!(answer(held).await.outcome(), Some(Outcome::Unknown));
    let mine = answer(mine).await;
    assert_eq!((mine.reason(), mine.outcome()), (Some(Reason::SessionEnded), Some(Outcome::NotExecuted)));
    let entry = scene.books.entry("held");
    assert_eq!((entry.stopped, entry.booked), (1, 0));
}

//= test D-40
//= test D-43
#[tokio::test(start_paused = true)]
async fn a_session_that_lingers_has_the_class_until_it_lapses() {
    let books = Books::default();
    let server = TestServer::on_pipes(|builder| bulk(builder, &books)).await;
    let scene = Scene { server, books };
    let five = Some(duration(Duration::from_secs(5)));
    let open = OpenRequest { lease: five, linger: five, ..proposal() };
    let gone = Opened::propose(&scene.server.connect().await, "alice", open).await.unwrap();
    let other = scene.alice().await;
    let held = scene.held(&gone, CARRY, "0.1.0", "held").await;
    let next = scene.waits(&other, "0.1.0", "next", 1).await;
    gone.bare().cut();
    held.await.unwrap();
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(other.query(0, 1).await.waits_behind, 1);
    ran(next).await;
    assert_eq!(scene.books.entry("held").stopped, 1);
}

//= test D-10
//= test D-40
#[tokio::test]
async fn plain_calls_take_their_turn() {
    let scene = Scene::start().await;
    let alice = scene.alice().await;
    let bearer = scene.server.connect().await.bearer(&token::token("alice", &[]));
    scene.books.hold("plain");
    let weighing = bearer.clone();
    let plain = tokio::spawn(async move { weighing.call(WEIGH, &booking("plain")).await.ok() });
    scene.books.started("plain").await;
    let held = scene.waits(&alice, "0.1.0", "held", 1).await;
    scene.books.hold("held");
    scene.books.let_go("plain");
    ran(plain).await;
    scene.books.started("held").await;
    let weighing = bearer.clone();
    let late = tokio::spawn(async move { weighing.call(WEIGH, &booking("late")).await.ok() });
    scene.books.let_go("held");
    ran(held).await;
    ran(late).await;
    let here = soon("refused", bearer.call(WEIGH_HERE, &booking("plain"))).await.unwrap();
    assert_eq!(here.reason(), Some(Reason::SessionRequired));
}

//= test D-40
#[tokio::test]
async fn a_plain_stream_has_its_class_until_it_is_over() {
    let scene = Scene::start().await;
    let alice = scene.alice().await;
    let bearer = || async { scene.server.connect().await.bearer(&token::token("alice", &[])) };
    let list = soon("list", bearer().await.call(LIST, &booking("list"))).await.unwrap();
    assert_eq!(list.status().code(), tonic::Code::Ok);
    assert_eq!(scene.books.entry("list").booked, 1);
    let after = alice.call(CARRY, "0.1.0", &booking("after")).await;
    assert_eq!(after.message::<TestReply>().booked, 1);

    let endless = TestRequest { panic: true, delay_ms: 1, ..booking("endless") };
    let listening = bearer().await;
    let cut = listening.clone();
    let listing = tokio::spawn(async move { listening.call(LIST, &endless).await.ok() });
    scene.books.started("endless").await;
    let next = scene.waits(&alice, "1.1.0", "next", 1).await;
    cut.cut();
    ran(next).await;
    assert_eq!(scene.books.entry("endless").stopped, 1);
    listing.await.unwrap();
}

//= test D-10
//= test D-43
#[tokio::test]
async fn streams_take_their_turn() {
    let scene = Scene::start().await;
    let (alice, other) = (scene.alice().await, scene.alice().await);
    let held = scene.held(&alice, CARRY, "0.1.0", "held").await;
    let poured = alice.begin_at(POUR, "1.1.0", &booking("poured"));
    waits_behind(&alice, "1.1.0", 1).await;
    assert_eq!(scene.books.entry("poured").booked, 0);
    scene.books.let_go("held");
    ran(held).await;
    ran(poured).await;

    // A stream whose request does not end has the class until its session does.
    let open = alice.channel_for("2.1.0").withhold(POUR);
    open.give(rpc_tests::channel::frame(&booking("open"))).await;
    let next = other.begin_at(CARRY, "0.1.0", &booking("next"));
    waits_behind(&other, "0.1.0", 1).await;
    alice.abort().await;
    ran(next).await;
    drop(open);
}
