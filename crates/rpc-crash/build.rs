//! Generates the stubs and the policy table of the service that is crashed.

fn main() -> Result<(), rpc_build::Error> {
    rpc_build::compile(&["proto/vault/v1/vault.proto"], &["proto"])
}
