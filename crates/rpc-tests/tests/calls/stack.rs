//! The layers on tonic's own server.

use rpc_core::error::Reason;
use rpc_proto::headers::Answered;
use rpc_proto::pb::session::v1::{AttachRequest, Keepalive, attach_request};
use rpc_tests::channel::Channel;
use rpc_tests::ledger::Books;
use rpc_tests::pb::ledger::v1::TestReply;
use rpc_tests::server::builder;
use rpc_tests::session::{Opened, booking};
use rpc_tests::soon;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use crate::ECHO;

//= test C-8
//= test C-18
#[tokio::test]
async fn the_layers_keep_their_promises_on_tonics_own_server() {
    let books = Books::default();
    let stack = builder(&books).stack().unwrap();
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = incoming.local_addr().unwrap();
    let reaper = tokio::spawn(stack.reaper());
    let serving = Server::builder().layer(stack.layer()).add_routes(stack.routes());
    let server = tokio::spawn(serving.serve_with_incoming(incoming));

    let alice = Opened::open(&Channel::connect(address).await.unwrap()).await;
    let first = alice.transfer("0.1.0", &booking("x")).await;
    assert_eq!(first.answered(), Some(Answered::New));
    let retry = alice.transfer("0.1.1", &booking("x")).await;
    assert_eq!(retry.answered(), Some(Answered::Replayed));
    assert_eq!(retry.without_outcome(), first.without_outcome());
    let false_retry = alice.transfer("0.1.2", &booking("y")).await;
    assert_eq!(false_retry.reason(), Some(Reason::CallFalseRetry));
    alice.channel().call(ECHO, &booking("plain")).await.unwrap().message::<TestReply>();

    books.hold("held");
    let lost = alice.begin("0.2.0", &booking("held"));
    books.started("held").await;
    alice.bare().cut();
    assert!(lost.await.unwrap().is_none());
    books.let_go("held");
    let back = alice.over(&Channel::connect(address).await.unwrap());
    assert_eq!(back.transfer("0.2.1", &booking("held")).await.message::<TestReply>().booked, 1);
    assert_eq!((books.booked("x"), books.booked("held")), (1, 1));
    back.service().release(rpc_proto::pb::session::v1::ReleaseRequest::default()).await.unwrap();

    server.abort();
    reaper.abort();
}

/// Nobody tells connections apart there: each client with two of them had one `Attach` end the other, for ever.
//= test L-28
#[tokio::test]
async fn streams_on_two_connections_of_tonics_own_server_do_not_end_each_other() {
    let stack = builder(&Books::default()).stack().unwrap();
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = incoming.local_addr().unwrap();
    let serving = Server::builder().layer(stack.layer()).add_routes(stack.routes());
    let server = tokio::spawn(serving.serve_with_incoming(incoming));

    let alice = Opened::open(&Channel::connect(address).await.unwrap()).await;
    let again = alice.over(&Channel::connect(address).await.unwrap());
    let mut streams = Vec::new();
    for session in [&alice, &again] {
        let (say, requests) = mpsc::channel::<AttachRequest>(1);
        let heard = session.service().attach(ReceiverStream::new(requests)).await.unwrap();
        streams.push((say, heard.into_inner()));
    }
    for (say, heard) in &mut streams {
        let event = attach_request::Event::Keepalive(Keepalive { id: 7, answer: false });
        say.send(AttachRequest { event: Some(event) }).await.unwrap();
        assert!(soon("the answer", heard.message()).await.unwrap().is_some());
    }
    server.abort();
}
