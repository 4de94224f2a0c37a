//! Plain methods of every kind, in a session and without one: ordinary gRPC, unharmed.

use rpc_tests::channel::Channel;
use rpc_tests::ledger::DOWNLOADED;
use rpc_tests::pb::ledger::v1::TestRequest;
use rpc_tests::pb::ledger::v1::test_ledger_client::TestLedgerClient;
use rpc_tests::server::TestServer;
use rpc_tests::session::{Opened, booking};
use rpc_tests::token;
use tokio_stream::wrappers::ReceiverStream;

/// The same calls with a token only, in a session, and with a call id that means nothing.
async fn ways(server: &TestServer) -> [(&'static str, Channel); 3] {
    let channel = server.connect().await;
    let alice = Opened::open(&channel).await;
    let token = channel.bearer(&token::token("alice", &[]));
    [("token", token), ("session", alice.channel()), ("call id", alice.channel_for("0.1.0"))]
}

//= test W-1
//= test W-2
//= test C-3
#[tokio::test]
async fn streams_of_every_kind_pass() {
    let server = TestServer::start().await;
    for (way, channel) in ways(&server).await {
        let mut ledger = TestLedgerClient::new(channel).max_decoding_message_size(1 << 20);
        let echoed = ledger.echo(booking(way)).await.unwrap().into_inner();
        assert_eq!((echoed.id.as_str(), echoed.booked), (way, 1));

        let large = TestRequest { payload: vec![1; 100_000], ..booking(way) };
        let mut replies = ledger.download(large).await.unwrap().into_inner();
        let mut numbers = Vec::new();
        while let Some(reply) = replies.message().await.unwrap() {
            assert_eq!(reply.payload.len(), 100_000);
            numbers.push(reply.booked);
        }
        assert_eq!(numbers, (1..=DOWNLOADED).collect::<Vec<_>>());

        let uploaded: Vec<_> = (0..100)
            .map(|n| TestRequest { payload: vec![2; 10_000], ..booking(&format!("{way}{n}")) })
            .collect();
        let reply = ledger.upload(tokio_stream::iter(uploaded)).await.unwrap().into_inner();
        assert_eq!((reply.booked, reply.id), (100, format!("{way}99")));

        let (say, requests) = tokio::sync::mpsc::channel(1);
        let mut replies = ledger.chat(ReceiverStream::new(requests)).await.unwrap().into_inner();
        for n in 0..20 {
            // Each waits for the one before: nothing is held back on the way.
            say.send(booking(&n.to_string())).await.unwrap();
            let reply = rpc_tests::soon("the reply", replies.message()).await.unwrap().unwrap();
            assert_eq!(reply.id, n.to_string());
        }
        drop(say);
        assert_eq!(replies.message().await.unwrap(), None);
    }
}

#[tokio::test]
async fn a_plain_handler_is_dropped_with_its_caller() {
    let server = TestServer::start().await;
    let alice = Opened::open(&server.connect().await).await;
    server.books().hold("held");
    let reset = alice.begin_at(crate::ECHO, "0.1.0", &booking("held"));
    server.books().started("held").await;
    reset.abort();
    server.books().until("held", |entry| entry.stopped == 1).await;
    let endless = TestRequest { panic: true, ..booking("endless") };
    let mut replies = alice.ledger().download(endless).await.unwrap().into_inner();
    replies.message().await.unwrap().unwrap();
    drop(replies);
    server.books().until("endless", |entry| entry.stopped == 1).await;
}
