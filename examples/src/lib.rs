//! What the example programs share: the bank and the file transfer, their generated code, the demonstration's key, a store
//! to share, and a connection to cut.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod books;
pub mod demo;
pub mod relay;
pub mod shared;
pub mod transfer;

/// Messages, stubs and policies of `proto/bank/v1/bank.proto`.
pub mod bank {
    #![allow(missing_docs, clippy::all, reason = "generated code")]

    tonic::include_proto!("bank.v1");

    /// For server reflection.
    pub const DESCRIPTORS: &[u8] = tonic::include_file_descriptor_set!("session_descriptor");
}

/// Messages, stubs and policies of `proto/archive/v1/archive.proto`.
pub mod archive {
    #![allow(missing_docs, clippy::all, reason = "generated code")]

    tonic::include_proto!("archive.v1");
}
