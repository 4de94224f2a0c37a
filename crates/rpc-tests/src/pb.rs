//! The services that the tests call and look at, generated from `proto/`.

/// `bulk.*`.
pub mod bulk {
    /// `TestBulk`, whose calls exclude each other.
    #[allow(clippy::all, missing_docs, unreachable_pub, reason = "generated code")]
    pub mod v1 {
        tonic::include_proto!("bulk.v1");
    }
}

/// `dialog.*`.
pub mod dialog {
    /// `TestDialog`, whose two sides take turns.
    #[allow(clippy::all, missing_docs, unreachable_pub, reason = "generated code")]
    pub mod v1 {
        tonic::include_proto!("dialog.v1");
    }
}

/// `ledger.*`.
pub mod ledger {
    /// `TestLedger`, which does as it is told, with its messages and its policy table.
    #[allow(clippy::all, missing_docs, unreachable_pub, reason = "generated code")]
    pub mod v1 {
        tonic::include_proto!("ledger.v1");
    }
}

/// `shapes.*`.
pub mod shapes {
    /// Services and messages with awkward names and every option: that they compile is half of the test.
    #[allow(clippy::all, missing_docs, unreachable_pub, non_camel_case_types, reason = "generated code")]
    pub mod v1 {
        tonic::include_proto!("shapes.v1");
    }
}

/// `streams.*`.
pub mod streams {
    /// `TestStreams`, whose streams outlive their connections.
    #[allow(clippy::all, missing_docs, unreachable_pub, reason = "generated code")]
    pub mod v1 {
        tonic::include_proto!("streams.v1");
    }
}

/// `vault.*`.
pub mod vault {
    /// `Vault`, whose handlers work with sync points.
    #[allow(clippy::all, missing_docs, unreachable_pub, reason = "generated code")]
    pub mod v1 {
        tonic::include_proto!("vault.v1");
    }
}

/// `wards.*`.
pub mod wards {
    /// `TestWards`, whose handlers look after their session.
    #[allow(clippy::all, missing_docs, unreachable_pub, reason = "generated code")]
    pub mod v1 {
        tonic::include_proto!("wards.v1");
    }
}

/// The encoded descriptors of all of them and their imports, options included.
pub const FILE_DESCRIPTOR_SET: &[u8] = tonic::include_file_descriptor_set!("session_descriptor");
