//! Runs one seed: first whatever goes wrong, then the time to heal, then the oracle.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::schedule::{Fault, LATENCY_MAX, Schedule};
use crate::witness::{Violation, What};
use crate::world::{Config, Phase, World, client_name, server_name};
use crate::{client, oracle, server};

/// How the hosts take turns.
const TICK: Duration = Duration::from_millis(5);
/// How long everything may take to work again when nothing is wrong any more.
const HEAL: Duration = Duration::from_secs(120);

/// What became of one seed.
#[derive(Debug, Clone)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// Of all that happened, and when.
    pub hash: u64,
    /// What must not be.
    pub violations: Vec<Violation>,
    /// How often each fault was made.
    pub faults: BTreeMap<Fault, u64>,
    /// Calls, by what their callers were told.
    pub calls: BTreeMap<&'static str, u64>,
    /// How long it took, in simulated time.
    pub lasted: Duration,
    /// How long it took to work again.
    pub healed_in: Duration,
    /// The trace in words, if it was wanted.
    pub lines: Vec<String>,
}

/// Runs the simulation that the configuration describes.
///
/// # Panics
///
/// A host's software panicked.
pub fn run(config: Config) -> Report {
    let world = World::new(config);
    let mut sim = turmoil::Builder::new()
        .rng_seed(world.config.seed)
        .enable_random_order()
        .tick_duration(TICK)
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(LATENCY_MAX)
        .simulation_duration(Duration::from_secs(86_400))
        .tcp_capacity(65_536)
        .build();
    for number in 0..world.config.servers {
        let world = Arc::clone(&world);
        sim.host(server_name(number), move || {
            let world = Arc::clone(&world);
            async move { if world.serving() == number { server::run(world, number).await } else { Ok(()) } }
        });
    }
    for number in 0..world.config.clients {
        let world = Arc::clone(&world);
        sim.host(client_name(number), move || client::run(Arc::clone(&world), number));
    }
    let mut schedule = Schedule::new(&world);
    let healed_in = drive(&mut sim, &world, &mut schedule);
    let lasted = sim.elapsed();
    let violations = oracle::check(&world);
    drop(sim);
    report(&world, &schedule, violations, lasted, healed_in)
}

fn drive(sim: &mut turmoil::Sim<'_>, world: &World, schedule: &mut Schedule) -> Duration {
    let step = |sim: &mut turmoil::Sim<'_>| {
        if let Err(error) = sim.step() {
            world.witness.violation("start", format!("a host failed: {error}"));
        }
    };
    while sim.elapsed() < world.config.faults_for {
        schedule.step(sim);
        schedule.operate(sim);
        step(sim);
    }
    schedule.heal(sim);
    world.enter(Phase::Heal);
    let healing_since = sim.elapsed();
    let all_done = || world.people.iter().all(|person| person.is_done.load(Ordering::Relaxed));
    while !all_done() && sim.elapsed() < healing_since + HEAL {
        schedule.operate(sim);
        step(sim);
    }
    for (number, person) in world.people.iter().enumerate() {
        if !person.is_done.load(Ordering::Relaxed) {
            let doing = person.doing.lock().map(|doing| doing.clone()).unwrap_or_default();
            let hanging = hanging(world, number);
            let what = format!("client {number} is not done: it {doing}; {hanging}");
            world.witness.violation("liveness", what);
        }
    }
    sim.elapsed() - healing_since
}

/// Who does not come to an end: the calls of a client that are not answered, and the handlers that run for each.
fn hanging(world: &World, client: usize) -> String {
    let life = world.people[client].lives.load(Ordering::Relaxed).saturating_sub(1);
    world.witness.look(|seen| {
        let open =
            seen.asked.iter().filter(|(_, asked)| asked.told.is_none() && asked.client == (client, life));
        let calls = open.map(|(id, asked)| {
            let runs = seen.runs.iter().filter(|run| run.id == *id && run.ended.is_none());
            let at: Vec<_> = runs.map(|run| (run.server, run.began_at)).collect();
            format!("{:?} {id}, which runs at {at:?}", asked.kind)
        });
        let calls: Vec<_> = calls.collect();
        format!("not answered are {calls:?}")
    })
}

fn report(
    world: &World,
    schedule: &Schedule,
    violations: Vec<Violation>,
    lasted: Duration,
    healed_in: Duration,
) -> Report {
    let mut calls = BTreeMap::new();
    world.witness.look(|seen| {
        for asked in seen.asked.values() {
            let told = match &asked.told {
                None => "caller died",
                Some((_, What::Replied { .. })) => "replied",
                Some((_, What::Streamed)) => "streamed",
                Some((_, What::Failed(_))) => "failed",
                Some((_, What::NotExecuted(_))) => "not executed",
                Some((_, What::Unknown(_))) => "unknown",
                Some((_, What::Cancelled)) => "cancelled",
            };
            *calls.entry(told).or_default() += 1;
        }
    });
    Report {
        seed: world.config.seed,
        hash: world.witness.hash(),
        violations,
        faults: schedule.made.clone(),
        calls,
        lasted,
        healed_in,
        lines: world.witness.lines(),
    }
}
