//! A server or client that is measured, with the allocator of the system. Started by `rpc-bench`.

fn main() -> std::process::ExitCode {
    rpc_bench::work()
}
