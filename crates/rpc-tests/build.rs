//! Generates the stubs and the policy tables of the services that the tests call and look at.

fn main() -> Result<(), rpc_build::Error> {
    rpc_build::compile(&["proto/ledger/v1/test.proto", "proto/shapes/v1/shapes.proto"], &["proto"])
}
