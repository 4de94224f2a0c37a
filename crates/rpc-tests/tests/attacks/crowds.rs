//! Peers by the thousand that say nothing, or half of it, or fall silent in the middle of a call.

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpSocket;

use super::wire::*;
use super::*;

/// Connections of one crowd, where the system lets a process have as many.
const CROWD: usize = 2_400;
/// What the server grants the crowd before each thing that it waits for.
const PATIENCE: Duration = Duration::from_secs(10);
/// Descriptors that are left to others.
const SPARE: usize = 300;

/// How many connections can be had, of which this process has both ends.
fn crowd() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().next()?.parse::<usize>().ok()).unwrap_or(1_024);
    CROWD.min(soft.saturating_sub(SPARE) / 2)
}

/// How far the nth of them goes before it falls silent.
async fn fall_silent(address: SocketAddr, number: usize) -> Raw {
    let mut raw = Raw::connect(address).await.unwrap();
    let settings = frame(SETTINGS, 0, 0, &[]);
    let said = match number % 6 {
        0 => Vec::new(),
        1 => PREFACE[..10].to_vec(),
        2 => PREFACE.to_vec(),
        3 => [PREFACE, &settings].concat(),
        // In the middle of a head, and of a body.
        4 => [PREFACE, &settings, &request(1, 0)[..20]].concat(),
        _ => [PREFACE, &settings, &request(1, 0), &frame(DATA, 0, 1, &[0, 0])].concat(),
    };
    raw.write.write_all(&said).await.unwrap();
    raw
}

#[tokio::test]
async fn thousands_of_silent_and_half_open_peers_harm_nobody_and_are_given_up() {
    let crowd = crowd();
    let siege = Siege::lay_with(
        |config| {
            impatient(config);
            // So that the first of them is still there when the last one comes.
            config.timeouts.preface = PATIENCE;
            config.timeouts.first_request = PATIENCE;
            config.http2.keepalive_interval = PATIENCE;
            config.limits.per_address = usize::MAX;
            config.limits.unused = usize::MAX;
        },
        |builder| builder,
    )
    .await;
    let mut silent = Vec::new();
    for number in 0..crowd {
        silent.push(fall_silent(siege.address(), number).await);
        if number % 500 == 0 {
            siege.good.calls(1).await;
        }
    }
    let held = Handle::current().metrics().num_alive_tasks().saturating_sub(siege.tasks);
    assert!(held >= crowd, "{held} of {crowd} were held at the same time");
    siege.is_held("a silent crowd").await;
    // Whoever comes now is served too.
    Opened::open(&siege.server.connect().await).await;
    for raw in &mut silent {
        Raw::end(&mut raw.read).await;
    }
    drop(silent);
    siege.is_over("a silent crowd").await;
    siege.lift().await;
}

/// Machines that lost their power: nothing comes any more, no end either, and what they had begun goes on until a PING
/// finds out.
#[tokio::test]
async fn peers_that_vanish_in_the_middle_of_a_call_are_found_out() {
    let siege = Siege::lay().await;
    let token = format!("Bearer {}", rpc_tests::token::token("mallory", &[]));
    let body = rpc_tests::channel::frame(&booking("held"));
    siege.server.books().hold("held");
    let mut vanished = Vec::new();
    for _ in 0..100 {
        let mut raw = Raw::greet(siege.address(), &[]).await;
        let head = frame(HEADERS, END_HEADERS, 1, &block(ECHO, &[("authorization", &token)]));
        raw.write.write_all(&[head, frame(DATA, END_STREAM, 1, &body)].concat()).await.unwrap();
        vanished.push(raw);
    }
    siege.server.books().until("held", |entry| entry.started == 100).await;
    siege.is_held("vanished peers").await;
    // Nobody reads and nobody answers: it is the server that ends it.
    siege.server.books().until("held", |entry| entry.stopped == 100).await;
    siege.is_over("vanished peers").await;
    drop(vanished);
    siege.lift().await;
}

/// With the default limits one address has 200 places. What it has too many of is closed at once, and others have theirs.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_crowd_of_one_address_is_closed_at_its_limit_and_others_are_served() {
    let siege = Siege::lay().await;
    let mut crowd = Vec::new();
    for _ in 0..400 {
        let socket = TcpSocket::new_v4().unwrap();
        // Another address of this host: the good client has places of its own.
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        let mut stream = socket.connect(siege.address()).await.unwrap();
        // It may be closed by now.
        let _ = stream.write_all(PREFACE).await;
        crowd.push(stream.into_split());
    }
    let mut refused = 0;
    for (read, _) in &mut crowd[200..] {
        Raw::end(read).await;
        refused += 1;
    }
    assert_eq!(refused, 200);
    siege.is_held("a crowd of one address").await;
    Opened::open(&siege.server.connect().await).await;
    drop(crowd);
    siege.is_over("a crowd of one address").await;
    siege.lift().await;
}
