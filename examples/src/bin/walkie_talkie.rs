//! Push to talk: `walkie_talkie listen`, `call`; without arguments, a demonstration.

#![expect(clippy::print_stderr, reason = "that is where errors belong")]

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;
use rpc_examples::walkie_talkie::command::Command;

fn main() -> ExitCode {
    let command = Command::parse();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("walkie_talkie: {error}");
            return ExitCode::FAILURE;
        }
    };
    let done = runtime.block_on(command.run());
    // A thread may wait for standard input.
    runtime.shutdown_timeout(Duration::from_secs(1));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("walkie_talkie: {failure}");
            failure.exit_code()
        }
    }
}
