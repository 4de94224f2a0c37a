//! Tests that need more than one crate: real sockets, generated stubs, faults on the way.
//!
//! What the tests are made of:
//!
//! - [`server::TestServer`]: a server with short times, and the [`ledger::Books`] that tell what its handlers did.
//! - [`channel::Channel`]: a client made by hand, one HTTP/2 connection that can be cut, under the stock stubs.
//! - [`session::Opened`]: an open session of such a client, which sets the three headers itself.
//! - [`streams::Streams`]: handlers of streams that outlive their connections, which check what they get.
//! - [`vault::Vault`]: handlers that work with sync points.
//! - [`wards::Wards`]: handlers that look after their session, and a hook for its end.
//! - [`token`]: good tokens and bad ones.
//! - [`proxy::Proxy`]: a TCP proxy that cuts, stalls, delays and refuses.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod bulk;
pub mod channel;
pub mod ledger;
pub mod pb;
pub mod proxy;
pub mod server;
pub mod session;
pub mod streams;
pub mod token;
pub mod vault;
pub mod wards;

use std::future::Future;
use std::time::Duration;

/// Longest wait for anything in a test. Nothing takes that long unless it is broken.
pub const SOON: Duration = Duration::from_secs(20);

/// Waits for `future`, and fails the test if that takes longer than [`SOON`].
///
/// # Panics
///
/// `what` did not happen in time.
pub async fn soon<F: Future>(what: &str, future: F) -> F::Output {
    match tokio::time::timeout(SOON, future).await {
        Ok(output) => output,
        Err(_) => panic!("{what}: not within {SOON:?}"),
    }
}
