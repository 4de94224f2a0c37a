//! The server is killed at random instants.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use rpc_core::store::Store as _;
use rpc_crash::caller::{self, Method, Random, Told, What};
use rpc_crash::process::Process;
use rpc_store::EmbeddedStore;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::Scratch;

const SESSIONS: u64 = 4;
const TASKS_PER_SESSION: u64 = 4;
/// Calls that are answered between two deaths at least.
const ANSWERS_PER_LIFE: u64 = 20;

pub(super) fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().expect("the variable is a number"))
}

/// What really happened, by id.
pub(super) struct Truth {
    booked: BTreeMap<String, u64>,
    total: u64,
    noted: BTreeMap<String, u64>,
}

impl Truth {
    pub(super) fn read(directory: &Path, told: &[Told]) -> Self {
        let store = EmbeddedStore::open(directory.join("store")).unwrap();
        let count = |key: &str| {
            let found = store.get(key.as_bytes()).unwrap();
            found.map_or(0, |found| u64::from_be_bytes(found.value[..].try_into().unwrap()))
        };
        let booked = told.iter().map(|told| (told.id.clone(), count(&format!("id/{}", told.id)))).collect();
        let mut noted = BTreeMap::<_, u64>::new();
        for line in std::fs::read_to_string(directory.join("notes")).unwrap().lines() {
            *noted.entry(line.to_owned()).or_default() += 1;
        }
        Self { booked, total: count("total"), noted }
    }

    fn effects(&self, told: &Told) -> u64 {
        match told.method {
            Method::Book => self.booked[&told.id],
            Method::Note | Method::NoteAgain => self.noted.get(&told.id).copied().unwrap_or(0),
        }
    }

    pub(super) fn check(&self, seed: u64, told: &Told) {
        let effects = self.effects(told);
        let is_true = match (&told.what, told.method) {
            (What::Replied(count, _), Method::Book) => effects == 1 && *count == 1,
            (What::Replied(..), Method::Note) => effects == 1,
            // It may run again after a crash, and says so in its policy.
            (What::Replied(..), Method::NoteAgain) => effects >= 1,
            (What::NotExecuted, _) => effects == 0,
            (What::Unknown(_), Method::Book | Method::Note) => effects <= 1,
            (What::Unknown(_), Method::NoteAgain) => true,
        };
        assert!(is_true, "seed {seed}: {told:?}, and it had {effects} effects");
    }
}

/// Kills the server `kills` times under load.
async fn run(seed: u64, kills: u64) {
    let scratch = Scratch::new(&format!("kill-{seed}"));
    let program = Path::new(env!("CARGO_BIN_EXE_vault"));
    let mut server = Process::start(program, &scratch.0).await.unwrap();
    let (stop, stopped) = watch::channel(false);
    let (answered, mut answers) = watch::channel(0);
    let mut tasks = JoinSet::new();
    let mut sessions = Vec::new();
    for index in 0..SESSIONS {
        let session = caller::open(server.address(), &format!("caller-{index}")).await.unwrap();
        for task in 0..TASKS_PER_SESSION {
            let name = format!("{index}.{task}");
            let seed = seed ^ (index << 40) ^ (task << 32);
            tasks.spawn(caller::call_until(stopped.clone(), answered.clone(), session.clone(), name, seed));
        }
        sessions.push(session);
    }
    let mut random = Random(seed);
    let mut slowest = Duration::ZERO;
    for _ in 0..kills {
        // However busy the machine is, the server is killed at work.
        let before = *answers.borrow_and_update();
        let at_work = answers.wait_for(|answers| *answers >= before + ANSWERS_PER_LIFE);
        timeout(Duration::from_secs(90), at_work).await.expect("calls are answered").unwrap();
        sleep(Duration::from_micros(random.below(60_000))).await;
        server.kill().await.unwrap();
        server.restart().await.unwrap();
        slowest = slowest.max(server.started_in());
    }
    stop.send_replace(true);
    let told = timeout(Duration::from_secs(90), tasks.join_all()).await.expect("every call is answered");
    let told: Vec<Told> = told.into_iter().flatten().collect();
    for session in sessions {
        timeout(Duration::from_secs(30), session.release()).await.unwrap().unwrap();
    }
    server.kill().await.unwrap();
    let truth = Truth::read(&scratch.0, &told);
    told.iter().for_each(|told| truth.check(seed, told));
    let sum: u64 = truth.booked.values().sum();
    assert_eq!(sum, truth.total, "seed {seed}: the books do not add up");
    let replied = told.iter().filter(|told| matches!(told.what, What::Replied(..))).count();
    let unknown: Vec<_> = told.iter().filter(|told| matches!(told.what, What::Unknown(_))).collect();
    for told in &unknown {
        // Exactly-once calls and idempotent ones are never left in doubt by a server that comes back.
        assert_eq!(told.method, Method::Note, "seed {seed}: {told:?}");
    }
    println!(
        "seed {seed}: {kills} kills, {} calls, {replied} replied, {} unknown, slowest start {slowest:?}",
        told.len(),
        unknown.len()
    );
    assert!(replied > 100, "seed {seed}: only {replied} calls were answered, so nothing was proved");
}

/// The long run: `SESSION_KILLS=500 cargo test --release -p rpc-crash -- --nocapture`. A failure names its seed:
/// `SESSION_SEED=…`.
//= test C-51
//= test C-52
//= test C-54
//= test I1
//= test I2
//= test I3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_loses_nothing_and_does_nothing_twice() {
    run(number("SESSION_SEED", 1), number("SESSION_KILLS", 12)).await;
}
