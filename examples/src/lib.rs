//! What the example programs are made of: the bank, the file transfer and the others, their generated code, the demonstration's key, a store
//! to share, and a connection to cut.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod books;
pub mod call_setup;
pub mod demo;
pub mod program;
pub mod relay;
pub mod shared;
pub mod shared_folder;
pub mod sql_console;
pub mod transfer;
pub mod walkie_talkie;

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

/// Messages, stubs and policies of `proto/console/v1/console.proto`.
pub mod console {
    #![allow(missing_docs, clippy::all, reason = "generated code")]

    tonic::include_proto!("console.v1");
}

/// Messages, stubs and policies of `proto/folder/v1/folder.proto`.
pub mod folder {
    #![allow(missing_docs, clippy::all, reason = "generated code")]

    tonic::include_proto!("folder.v1");
}

/// Messages, stubs and policies of `proto/phone/v1/phone.proto`.
pub mod phone {
    #![allow(missing_docs, clippy::all, reason = "generated code")]

    tonic::include_proto!("phone.v1");
}

/// Messages, stubs and policies of `proto/walkie/v1/walkie.proto`.
pub mod walkie {
    #![allow(missing_docs, clippy::all, reason = "generated code")]

    tonic::include_proto!("walkie.v1");
}
