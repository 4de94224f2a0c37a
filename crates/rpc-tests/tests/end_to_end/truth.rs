//! Whatever callers are told under cuts, stalls, cancels and deadlines is compared with the books.

use std::time::Duration;

use rpc_client::{Outcome, OutcomeExt as _};
use rpc_tests::pb::ledger::v1::TestRequest;
use rpc_tests::proxy::{Direction, End, Proxy};
use rpc_tests::server::TestServer;
use rpc_tests::soon;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::{Client, open, request};

const TASKS: u64 = 8;
const CALLS: u64 = 60;
const FAULTS: u64 = 50;

/// What the caller knows of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Replied,
    NotExecuted,
    /// Unknown, or cancelled before anything was told.
    InDoubt,
}

/// The numbers of one task: the multiplier of Knuth's MMIX, of whose products the high bits are used.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// One call that is patient, in a hurry, or cancelled, protected or plain.
async fn call(client: &mut Client, random: &mut Random, id: &str) -> Told {
    let delay_ms = u32::try_from(random.below(4)).expect("below 4");
    let mut sent = tonic::Request::new(TestRequest { id: id.to_owned(), delay_ms, ..TestRequest::default() });
    let patience = Duration::from_millis(match random.below(4) {
        0 => 1 + random.below(12),
        _ => 20_000,
    });
    let hurry = Duration::from_millis(1 + random.below(30));
    if random.below(3) == 0 {
        sent.set_timeout(hurry);
    }
    let plain = id.starts_with("plain");
    let calling = async { if plain { client.echo(sent).await } else { client.transfer(sent).await } };
    match timeout(patience, calling).await {
        Ok(Ok(_)) => Told::Replied,
        Ok(Err(status)) if !plain && status.outcome() == Some(Outcome::NotExecuted) => Told::NotExecuted,
        Ok(Err(_)) | Err(_) => Told::InDoubt,
    }
}

async fn faults(proxy: &Proxy, mut random: Random) {
    for _ in 0..FAULTS {
        sleep(Duration::from_millis(random.below(60))).await;
        match random.below(6) {
            0 => proxy.cut(End::Fin),
            1 | 2 => proxy.cut(End::Rst),
            3 => proxy.stall(Direction::ToClient),
            4 => proxy.stall(Direction::ToServer),
            _ => {
                proxy.refuse(true);
                proxy.cut(End::Rst);
                sleep(Duration::from_millis(random.below(50))).await;
                proxy.refuse(false);
            }
        }
    }
}

async fn run(seed: u64) {
    let server = TestServer::start().await;
    let proxy = Proxy::start(server.address(), seed).await.expect("loopback is to be had");
    let session = open(proxy.address(), |config| config.connections(2)).await;
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let mut client = Client::new(session.clone());
        tasks.spawn(async move {
            let mut random = Random(seed ^ (task << 32));
            let mut told = Vec::new();
            for number in 0..CALLS {
                let kind = if random.below(3) == 0 { "plain" } else { "once" };
                let id = format!("{kind}/{task}/{number}");
                told.push((call(&mut client, &mut random, &id).await, id));
            }
            told
        });
    }
    let (told, ()) = tokio::join!(tasks.join_all(), faults(&proxy, Random(seed)));
    // The network is good again: every slot comes free, and the session ends in order.
    soon("a call", Client::new(session.clone()).transfer(request("last")))
        .await
        .expect("the network is good");
    soon("the release", session.release()).await.expect("nothing is under way for ever");
    let mut in_doubt = 0;
    for (told, id) in told.into_iter().flatten() {
        let entry = server.books().entry(&id);
        let true_of_it = match told {
            Told::Replied => entry.booked == 1 && entry.started == 1,
            Told::NotExecuted => entry.started == 0,
            Told::InDoubt => entry.started <= 1,
        };
        assert!(true_of_it, "seed {seed}: {id} was told {told:?}: {entry:?}");
        in_doubt += usize::from(told == Told::InDoubt);
    }
    assert!(in_doubt > 10, "seed {seed}: only {in_doubt} calls met trouble, so nothing was proved");
}

//= test I1
//= test I3
//= test C-23
//= test C-27
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_callers_are_told_is_what_the_books_say() {
    let seeds =
        std::env::var("SESSION_SEED").map(|seed| vec![seed.parse().expect("SESSION_SEED is a number")]);
    for seed in seeds.unwrap_or_else(|_| vec![1, 2, 3]) {
        run(seed).await;
    }
}
