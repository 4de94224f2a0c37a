//! Compiles the examples' `.proto` files. No protoc is needed.

fn main() -> Result<(), rpc_build::Error> {
    rpc_build::compile(&["proto/archive/v1/archive.proto", "proto/bank/v1/bank.proto"], &["proto"])
}
