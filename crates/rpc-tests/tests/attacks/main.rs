//! What HTTP/2 lets strangers do to a server, on real sockets and in raw frames: each ends with an exact answer or a GOAWAY,
//! or waits within limits; a good client of the same server is not harmed meanwhile; memory is bounded, and afterwards
//! everything is given back.
//!
//! Memory is the resident set of this process, in which attackers live too, so the bounds are generous for the server. What
//! is given back is counted in tasks of the runtime: each connection and each handler is one.
#![expect(clippy::unwrap_used, reason = "a test says by panicking that something went wrong")]

mod crowds;
mod floods;
mod resets;
mod slow;
mod wire;

use std::net::SocketAddr;
use std::time::Duration;

use rpc_server::net::Config;
use rpc_tests::channel::{Answer, Channel};
use rpc_tests::pb::ledger::v1::TestReply;
use rpc_tests::server::{Ready, TestServer, net};
use rpc_tests::session::{Opened, TRANSFER, booking};
use rpc_tests::soon;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, MutexGuard, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

const ECHO: &str = "/ledger.v1.TestLedger/Echo";
/// One attack at a time: each looks at the memory of the whole process.
static ALONE: Mutex<()> = Mutex::const_new(());
/// How much larger the process may be while it is attacked, attackers included.
const GROWTH_BYTES_MAX: u64 = 192 << 20;
/// Calls that the good client makes at least, before an attack, while it lasts, and after it.
const GOOD_CALLS_MIN: u64 = 3;

/// A server, its good client, and what there was before the attack.
struct Siege {
    server: TestServer,
    good: Good,
    tasks: usize,
    resident: u64,
    _alone: MutexGuard<'static, ()>,
}

impl Siege {
    /// A server with its defaults, but as patient as tests can be.
    async fn lay() -> Self {
        Self::lay_with(impatient, |builder| builder).await
    }

    async fn lay_with(change: impl FnOnce(&mut Config), configure: impl FnOnce(Ready) -> Ready) -> Self {
        let alone = ALONE.lock().await;
        let server = TestServer::start_with(|builder| configure(builder.net(net(change)))).await;
        let good = Good::start(&server).await;
        good.calls(GOOD_CALLS_MIN).await;
        let tasks = Handle::current().metrics().num_alive_tasks();
        Self { server, good, tasks, resident: resident_bytes(), _alone: alone }
    }

    fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Asserts that the attack at its worst takes no more than it may, and that the good client is answered during it.
    async fn is_held(&self, name: &str) {
        let growth = resident_bytes().saturating_sub(self.resident);
        assert!(growth <= GROWTH_BYTES_MAX, "{name}: {growth} bytes more");
        self.good.calls(GOOD_CALLS_MIN).await;
    }

    /// Asserts that nothing of the attack is left.
    async fn is_over(&self, name: &str) {
        soon(name, async {
            while Handle::current().metrics().num_alive_tasks() > self.tasks {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
        self.good.calls(GOOD_CALLS_MIN).await;
    }

    /// Ends the good client, none of whose calls has failed.
    async fn lift(self) {
        self.good.stop.cancel();
        let calls = soon("the good client", self.good.task).await.unwrap();
        assert_eq!(self.server.books().booked("good"), calls, "each of its calls ran once");
    }
}

/// Short times before the first request and after the last, for whoever says nothing.
fn impatient(config: &mut Config) {
    config.timeouts.preface = Duration::from_secs(2);
    config.timeouts.first_request = Duration::from_secs(2);
    config.lifetime.grace = Duration::from_secs(1);
    config.http2.keepalive_interval = Duration::from_secs(2);
    config.http2.keepalive_timeout = Duration::from_secs(2);
}

/// A session that makes protected calls one after another, each of which must be answered.
struct Good {
    stop: CancellationToken,
    done: watch::Receiver<u64>,
    task: AbortOnDropHandle<u64>,
}

impl Good {
    async fn start(server: &TestServer) -> Self {
        let address = server.address();
        let channel = server.connect().await;
        let mut session = Opened::propose(&channel, "good", rpc_tests::session::proposal()).await.unwrap();
        drop(channel);
        let stop = CancellationToken::new();
        let (doing, done) = watch::channel(0);
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            let mut calls = 0;
            while !stopped.is_cancelled() {
                calls += 1;
                let answer = answered(&mut session, address, calls).await;
                assert_eq!(answer.message::<TestReply>().booked, calls);
                doing.send_replace(calls);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            calls
        });
        Self { stop, done, task: AbortOnDropHandle::new(task) }
    }

    /// Waits until so many more calls have been answered.
    async fn calls(&self, more: u64) {
        let mut done = self.done.clone();
        let wanted = *done.borrow() + more;
        let answered = soon("good calls", done.wait_for(|calls| *calls >= wanted)).await;
        assert!(answered.is_ok(), "a good call failed");
    }
}

/// The answer to the good client's next call. A connection that was asked to go is left for another.
async fn answered(session: &mut Opened, address: SocketAddr, sequence: u64) -> Answer {
    for attempt in 0..5 {
        if session.bare().is_closed() {
            *session = session.over(&soon("a connection", Channel::connect(address)).await.unwrap());
        }
        let channel = session.channel_for(&format!("0.{sequence}.{attempt}"));
        match soon("a good call", channel.call(TRANSFER, &booking("good"))).await {
            Ok(answer) => return answer,
            Err(error) => assert!(session.bare().is_closed(), "a good call failed: {error}"),
        }
    }
    panic!("a good call was not answered")
}

/// What the system says that this process holds; 0 where it does not say.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}
