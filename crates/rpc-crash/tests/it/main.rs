//! A server that is killed, and one whose store fails: nothing that anybody was told becomes untrue.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test says by panicking that something went wrong"
)]

mod by_hand;
mod failing;
mod killed;
mod operators;
mod resumed;
mod stopped;
mod streams;
mod transactions;

use std::path::PathBuf;

/// A directory of this process that is removed when it is dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("rpc-crash-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}
