//! Generates the stubs and the policy table of the service that is simulated.

fn main() -> Result<(), rpc_build::Error> {
    // With this cfg of tokio's its random choices have a seed; see the crate's documentation.
    println!("cargo::rustc-check-cfg=cfg(tokio_unstable)");
    rpc_build::compile(&["proto/sim/v1/sim.proto"], &["proto"])
}
