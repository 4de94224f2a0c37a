//! Two streams joined by a link in memory that splits, delays and cuts, on tokio's paused clock.

mod call;
mod cuts;
mod dialog;
mod durable;
mod ends;
mod explicit;
mod frameless;
mod handles;
mod link;
mod load;
mod lost;
mod pair;
mod rereading;
mod typed;

use std::pin::Pin;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::HeaderMap;
use http_body::Body;
use tokio::time::timeout;

/// A small generator (xorshift*), so that a seed always means the same run.
#[derive(Debug, Clone)]
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        let mut random = Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        (0..4).for_each(|_| {
            random.next();
        });
        random
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// From 0 to `bound` - 1.
    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap() % bound.max(1)
    }

    fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}

/// A message as gRPC frames it, filled with something that depends on `index`.
fn message(index: usize, length: usize) -> Bytes {
    let mut bytes = BytesMut::with_capacity(5 + length);
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(length).unwrap());
    bytes.put_bytes((index % 251) as u8, length);
    bytes.freeze()
}

/// Messages of these lengths, as one.
fn messages(lengths: &[usize]) -> Bytes {
    let all: Vec<_> = lengths.iter().enumerate().map(|(index, length)| message(index, *length)).collect();
    all.concat().into()
}

/// How many whole messages `bytes` holds. Panics where the last one is not whole.
#[track_caller]
fn count(mut bytes: &[u8]) -> usize {
    let mut messages = 0;
    while !bytes.is_empty() {
        let length = u32::from_be_bytes(bytes[1..5].try_into().unwrap());
        bytes = &bytes[5 + usize::try_from(length).unwrap()..];
        messages += 1;
    }
    messages
}

/// The next frame of a body; data or trailers.
async fn frame<B>(body: &mut B) -> Option<Result<Result<Bytes, HeaderMap>, B::Error>>
where
    B: Body<Data = Bytes> + Unpin,
{
    let next = std::future::poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await?;
    Some(next.map(|frame| frame.into_data().map_err(|frame| frame.into_trailers().unwrap_or_default())))
}

/// Runs on a clock that jumps to the next timer when nothing else is to be done. The last timer is one of its own, so a
/// task that nobody wakes is found out.
fn run<F: Future>(test: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(async { timeout(Duration::from_secs(1_000_000), test).await })
        .expect("no end: somebody was not woken")
}

fn ok_trailers() -> HeaderMap {
    HeaderMap::from_iter([(
        http::HeaderName::from_static("grpc-status"),
        http::HeaderValue::from_static("0"),
    )])
}
