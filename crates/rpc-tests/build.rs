//! Generates the stubs and the policy tables of the services that the tests call and look at.

fn main() -> Result<(), rpc_build::Error> {
    let files = [
        "proto/bulk/v1/bulk.proto",
        "proto/dialog/v1/dialog.proto",
        "proto/ledger/v1/test.proto",
        "proto/shapes/v1/shapes.proto",
        "proto/streams/v1/streams.proto",
        "proto/vault/v1/vault.proto",
        "proto/wards/v1/wards.proto",
    ];
    rpc_build::compile(&files, &["proto"])
}
