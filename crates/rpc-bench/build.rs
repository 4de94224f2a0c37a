//! Generates the stubs twice: with `Vec<u8>`, as users get them, and with `Bytes`, as those do who measure.

use std::path::PathBuf;

const PROTO: &str = "proto/bench/v1/bench.proto";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    for (directory, shared) in [("owned", false), ("shared", true)] {
        let mut config = rpc_build::Config::new();
        if shared {
            config.bytes(["."]);
        }
        let directory = out.join(directory);
        std::fs::create_dir_all(&directory)?;
        rpc_build::configure().out_dir(directory).compile_with_config(config, &[PROTO], &["proto"])?;
    }
    Ok(())
}
