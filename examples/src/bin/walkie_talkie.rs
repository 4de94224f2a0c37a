//! Push to talk: `walkie_talkie listen`, `call`; without arguments, a demonstration.

use std::process::ExitCode;

use clap::Parser as _;
use rpc_examples::program;
use rpc_examples::walkie_talkie::command::Command;

fn main() -> ExitCode {
    program::run("walkie_talkie", Command::parse().run())
}
