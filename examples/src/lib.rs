//! What the example programs share: the bank and its generated code, the demonstration's key, and a connection to cut.

pub mod books;
pub mod demo;
pub mod relay;

/// Messages, stubs and policies of `proto/bank/v1/bank.proto`.
pub mod bank {
    #![allow(missing_docs, clippy::all, reason = "generated code")]

    tonic::include_proto!("bank.v1");

    /// For server reflection.
    pub const DESCRIPTORS: &[u8] = tonic::include_file_descriptor_set!("session_descriptor");
}
