//! Telephones: `call_setup serve`, `phone`; without arguments, a demonstration.

#![expect(clippy::print_stderr, reason = "that is where errors belong")]

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;
use rpc_examples::call_setup::command::Command;

fn main() -> ExitCode {
    let command = Command::parse();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("call_setup: {error}");
            return ExitCode::FAILURE;
        }
    };
    let done = runtime.block_on(command.run());
    // A thread may wait for standard input.
    runtime.shutdown_timeout(Duration::from_secs(1));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("call_setup: {failure}");
            failure.exit_code()
        }
    }
}
