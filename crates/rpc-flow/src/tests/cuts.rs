//! Connections that die.

use std::time::Duration;

use rpc_core::policy::{Checkpoint, Secure};
use rpc_core::stream::{Config, Verify};
use tokio::time::timeout;

use super::call::{Cuts, NO_KEEPALIVE, Plan, call};
use super::{Random, run};

/// Ten messages, of which two are empty and one is longer than all the others.
const MANY: [usize; 10] = [3, 0, 17, 500, 1, 40, 0, 8, 60, 5];
const ONE: [usize; 1] = [11];

fn policy(every_messages: u32) -> Checkpoint {
    Checkpoint {
        every_messages: Some(every_messages),
        every_bytes: None,
        every: None,
        secure: Secure::Automatic,
    }
}

/// The first connection dies after each single byte, one way and the other.
#[test]
fn a_call_of_each_kind_goes_on_after_a_cut_at_every_byte() {
    for lengths in [[&ONE[..], &ONE[..]], [&MANY, &ONE], [&ONE, &MANY], [&MANY, &MANY]] {
        run(async {
            let mut plan = Plan::new(lengths);
            plan.config.checkpoint = Some(policy(3));
            let whole = call(&plan).await;
            assert_eq!(whole.resumes, 0);
            for way in [0, 1] {
                let mut resumes = 0;
                for bytes in 0..=whole.bytes[way] {
                    plan.cuts = Cuts::At(way, bytes);
                    resumes += call(&plan).await.resumes;
                }
                // The last bytes of the request are confirmations that the answer may overtake.
                assert!(resumes as usize > whole.bytes[way] - 100, "{resumes} resumes: {plan:?}");
            }
        });
    }
}

fn plan(seed: u64) -> Plan {
    let mut random = Random::new(seed ^ 0x5EED);
    let mut lengths = |most: usize| -> Vec<usize> {
        let longest = [10, 300, 6_000, 40_000][random.below(4)];
        let count = if longest > 1_000 { 12 } else { most };
        (0..random.below(count)).map(|_| random.below(longest)).collect()
    };
    let lengths = [lengths(120), lengths(120)];
    let held = random.one_in(4);
    let mut config = Config::default();
    config.window_bytes = 1_000 << random.below(8);
    config.window_messages = 4 << random.below(10);
    config.checkpoint = (held || random.one_in(2)).then(|| Checkpoint {
        every: held.then_some(Duration::from_millis(30)),
        ..policy(1 + random.below(30) as u32)
    });
    config.keepalive = NO_KEEPALIVE;
    config.verify = if held { Verify::Held } else { Verify::AtOnce };
    Plan {
        seed,
        config,
        lengths,
        slowness: [0, 1].map(|_| Duration::from_millis([0, 0, 5, 300][random.below(4)])),
        transport_pieces: [1, 4, 100][random.below(3)],
        stalls: true,
        cuts: Cuts::Random {
            deaths: random.below(10) as u32,
            life_bytes: [100, 1_000, 10_000][random.below(3)],
        },
    }
}

/// A failure prints its plan, which holds the seed, and the seed everything.
#[test]
fn calls_over_links_that_cut_and_stall_end_with_every_message_once() {
    let mut resumes = 0;
    for seed in 0..500 {
        resumes += run(async { call(&plan(seed)).await }).resumes;
    }
    assert!(resumes > 1_000, "{resumes} resumes: too kind a link");
}

/// Locks, wakers and drops from several threads at once.
#[test]
fn the_same_holds_on_several_threads() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_time().build().unwrap();
    for seed in 0..40 {
        let mut plan = plan(seed);
        plan.slowness = [Duration::ZERO; 2];
        plan.stalls = false;
        let ends = runtime.block_on(async { timeout(Duration::from_secs(60), call(&plan)).await });
        assert!(ends.is_ok(), "no end: {plan:?}");
    }
}
