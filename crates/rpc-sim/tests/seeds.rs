//! Runs seeds, in parallel, and says what repeats one that fails.
#![expect(clippy::print_stdout, reason = "whoever runs it wants to see what was done")]

use std::collections::BTreeMap;
use std::env;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use rpc_sim::world::Config;
use rpc_sim::{Report, run};

/// Seeds where the environment does not say how many.
const SEEDS: u64 = if cfg!(tokio_unstable) { 2_000 } else { 20 };
/// Failing seeds after which the others are not run any more.
const FAILURES_MAX: usize = 8;

/// The same with a planted bug, which is found by one.
fn failures_max() -> usize {
    if env::var_os("SESSION_PLANTED").is_some() { 1 } else { FAILURES_MAX }
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// What the handlers are told to panic with is no news.
fn quiet() {
    if let Ok(filter) = env::var("SESSION_SIM_LOG") {
        let subscriber = tracing_subscriber::fmt().with_env_filter(filter).without_time().with_ansi(false);
        let _ = subscriber.try_init();
    }
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let wanted = info.payload().downcast_ref::<&str>() == Some(&"the call wants its handler to panic");
        if !wanted {
            usual(info);
        }
    }));
}

#[derive(Default)]
struct Sum {
    seeds: u64,
    simulated_s: u64,
    faults: BTreeMap<String, u64>,
    calls: BTreeMap<&'static str, u64>,
    failed: Vec<(u64, Vec<String>)>,
}

impl Sum {
    fn add(&mut self, report: &Report) {
        self.seeds += 1;
        self.simulated_s += report.lasted.as_secs();
        for (fault, count) in &report.faults {
            *self.faults.entry(format!("{fault:?}")).or_default() += count;
        }
        for (told, count) in &report.calls {
            *self.calls.entry(told).or_default() += count;
        }
        if !report.violations.is_empty() {
            self.failed.push((report.seed, report.violations.iter().map(ToString::to_string).collect()));
        }
    }
}

fn one(seed: u64, verbose: bool) -> Result<Report, String> {
    let config = Config { verbose, ..Config::of(seed) };
    // A thread of its own, so that nothing is left of the seed before it. A panic says its name, even one that aborts.
    let thread = thread::Builder::new().name(format!("seed {seed}")).spawn(move || run(config));
    thread.expect("a thread is to be had").join().map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default()
    })
}

/// All seeds, or the one that `SESSION_SIM_SEED` names, whose trace is then shown.
#[test]
fn no_seed_breaks_an_invariant() {
    quiet();
    if let Some(seed) = number("SESSION_SIM_SEED") {
        let report = one(seed, true).expect("no host panics");
        let lines = report.lines.join("\n");
        println!(
            "{lines}\n\n{:?}\n{:?} in {:?}, healed in {:?}, hash {:016x}",
            Config::of(seed),
            report.faults,
            report.lasted,
            report.healed_in,
            report.hash
        );
        let wrong: Vec<_> = report.violations.iter().map(ToString::to_string).collect();
        assert!(wrong.is_empty(), "seed {seed}:\n{}", wrong.join("\n"));
        return;
    }
    let first = number("SESSION_SIM_FIRST").unwrap_or(1);
    let last = first + number("SESSION_SIM_SEEDS").unwrap_or(SEEDS);
    let (next, sum) = (AtomicU64::new(first), Mutex::new(Sum::default()));
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= last {
                        return;
                    }
                    let result = one(seed, false);
                    let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
                    match result {
                        Ok(report) => sum.add(&report),
                        Err(panic) => sum.failed.push((seed, vec![format!("a host panicked: {panic}")])),
                    }
                    if sum.failed.len() >= failures_max() {
                        return;
                    }
                }
            });
        }
    });
    let sum = sum.into_inner().unwrap_or_else(PoisonError::into_inner);
    let faults: u64 = sum.faults.values().sum();
    let calls: u64 = sum.calls.values().sum();
    println!("{} seeds, {faults} faults, {calls} calls, {} simulated seconds", sum.seeds, sum.simulated_s);
    println!("{:?}\n{:?}", sum.faults, sum.calls);
    for (seed, wrong) in &sum.failed {
        println!("\nseed {seed}:\n  {}", wrong.join("\n  "));
        println!("  SESSION_SIM_SEED={seed} cargo sim -- --nocapture no_seed_breaks_an_invariant");
    }
    assert!(sum.failed.is_empty(), "{} seeds failed", sum.failed.len());
}

/// Without this, a failure could not be repeated.
#[cfg(tokio_unstable)]
#[test]
fn the_same_seed_leaves_the_same_trace() {
    quiet();
    for seed in 1..=20 {
        let [first, second] = [0, 1].map(|_| one(seed, true).expect("no host panics"));
        let differs = first.lines.iter().zip(&second.lines).position(|(first, second)| first != second);
        if let Some(at) = differs {
            let around = |report: &Report| {
                report.lines[at.saturating_sub(3)..].iter().take(8).cloned().collect::<Vec<_>>()
            };
            panic!(
                "seed {seed} differs:\n{}\nand\n{}",
                around(&first).join("\n"),
                around(&second).join("\n")
            );
        }
        assert_eq!(first.hash, second.hash, "seed {seed}: {:?}", (first.lines.last(), second.lines.last()));
    }
}
