//! Many calls, and connections that are cut at random places all the time.

use std::collections::BTreeSet;

use rpc_tests::pb::ledger::v1::TestRequest;
use rpc_tests::proxy::{End, Fault, Proxy};
use rpc_tests::server::TestServer;
use tokio::task::JoinSet;

use super::{Client, open};

const TASKS: u64 = 8;
const CALLS: u64 = 1_250;

/// What a failure prints to repeat it: `SESSION_SEED=… cargo test -p rpc-tests --test end_to_end storm`.
fn seeds() -> Vec<u64> {
    match std::env::var("SESSION_SEED") {
        Ok(seed) => vec![seed.parse().expect("SESSION_SEED is a number")],
        Err(_) => vec![1, 2],
    }
}

async fn run(seed: u64) {
    let server = TestServer::start().await;
    let proxy = Proxy::start(server.address(), seed).await.expect("loopback is to be had");
    // Every connection lives for a while and is cut somewhere, by FIN or by RST in turn of the seeds.
    let end = if seed.is_multiple_of(2) { End::Fin } else { End::Rst };
    proxy.plan(Fault::CutSomewhere { bytes_max: 60_000, end });
    let session = open(proxy.address(), |config| config.connections(2)).await;
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let mut client = Client::new(session.clone());
        tasks.spawn(async move {
            let mut replies = Vec::new();
            for call in 0..CALLS {
                let id = format!("{task}/{call}");
                let payload =
                    id.repeat(usize::try_from((call * 7 + seed) % 40).expect("below 40")).into_bytes();
                let sent = TestRequest { id: id.clone(), payload: payload.clone(), ..TestRequest::default() };
                let reply = client.transfer(sent).await;
                let reply = reply.unwrap_or_else(|status| panic!("seed {seed}, call {id}: {status:?}"));
                let reply = reply.into_inner();
                assert_eq!((&reply.id, &reply.payload), (&id, &payload), "seed {seed}: another call's reply");
                replies.push((id, reply.booked));
            }
            replies
        });
    }
    let mut answered = BTreeSet::new();
    for replies in tasks.join_all().await {
        for (id, booked) in replies {
            assert_eq!(booked, 1, "seed {seed}: call {id} ran again");
            assert!(answered.insert(id));
        }
    }
    let entries = server.books().all();
    assert_eq!(entries.len() as u64, TASKS * CALLS, "seed {seed}");
    for (id, entry) in &entries {
        assert_eq!((entry.started, entry.booked, entry.stopped), (1, 1, 0), "seed {seed}: call {id}");
    }
    let connections = proxy.connections();
    assert!(connections > 20, "seed {seed}: only {connections} connections, so nothing was proved");
    session.release().await.expect("nothing is under way");
}

//= test I1
//= test I2
//= test C-22
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_calls_run_once_each_while_connections_are_cut() {
    for seed in seeds() {
        run(seed).await;
    }
}
