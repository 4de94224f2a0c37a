//! `rpcctl`: what operators do with stores of sessions.
//!
//! Reports go to standard output, as text or with `--json` as one object; errors to standard error, and with `--json` to
//! standard output too. Scripts go by the exit code: [`EXIT_CODES`].

mod failure;
mod report;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use rpc_store::EmbeddedStore;

use crate::failure::Failure;
use crate::report::Report;

const EXIT_CODES: &str = "\
Exit codes:
  0  done; a store that was checked is sound
  1  the store is damaged: restore a backup
  2  wrong arguments
  3  the store is in use by another process
  4  there is no store, or the target of a backup is not empty
  5  the store is of another version of this program
  6  reading or writing failed";

/// Looks after stores of sessions.
#[derive(Debug, Parser)]
#[command(name = "rpcctl", version, after_help = EXIT_CODES)]
struct Arguments {
    /// Print one JSON object instead of text.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The embedded store of a server that is stopped.
    #[command(subcommand, after_help = EXIT_CODES)]
    Store(StoreCommand),
}

#[derive(Debug, Subcommand)]
enum StoreCommand {
    /// Read everything and verify it, as a server does at its start; go on after the first damaged record.
    #[command(after_help = EXIT_CODES)]
    Check(Place),
    /// Copy the store into an empty or missing directory, and check the copy. A server that runs makes backups itself:
    /// see `EmbeddedStore::backup`.
    #[command(after_help = EXIT_CODES)]
    Backup {
        #[command(flatten)]
        from: Place,
        /// Where the copy goes.
        to: PathBuf,
    },
    /// Count what the store holds.
    #[command(after_help = EXIT_CODES)]
    Stats(Place),
}

#[derive(Debug, Args)]
struct Place {
    /// The directory that the server was given for its store.
    directory: PathBuf,
}

fn main() -> ExitCode {
    let Arguments { json, command: Command::Store(command) } = Arguments::parse();
    let done = match &command {
        StoreCommand::Check(place) => check(&place.directory),
        StoreCommand::Backup { from, to } => backup(&from.directory, to),
        StoreCommand::Stats(place) => stats(&place.directory),
    };
    let (output, code) = match (&done, json) {
        (Ok(report), false) => (report.text(), report.exit_code()),
        (Ok(report), true) => (format!("{:#}\n", report.json()), report.exit_code()),
        (Err(failure), _) => {
            // Whoever reads neither stream has the exit code.
            let _ = writeln!(io::stderr(), "rpcctl: {}", failure.text());
            let object = if json { format!("{:#}\n", failure.json()) } else { String::new() };
            (object, failure.exit_code())
        }
    };
    // A reader that has seen enough, such as `head`, is no failure.
    let _ = io::stdout().write_all(output.as_bytes());
    ExitCode::from(code)
}

fn check(directory: &Path) -> Result<Report, Failure> {
    Ok(Report::Check { directory: directory.to_owned(), found: rpc_store::check(directory)? })
}

fn backup(directory: &Path, to: &Path) -> Result<Report, Failure> {
    let store = EmbeddedStore::open_existing(directory)?;
    Ok(Report::Backup { directory: directory.to_owned(), to: to.to_owned(), copy: store.backup(to)? })
}

fn stats(directory: &Path) -> Result<Report, Failure> {
    let store = EmbeddedStore::open_existing(directory)?;
    Ok(Report::Stats { directory: directory.to_owned(), found: store.statistics()? })
}
