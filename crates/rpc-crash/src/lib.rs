//! A server that is killed, and what it must not lose by that.
//!
//! - [`vault::Vault`]: the service; each method has another promise.
//! - The binary `vault`: a server of its own process, on the embedded store.
//! - [`process::Process`]: starts it, kills it, starts it again on the same address.
//! - [`streamer`]: clients that upload, download and chat meanwhile; [`parts`]: what they send and must get.
//! - [`caller`]: clients that call while that happens, and remember what they were told.

pub mod caller;
pub mod parts;
pub mod process;
pub mod streamer;
pub mod vault;

/// `vault.v1`, generated from `proto/`.
#[allow(clippy::all, missing_docs, unreachable_pub, reason = "generated code")]
pub mod pb {
    tonic::include_proto!("vault.v1");
}

/// The encoded descriptors of the service and its imports, options included.
pub const FILE_DESCRIPTOR_SET: &[u8] = tonic::include_file_descriptor_set!("session_descriptor");

/// Who issues the tokens of the test, for whom, and the secret.
pub mod trust {
    /// The issuer.
    pub const ISSUER: &str = "https://id.test";
    /// For whom.
    pub const AUDIENCE: &str = "vault";
    /// The key of both.
    pub const SECRET: &[u8; 32] = b"a secret that only tests do know";
}
