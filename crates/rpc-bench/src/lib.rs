//! Measures sessions against plain tonic and raw h2, in one run on one machine.
//!
//! ```sh
//! cargo run --release -p rpc-bench                      # everything, as tables
//! cargo run --release -p rpc-bench -- unary --quick     # one group, in short
//! cargo run --release -p rpc-bench -- --json figures.json
//! cargo run --release -p rpc-bench -- idle --full       # with a million idle sessions
//! cargo run --release -p rpc-bench -- steady --minutes 10
//! ```
//!
//! # How
//!
//! Server and client are processes of their own, on loopback. Each who takes part in a case has its pair of them for the
//! whole group, and all take turns, round by round, so that what else the machine does meets all of them. Reported are
//! medians over the rounds with the least and the most, CPU time of both processes for one operation, and ratios, which
//! are medians of the ratios of single rounds.
//!
//! Nothing is reported that was not done: every reply is compared with what was sent, every message of a stream with the
//! one that must come next, and after each round the server's count of what its handlers did with the client's. Where
//! they differ the result is FAILED, and so is the run.
//!
//! # Who
//!
//! | name | is |
//! | --- | --- |
//! | tonic, as started | `#[tokio::main]`, all defaults, the allocator of the system, `Vec<u8>` |
//! | tonic, best | one thread a side, mimalloc, frames of 64 KiB, windows of 4 and 16 MiB, a queue of 16 before the connection, `Bytes` |
//! | raw h2 | the h2 crate without any framework, with the same frames and windows |
//! | session | `rpc-server` and `rpc-client`, one thread a side, mimalloc, the same frames, windows and queue, `Bytes` |
//!
//! The allocator is decided when a program is linked, so there are two: `rpc-bench`, the driver, which starts itself for all
//! that has mimalloc, and `bench-worker` for tonic as users start it. Under cargo the driver builds that one first.
//!
//! # Groups
//!
//! | group | measures |
//! | --- | --- |
//! | `unary`, `streams` | calls and messages, against tonic and h2 |
//! | `durable` | calls that are kept, against the store alone |
//! | `opening` | connect, open and first call; openings on one connection |
//! | `resume` | streams whose connection is cut: from the next connection's SETTINGS to the next message, and what is sent again |
//! | `storm` | all connections cut at once |
//! | `idle` | memory and CPU of a server with sessions that nobody uses; a million with `--full` |
//! | `steady` | memory of a server under mixed load, for `--minutes` |
//!
//! What the core costs by itself: `cargo bench -p rpc-bench --bench core`.
//!
//! # More cases
//!
//! A group is a file in `src/cases`, which says what there is to be added.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod cases;
mod error;
mod harness;
mod line;
mod payload;
mod pb;
mod protocol;
mod variants;
mod worker;

use std::process::ExitCode;

/// The argument by which the driver makes a worker of its own program.
const WORKER: &str = "--worker";

/// The driver, or a worker if the only argument says so. Fails if a result is missing.
#[must_use]
pub fn drive() -> ExitCode {
    if std::env::args().skip(1).eq([WORKER]) { work() } else { harness::run() }
}

/// A worker, which the driver starts. Fails if it cannot do what it is told to.
#[must_use]
pub fn work() -> ExitCode {
    worker::run()
}
