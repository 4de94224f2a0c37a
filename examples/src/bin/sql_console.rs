//! A database session: `sql_console serve`, `connect`; without arguments, a demonstration.

use std::process::ExitCode;

use clap::Parser as _;
use rpc_examples::program;
use rpc_examples::sql_console::command::Command;

fn main() -> ExitCode {
    program::run("sql_console", Command::parse().run())
}
