//! The driver, and the workers with mimalloc: see the library's documentation, or `rpc-bench --help`.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    rpc_bench::drive()
}
