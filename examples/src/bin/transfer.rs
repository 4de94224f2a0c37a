//! Sends files that nothing stops: `transfer serve`, `send`, `get`, `ls`; without arguments, a demonstration.

use std::process::ExitCode;

use clap::Parser as _;
use rpc_examples::program;
use rpc_examples::transfer::command::Command;

fn main() -> ExitCode {
    program::run("transfer", Command::parse().run())
}
