//! Compiles the examples' `.proto` files. No protoc is needed.

fn main() -> Result<(), rpc_build::Error> {
    let protos = [
        "proto/archive/v1/archive.proto",
        "proto/bank/v1/bank.proto",
        "proto/console/v1/console.proto",
        "proto/folder/v1/folder.proto",
        "proto/phone/v1/phone.proto",
        "proto/walkie/v1/walkie.proto",
    ];
    rpc_build::compile(&protos, &["proto"])
}
