//! Many messages.

use std::time::Instant;

use bytes::Bytes;
use rpc_core::stream::Config;

use super::pair::{Pair, Ready};
use super::{frame, message, run};
use crate::AppEnd;

/// Sends `count` messages of `length` bytes in batches as tonic makes them; answers how many DATA frames that took.
async fn upload(count: usize, length: usize, batch: usize) -> usize {
    let pair = Pair::new(&Config::default());
    let connected = pair.connect(0);
    let mut request = pair.server.app_body();
    let handler = tokio::spawn(async move {
        let mut bytes = 0;
        while let Some(next) = frame(&mut request).await {
            bytes += next.unwrap().unwrap().len();
        }
        bytes
    });
    let one = message(0, length);
    let together: Bytes = std::iter::repeat_n(&one[..], batch).collect::<Vec<_>>().concat().into();
    let body = Ready::new(std::iter::repeat_n(together, count / batch));
    assert!(matches!(pair.client.pump_app(body).await, AppEnd::Done(None)));
    assert_eq!(handler.await.unwrap(), (5 + length) * count);
    // The answer ends the connection.
    let AppEnd::Done(_) = pair.server.pump_app(Ready::new([])).await else { panic!() };
    pair.server.conclude(super::ok_trailers());
    connected.client.await.unwrap();
    connected.link.await.unwrap()[0].frames
}

#[test]
fn tiny_messages_share_data_frames() {
    let frames = run(upload(20_000, 4, 1));
    assert!(frames <= 30, "{frames} frames for 20,000 messages of 9 bytes");
}

#[test]
fn long_messages_have_a_frame_each() {
    let frames = run(upload(50, 100_000, 1));
    assert!(frames <= 130, "{frames} frames for 50 messages");
}

/// `cargo test --release -p rpc-flow -- --ignored --nocapture throughput`
#[test]
#[ignore = "a measurement"]
#[expect(clippy::print_stdout, reason = "prints what it measured")]
fn throughput() {
    for (count, length, batch) in [(2_000_000, 64, 475), (1_000_000, 1_024, 32), (40_000, 65_536, 1)] {
        let count = count / batch * batch;
        let begin = Instant::now();
        let frames = run(upload(count, length, batch));
        let micros = begin.elapsed().as_secs_f64() * 1e6 / count as f64;
        println!("{length} B: {micros:.3} µs a message, {frames} DATA frames for {count} messages");
    }
}
