//! Telephones: `call_setup serve`, `phone`; without arguments, a demonstration.

use std::process::ExitCode;

use clap::Parser as _;
use rpc_examples::call_setup::command::Command;
use rpc_examples::program;

fn main() -> ExitCode {
    program::run("call_setup", Command::parse().run())
}
