//! Many calls at once.

use rpc_proto::headers::Answered;
use rpc_tests::pb::ledger::v1::TestReply;
use rpc_tests::server::TestServer;
use rpc_tests::session::{Opened, booking};

//= test C-7
//= test I1
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_calls_of_eight_tasks_are_each_booked_once() {
    const TASKS: u64 = 8;
    const CALLS: u64 = 1_250;
    let server = TestServer::start().await;
    let alice = Opened::open(&server.connect().await).await;
    let mut connections = Vec::new();
    for _ in 0..4 {
        connections.push(alice.over(&server.connect().await));
    }
    let tasks = (0..TASKS).map(|task| {
        let session = connections[task as usize % connections.len()].clone();
        tokio::spawn(async move {
            for sequence in 1..=CALLS {
                let id = format!("{task}.{sequence}");
                let answer = session.transfer(&format!("{id}.0"), &booking(&id)).await;
                assert_eq!(answer.answered(), Some(Answered::New));
                assert_eq!(answer.message::<TestReply>().booked, 1);
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    let all = server.books().all();
    assert_eq!(all.len() as u64, TASKS * CALLS);
    assert!(all.values().all(|entry| (entry.started, entry.booked, entry.stopped) == (1, 1, 0)));
    for slot in 0..TASKS {
        assert_eq!(alice.query(slot as u32, CALLS).await.last_sequence, CALLS);
    }
    assert_eq!(server.shutdown().await.cut, 0);
}
