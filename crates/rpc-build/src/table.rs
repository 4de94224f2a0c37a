//! The policy of one service as the generator knows it, before it is written as Rust.
//!
//! The values are those of `rpc_core::policy`; the texts are owned, since they come from files.

use std::time::Duration;

use rpc_core::policy::{Cancellation, Delivery, ExclusiveScope, MethodKind, Record, Secure};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Service {
    /// Full name, such as `bank.v1.Ledger`.
    pub(crate) name: String,
    pub(crate) version: u32,
    /// In the order of the file.
    pub(crate) methods: Vec<Method>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Method {
    /// `/bank.v1.Ledger/Transfer`.
    pub(crate) path: String,
    pub(crate) kind: MethodKind,
    pub(crate) delivery: Delivery,
    pub(crate) record: Record,
    pub(crate) cancellation: Cancellation,
    pub(crate) idempotent: bool,
    pub(crate) timeout: Option<Duration>,
    pub(crate) scopes: Vec<String>,
    pub(crate) reply_bytes_max: Option<u32>,
    pub(crate) checkpoint: Option<Checkpoint>,
    pub(crate) exclusive: Option<Exclusive>,
    pub(crate) dialog: bool,
    pub(crate) half_duplex: bool,
    pub(crate) dead_man: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Exclusive {
    pub(crate) class: String,
    pub(crate) scope: ExclusiveScope,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    pub(crate) every_messages: Option<u32>,
    pub(crate) every_bytes: Option<u64>,
    pub(crate) every: Option<Duration>,
    pub(crate) secure: Secure,
}
