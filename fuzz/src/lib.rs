//! What strangers may send, and what may happen in any order: each `run` takes any bytes, and panics where what is
//! promised of them does not hold.
//!
//! The fuzzer calls them with what it makes up, the tests of the workspace with what it found before
//! (`crates/rpc-tests/tests/corpora.rs`).

pub mod calls;
mod choices;
pub mod details;
pub mod dialog;
pub mod flow;
pub mod frames;
pub mod headers;
pub mod methods;
mod pair;
pub mod records;
pub mod registry;
pub mod saved;
mod served;
pub mod service;
pub mod stream;
pub mod token;

/// What takes bytes and panics.
pub type Target = fn(&[u8]);

/// All of them, by the names of their corpora.
pub const TARGETS: [(&str, Target); 13] = [
    ("calls", calls::run),
    ("details", details::run),
    ("dialog", dialog::run),
    ("flow", flow::run),
    ("frames", frames::run),
    ("headers", headers::run),
    ("methods", methods::run),
    ("records", records::run),
    ("registry", registry::run),
    ("saved", saved::run),
    ("service", service::run),
    ("stream", stream::run),
    ("token", token::run),
];
