//! The session protocol as a pure state machine: no sockets, no clock, no files, no randomness, no tasks.
//!
//! Everything that decides lives here; servers and clients around it only do input and output. Commands and events are
//! methods that take the time and answer at once; what is to be done leaves through one `poll`, and what rests on a
//! record that is not durable yet is held back until the store has it.
//!
//! - [`session`]: one session, acceptor's side. [`release`]: who may release it. [`registry`]: all of them. [`initiator`]: the caller's side.
//! - [`negotiate`]: what a session may use. [`config`]: what a server offers, and every bound.
//! - [`store`]: what a store must do. [`record`]: what it keeps.
//! - [`stream`]: what a checkpointed call sends and receives, over all its connections. [`frame`]: the words it uses.
//!   [`dialog`]: who may speak in it. [`activity`]: what is kept under a name when it ends before its end. [`budget`]: the memory of all of them.
//! - [`policy`]: what methods promise. [`error`]: reasons, codes, outcomes.
//! - [`planted`]: faults that tests look for. There are none in an ordinary build.
//! - [`id`], [`principal`], [`time`]: the words everything is said in.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod activity;
pub mod budget;
pub mod checksum;
pub mod config;
pub mod dialog;
pub mod error;
pub mod exclusive;
pub mod frame;
pub mod id;
pub mod initiator;
pub mod negotiate;
pub mod planted;
pub mod policy;
pub mod principal;
pub mod record;
pub mod registry;
pub mod release;
pub mod session;
pub mod store;
pub mod stream;
pub mod time;
pub mod transaction;
