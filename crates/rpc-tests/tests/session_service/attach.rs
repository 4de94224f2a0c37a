//! `Attach`: keepalive both ways, and news from the server.

use std::time::Duration;

use rpc_proto::pb::session::v1::attach_response::Event;
use rpc_proto::pb::session::v1::{
    AttachRequest, AttachResponse, Keepalive, OpenRequest, QueryRequest, ReleaseRequest, attach_request,
};
use rpc_tests::server::{TestServer, net};
use rpc_tests::session::{Opened, duration, proposal};
use rpc_tests::soon;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

struct Attached {
    say: mpsc::Sender<AttachRequest>,
    hear: Streaming<AttachResponse>,
    /// Keeps the connection.
    _session: Opened,
}

impl Attached {
    async fn to(session: &Opened) -> Self {
        let (say, requests) = mpsc::channel(8);
        let attached = soon("attach", session.service().attach(ReceiverStream::new(requests))).await.unwrap();
        Self { say, hear: attached.into_inner(), _session: session.clone() }
    }

    async fn keepalive(&self, id: u64, answer: bool) {
        let event = attach_request::Event::Keepalive(Keepalive { id, answer });
        self.say.send(AttachRequest { event: Some(event) }).await.unwrap();
    }

    /// The next event; `None` at the end of the stream.
    async fn next(&mut self) -> Option<Event> {
        let next = tokio::time::timeout(Duration::from_secs(60), self.hear.message()).await;
        next.expect("an event").unwrap().map(|response| response.event.unwrap())
    }
}

//= test L-27
#[tokio::test]
async fn a_keepalive_is_answered_with_its_id() {
    let server = TestServer::start().await;
    let alice = Opened::open(&server.connect().await).await;
    let mut attached = Attached::to(&alice).await;
    for id in [0, 7, u64::MAX, 7] {
        attached.keepalive(id, false).await;
        assert_eq!(attached.next().await, Some(Event::Keepalive(Keepalive { id, answer: true })));
    }
    // An answer is not answered, and neither is an event of a later version.
    attached.keepalive(1, true).await;
    attached.say.send(AttachRequest::default()).await.unwrap();
    attached.keepalive(2, false).await;
    assert_eq!(attached.next().await, Some(Event::Keepalive(Keepalive { id: 2, answer: true })));
    drop(attached.say);
    assert_eq!(soon("the end", attached.hear.message()).await.unwrap(), None);
}

//= test L-5
#[tokio::test(start_paused = true)]
async fn the_server_speaks_into_silence_and_only_what_the_client_says_keeps_the_lease() {
    let server = TestServer::on_pipes(|builder| builder).await;
    let channel = server.connect().await;
    let open = OpenRequest { lease: Some(duration(Duration::from_secs(45))), ..proposal() };
    let alice = Opened::propose(&channel, "alice", open).await.unwrap();
    let mut attached = Attached::to(&alice).await;
    let started = tokio::time::Instant::now();
    for id in 1..=6 {
        assert_eq!(attached.next().await, Some(Event::Keepalive(Keepalive { id, answer: false })));
        assert_eq!(started.elapsed().as_secs(), id * 20);
        attached.keepalive(id, true).await;
    }
    let heard = started.elapsed();
    while let Some(event) = attached.next().await {
        let silent = (started.elapsed() - heard).as_secs();
        match event {
            Event::Keepalive(_) => assert!(silent <= 45),
            Event::Ended(ended) => assert_eq!((ended.reason.as_str(), silent), ("SESSION_ENDED", 45)),
            other => panic!("{other:?}: nobody drains, gives or asks"),
        }
    }
}

//= test L-28
#[tokio::test]
async fn a_second_attach_on_the_same_connection_ends_the_first() {
    let server = TestServer::start().await;
    let alice = Opened::open(&server.connect().await).await;
    let mut first = Attached::to(&alice).await;
    let mut elsewhere = Attached::to(&alice.over(&server.connect().await)).await;
    let bob = Opened::propose(alice.bare(), "bob", proposal()).await.unwrap();
    let mut bobs = Attached::to(&bob).await;
    let mut second = Attached::to(&alice).await;
    assert_eq!(first.next().await, None);
    for attached in [&mut elsewhere, &mut bobs, &mut second] {
        attached.keepalive(1, false).await;
        assert_eq!(attached.next().await, Some(Event::Keepalive(Keepalive { id: 1, answer: true })));
    }
}

//= test L-30
#[tokio::test]
async fn the_end_of_the_session_is_told_on_every_connection() {
    let server = TestServer::start().await;
    let channel = server.connect().await;
    for way in ["release", "abort"] {
        let alice = Opened::open(&channel).await;
        let over = alice.over(&server.connect().await);
        let mut attached = [Attached::to(&alice).await, Attached::to(&over).await];
        match way {
            "release" => drop(alice.service().release(ReleaseRequest::default()).await.unwrap()),
            _ => drop(alice.abort().await),
        }
        for attached in &mut attached {
            let Some(Event::Ended(ended)) = attached.next().await else { panic!("the end is told: {way}") };
            assert_eq!(ended.reason, "SESSION_ENDED");
            assert_eq!(attached.next().await, None);
        }
    }
}

#[track_caller]
fn assert_drain(event: Option<Event>, at_most: Duration) {
    let Some(Event::Drain(drain)) = event else { panic!("the drain is told: {event:?}") };
    let left = Duration::try_from(drain.deadline.unwrap()).unwrap();
    assert!(left <= at_most && left + Duration::from_secs(2) > at_most, "{left:?}");
}

//= test L-29
#[tokio::test]
async fn a_drain_of_the_server_is_told_with_the_time_left() {
    let server = TestServer::start().await;
    let alice = Opened::open(&server.connect().await).await;
    let mut attached = Attached::to(&alice).await;
    server.handle().drain(Duration::from_secs(8));
    assert_drain(attached.next().await, Duration::from_secs(8));
    // Those who go when they are told are not cut.
    drop(attached);
    assert_eq!(server.ended().await.cut, 0);
}

//= test L-29
#[tokio::test]
async fn a_connection_that_has_aged_is_told_to_go_and_the_session_goes_on_elsewhere() {
    let grace = Duration::from_secs(7);
    let server = TestServer::start_with(|builder| {
        builder.net(net(|config| {
            config.lifetime.age = Duration::from_millis(200);
            config.lifetime.age_jitter_percent = 0;
            config.lifetime.grace = grace;
        }))
    })
    .await;
    let alice = Opened::open(&server.connect().await).await;
    let mut attached = Attached::to(&alice).await;
    assert_drain(attached.next().await, grace);
    assert_eq!(
        attached.next().await,
        None,
        "an open stream would hold the connection until the grace is over"
    );
    let elsewhere = alice.over(&server.connect().await);
    elsewhere.query(0, 1).await;
}

#[tokio::test]
async fn a_lost_connection_leaves_nothing_attached() {
    let server = TestServer::start().await;
    let alice = Opened::open(&server.connect().await).await;
    let attached = Attached::to(&alice).await;
    alice.bare().cut();
    let back = alice.over(&server.connect().await);
    let query = QueryRequest { sequence: 1, ..QueryRequest::default() };
    soon("query", back.service().query(query)).await.unwrap();
    drop(attached);
    let mut again = Attached::to(&back).await;
    again.keepalive(1, false).await;
    assert_eq!(again.next().await, Some(Event::Keepalive(Keepalive { id: 1, answer: true })));
}
