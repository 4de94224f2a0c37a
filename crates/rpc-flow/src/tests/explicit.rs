//! Applications that place and secure points themselves.

use std::time::Duration;

use bytes::Bytes;
use rpc_core::id::Attempt;
use rpc_core::stream::Config;
use rpc_core::stream::flow::Side;
use rpc_core::stream::secured::Secured;
use tokio::time::timeout;
use tonic::codec::CompressionEncoding;

use super::call::{Cuts, NO_KEEPALIVE, Plan, carry};
use super::link::Way;
use super::pair::Pair;
use super::run;
use super::typed::{Log, Script, Seen, caller, handler, sent_state, stored_state};
use crate::{Checkpoints, Stream};

/// Streams in one direction, the other, and both.
fn kinds() -> [[Script; 2]; 3] {
    let many = || Script::new(12, [0, 3, 4, 4, 9]);
    let one = || Script::new(1, []);
    [[many(), one()], [one(), many()], [many(), Script::new(7, [2, 7])]]
}

pub(super) fn plan() -> Plan {
    Plan::new([&[40], &[40]])
}

fn check(secured: Option<Secured>, script: &Script) {
    let secured = secured.expect("at least the end is a point");
    assert_eq!(secured.position.messages, script.pages);
    let at_end = script.points.last() == Some(&script.pages);
    let sent = if at_end { sent_state(script.points.len() - 1) } else { Bytes::new() };
    let stored = if script.is_plain() { Bytes::new() } else { stored_state(script.seen().len()) };
    assert_eq!((secured.sender_state, secured.receiver_state), (sent, stored));
}

/// Makes a call, and checks that both sides see every message once and each point exactly where it was placed.
pub(super) async fn call(plan: &Plan, scripts: &[Script; 2]) -> super::call::Report {
    let [client, server] = [Side::Client, Side::Server].map(|side| Stream::new(side, &plan.config));
    let (sent, got) = (Log::default(), Log::default());
    let checkpoints = Checkpoints::new();
    assert!(checkpoints.bind(&client));
    let caller = tokio::spawn(caller(client.clone(), checkpoints, scripts.clone(), got.clone()));
    let handler = tokio::spawn(handler(server.clone(), scripts.clone(), sent.clone()));
    let report = timeout(Duration::from_secs(3_600), carry(plan, &client, &server)).await;
    let report = report.unwrap_or_else(|_| panic!("no end: {plan:?} {sent:?} {got:?}"));
    caller.await.unwrap();
    handler.await.unwrap();
    for (log, script) in [(&sent, &scripts[0]), (&got, &scripts[1])] {
        assert_eq!(*log.lock().unwrap(), script.seen(), "{plan:?}");
    }
    check(server.resumption().requests, &scripts[0]);
    check(client.resumption().responses, &scripts[1]);
    report
}

//= test S-9, S-10
#[test]
fn points_come_exactly_where_they_were_placed_with_the_states_of_both_sides() {
    for scripts in kinds() {
        run(async { call(&plan(), &scripts).await });
    }
}

/// The encoder batches hundreds of pages into one buffer.
#[test]
fn points_are_exact_where_messages_are_batched_compressed_or_long() {
    for encoding in [None, Some(CompressionEncoding::Gzip)] {
        for (pages, page_bytes) in [(3_000, 10), (9, 200_000), (0, 0)] {
            let requests = Script { page_bytes, encoding, ..Script::new(pages, (0..=pages).step_by(7)) };
            let responses = Script { page_bytes, encoding, ..Script::new(pages, [pages / 2]) };
            let mut plan = Plan::new([&[page_bytes + 20], &[page_bytes + 20]]);
            plan.config.window_bytes = 128 << 10;
            run(async { call(&plan, &[requests, responses]).await });
        }
    }
}

//= test I6, I9, S-9
#[test]
fn explicit_points_stay_where_they_are_after_a_cut_at_every_byte() {
    kinds().iter().for_each(cut_at_every_byte);
}

/// Every byte of each direction is once the last one of the first connection.
pub(super) fn cut_at_every_byte(scripts: &[Script; 2]) {
    run(async {
        let mut plan = plan();
        let whole = call(&plan, scripts).await;
        for way in [0, 1] {
            let mut resumes = 0;
            for bytes in 0..=whole.bytes[way] {
                plan.cuts = Cuts::At(way, bytes);
                resumes += call(&plan, scripts).await.resumes;
            }
            assert!(resumes as usize > whole.bytes[way] - 150, "{resumes} resumes: {plan:?}");
        }
    });
}

/// The gate, its wakers and the adapters from several threads at once, over links that die at random.
#[test]
fn the_same_holds_on_several_threads() {
    on_several_threads(|step| Script::new(400, (0..=400).step_by(step)));
}

/// A stream of many pages each way, with a point each 3 and 50 of them.
pub(super) fn on_several_threads(script: impl Fn(usize) -> Script) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_time().build().unwrap();
    for seed in 0..30 {
        let mut plan = plan();
        plan.seed = seed;
        plan.config.window_bytes = 2_000 << (seed % 4);
        plan.cuts = Cuts::Random { deaths: 3, life_bytes: 5_000 };
        let call = async { timeout(Duration::from_secs(60), call(&plan, &[script(3), script(50)])).await };
        assert!(runtime.block_on(call).is_ok(), "no end: {plan:?}");
    }
}

/// Both processes die with the first connection, and others go on from what was secured: an application has in its store
/// what it had at the point, and nothing else.
//= test S-10, I9, I11
#[test]
fn a_stream_goes_on_from_its_resumption_after_a_cut_at_every_byte() {
    let resumed: u32 = kinds().into_iter().map(|scripts| at_every_byte(&scripts)).sum();
    assert!(resumed > 1_000, "{resumed} went on from a point");
}

/// How many of the streams went on from a point.
pub(super) fn at_every_byte(scripts: &[Script; 2]) -> u32 {
    let mut config = Config::default();
    config.keepalive = NO_KEEPALIVE;
    let whole = run(first_part(&config, scripts, [None; 2])).bytes;
    let mut resumed = 0;
    for way in [0, 1] {
        for bytes in 0..=whole[way] {
            let mut life_bytes = [None; 2];
            life_bytes[way] = Some(bytes);
            resumed += run(async {
                let first = first_part(&config, scripts, life_bytes).await;
                u32::from(second_part(&config, scripts, first).await)
            });
        }
    }
    resumed
}

/// What is left of two processes.
struct Left {
    resumption: rpc_core::stream::secured::Resumption,
    /// What the applications had.
    logs: [Vec<Seen>; 2],
    bytes: [usize; 2],
}

async fn first_part(config: &Config, scripts: &[Script; 2], life_bytes: [Option<usize>; 2]) -> Left {
    let pair = Pair::new(config);
    let (sent, got) = (Log::default(), Log::default());
    let checkpoints = Checkpoints::of_activity("nightly", None);
    assert_eq!(checkpoints.activity(), Some(&Bytes::from_static(b"nightly")));
    assert!(checkpoints.bind(&pair.client));
    let applications = [
        tokio::spawn(caller(pair.client.clone(), checkpoints, scripts.clone(), got.clone())),
        tokio::spawn(handler(pair.server.clone(), scripts.clone(), sent.clone())),
    ];
    let mut ways = [Way::new(1), Way::new(2)];
    for (way, life_bytes) in ways.iter_mut().zip(life_bytes) {
        (way.piece_bytes, way.life_bytes) = (60, life_bytes);
    }
    let connected = pair.connect_over(0, ways);
    let ways = connected.link.await.unwrap();
    let _ = connected.server.await;
    let resumption = pair.server.resumption();
    // A handler is dropped before another takes its place, so what it had is what it had.
    for application in applications {
        application.abort();
        let _ = application.await;
    }
    let logs = [sent, got].map(|log| log.lock().unwrap().clone());
    Left { resumption, logs, bytes: ways.map(|way| way.bytes) }
}

/// An application finds what it had when it secured the point.
pub(super) fn cut_back(log: &mut Vec<Seen>, secured: Option<&Secured>) {
    let states = (0..=log.len()).find(|entries| {
        secured.is_some_and(|secured| match &secured.receiver_state {
            plain if plain.is_empty() => *entries as u64 == secured.position.messages,
            state => *state == stored_state(*entries),
        })
    });
    assert_eq!(states.is_some(), secured.is_some(), "{secured:?} of {log:?}");
    log.truncate(states.unwrap_or(0));
}

/// Whether anything was left to go on from.
async fn second_part(config: &Config, scripts: &[Script; 2], left: Left) -> bool {
    let resumption = &left.resumption;
    let [client, server] = [Side::Client, Side::Server].map(|side| Stream::resumed(side, config, resumption));
    assert_eq!(server.resumption(), *resumption);
    let checkpoints = Checkpoints::of_activity("nightly", Some(resumption.clone()));
    assert!(checkpoints.bind(&client));
    let mut logs = left.logs;
    for (log, secured) in logs.iter_mut().zip([&resumption.requests, &resumption.responses]) {
        cut_back(log, secured.as_ref());
    }
    let [sent, got] = logs.map(|log| Log::new(log.into()));
    let caller = tokio::spawn(caller(client.clone(), checkpoints, scripts.clone(), got.clone()));
    let handler = tokio::spawn(handler(server.clone(), scripts.clone(), sent.clone()));
    let plan = Plan { config: config.clone(), ..plan() };
    let carried = timeout(Duration::from_secs(3_600), carry(&plan, &client, &server)).await;
    assert!(carried.is_ok(), "no end: {resumption:?} {sent:?} {got:?} {client:?} {server:?}");
    caller.await.unwrap();
    handler.await.unwrap();
    for (log, script) in [(&sent, &scripts[0]), (&got, &scripts[1])] {
        assert_eq!(*log.lock().unwrap(), script.seen(), "{resumption:?}");
    }
    *resumption != Default::default()
}

/// A resumed stream says in its very first attempt where it stands.
#[test]
fn the_first_attempt_of_a_resumed_stream_carries_resume() {
    run(async {
        let config = Config::default();
        let fresh = Stream::new(Side::Client, &config);
        assert!(fresh.attempt(Attempt(0), None, crate::Frames::On).unwrap().resume().is_none());
        let scripts = [Script::new(5, [5]), Script::new(1, [])];
        let left = first_part(&config, &scripts, [None; 2]).await;
        let client = Stream::resumed(Side::Client, &config, &left.resumption);
        let attempt = client.attempt(Attempt(0), None, crate::Frames::On).unwrap();
        let resume = attempt.resume().expect("it goes on from a point");
        assert_eq!(resume.send_from.messages, 5);
    });
}
