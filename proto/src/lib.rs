//! The session protocol on the wire: messages, headers, statuses and deadlines.
//!
//! Everything here goes one way or the other between bytes and the types of [`rpc_core`]. Nothing here decides.
//!
//! - [`pb`]: the messages and stubs of `session/v1/*.proto`, generated and checked in.
//! - [`codec`]: how those stubs encode messages.
//! - [`headers`]: the session headers of requests and responses.
//! - [`frames`]: what the two sides of a stream tell each other between its messages.
//! - [`admin`]: what operators are answered.
//! - [`status`]: reasons and outcomes as `google.rpc.Status` details.
//! - [`deadline`]: `grpc-timeout`, and the deadline that a handler's own calls inherit.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod admin;
pub mod codec;
pub mod deadline;
pub mod frames;
pub mod headers;
pub mod pb;
pub mod status;
