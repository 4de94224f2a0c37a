//! Compiles `.proto` files to stock tonic stubs and, beside them, to the policy tables of their session options.
//!
//! There is no protoc: the files are parsed in Rust. What the crate adds to tonic's own code generation is small on
//! purpose: one `static` of plain data for each service, and one line that ties it to the generated client and server.
//! Behaviour lives in the runtime crates, so that a fix there needs no new generated code.
//!
//! # Use
//!
//! ```proto
//! // proto/bank/v1/bank.proto
//! syntax = "proto3";
//! package bank.v1;
//! import "session/v1/options.proto";   // served from memory: no include path is needed for it
//!
//! service Ledger {
//!   rpc Transfer(TransferRequest) returns (TransferReply) {
//!     option (session.v1.method) = { delivery: AT_MOST_ONCE timeout: { seconds: 5 } };
//!   }
//! }
//! ```
//!
//! ```no_run
//! // build.rs
//! fn main() -> Result<(), rpc_build::Error> {
//!     rpc_build::compile(&["proto/bank/v1/bank.proto"], &["proto"])
//! }
//! ```
//!
//! ```ignore
//! // src/main.rs
//! pub mod bank {
//!     tonic::include_proto!("bank.v1");
//! }
//! // For reflection and tools; options and imports are in it.
//! const DESCRIPTORS: &[u8] = tonic::include_file_descriptor_set!("session_descriptor");
//! ```
//!
//! The module then holds tonic's `ledger_client` and `ledger_server`, untouched, and
//!
//! - `LEDGER_POLICY`, a [`ServicePolicy`](rpc_core::policy::ServicePolicy): the service's name in upper case and
//!   `_POLICY`, for a service without options too (its methods are plain);
//! - [`Described`](rpc_core::policy::Described) for `LedgerClient<T>` and `LedgerServer<T>`, whichever are built.
//!
//! Generated code names `::rpc_core::policy`. A crate that depends on `rpc-client` or `rpc-server` only says
//! `.policy_path("::rpc_client::policy")`, since both re-export that module.
//!
//! # What the options become
//!
//! | option | unset means | refused |
//! | --- | --- | --- |
//! | `delivery` | plain gRPC | `EXACTLY_ONCE` on a method that streams; `AT_MOST_ONCE` on one that streams, and `AT_LEAST_ONCE` on one whose requests stream, without `checkpoint` |
//! | `record` | `DURABLE`, where anything is recorded | without `AT_MOST_ONCE`; `MEMORY` with `EXACTLY_ONCE` |
//! | `timeout` | none | zero, negative, over [`TIMEOUT_MAX`] |
//! | `cancellation` | `FINISH` for `AT_MOST_ONCE` and `EXACTLY_ONCE`, else `STOP` | `STOP` with `EXACTLY_ONCE`; `FINISH` where nothing is recorded |
//! | `idempotent` | the standard `idempotency_level` | without `AT_MOST_ONCE` |
//! | `scopes` | the service's | over [`SCOPES_MAX`], longer than [`SCOPE_BYTES_MAX`], empty, named twice, with spaces, quotes, backslashes or anything but printable ASCII |
//! | `reply_bytes_max` | the session's bound | where nothing is recorded |
//! | `checkpoint` | none | on a method that does not stream; with none of `every_messages`, `every_bytes`, `every` |
//! | `exclusive` | none | longer than [`CLASS_BYTES_MAX`], with anything but printable ASCII |
//! | `exclusive_scope` | `PRINCIPAL`, where there is a class | without `exclusive` |
//! | `dialog` | on a method with `checkpoint` that streams both ways | `true` without `checkpoint`; `false` with `half_duplex` |
//! | `half_duplex` | full duplex | on a method that does not stream both ways; without `checkpoint` |
//! | `dead_man` | off | where nothing is recorded |
//!
//! The standard `idempotency_level` alone changes nothing: it is a hint, and a method that nobody gave a `delivery`
//! stays plain gRPC. Together with `AT_MOST_ONCE`, `IDEMPOTENT` and `NO_SIDE_EFFECTS` set `idempotent`.
//!
//! An empty list or string is the same as none in proto3: a method cannot take back the scopes of its service.
//!
//! Requests and responses must not have a field number [`FRAME_FIELD`], imported messages included: a gRPC message of
//! that one field is a control frame of the session. Other messages may.
//!
//! Every mistake fails the build with file, line and column of the option, and all of them are told at once.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod builder;
mod embedded;
mod emit;
mod error;
mod frame_field;
mod generator;
mod hash;
mod location;
mod method;
mod names;
mod options;
mod service;
mod source;
mod table;
mod value;

pub use builder::{Builder, compile, configure};
pub use error::{Error, Problem};
pub use frame_field::FRAME_FIELD;
/// The configuration of message generation that [`Builder::compile_with_config`] takes.
pub use prost_build::Config;
pub use value::{CLASS_BYTES_MAX, SCOPE_BYTES_MAX, SCOPES_MAX, TIMEOUT_MAX};
