//! Compiles the example's `.proto` file. No protoc is needed.

fn main() -> Result<(), rpc_build::Error> {
    rpc_build::compile(&["proto/bank/v1/bank.proto"], &["proto"])
}
