//! The real server and the real client on a network, a clock and a disk that are simulated, and an oracle that knows what
//! each caller may be told.
//!
//! A seed decides everything: hosts, calls, faults. [`run`] runs one, and the same seed gives the same trace.
//!
//! - [`world`]: what the hosts share. [`server`] and [`client`]: what runs on them.
//! - [`net`], [`token`], [`store`], [`random`]: the network, the time of day, the disk, chance.
//! - [`schedule`]: what goes wrong, and when.
//! - [`turns`]: who speaks where one side does. [`witness`]: what was seen. [`oracle`]: what must be true of it, one file for each invariant.
//!
//! tokio makes choices of its own, in `select!` and between those who wait. They have a seed only where tokio was compiled
//! with `--cfg tokio_unstable`; `cargo sim` does that.

pub mod client;
pub mod handler;
pub mod net;
pub mod oracle;
pub mod parts;
pub mod random;
mod run;
pub mod schedule;
pub mod server;
pub mod store;
pub mod streams;
mod talk;
pub mod token;
pub mod turns;
pub mod witness;
pub mod world;

pub use run::{Report, run};

/// `sim.v1`, generated from `proto/`.
#[allow(clippy::all, missing_docs, unreachable_pub, reason = "generated code")]
pub mod pb {
    tonic::include_proto!("sim.v1");
}
