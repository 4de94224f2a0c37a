//! `rpcctl`: what operators do with stores of sessions.
//!
//! Reports go to standard output, as text or with `--json` as one object; errors to standard error, and with `--json` to
//! standard output too. Scripts go by the exit code: [`EXIT_CODES`].

mod failure;
mod report;
mod server;
mod token;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use rpc_core::store::operations::{BackupName, Copied};
use rpc_store::EmbeddedStore;

use crate::failure::Failure;
use crate::report::{Report, Source};
use crate::server::Server;

const EXIT_CODES: &str = "\
Exit codes:
  0  done; a store that was checked is sound
  1  the store is damaged: restore a backup
  2  wrong arguments, or a file they name is
  3  the store is in use by another process
  4  there is no store, or the target of a backup is not empty or its name is taken
  5  the store is of another version of this program
  6  reading or writing failed
  7  the server cannot be reached, or refuses";

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
    /// The store of a server: by its directory if the server is stopped, with --server if it runs.
    #[command(subcommand, after_help = EXIT_CODES)]
    Store(StoreCommand),
}

#[derive(Debug, Subcommand)]
enum StoreCommand {
    /// Read everything and verify it, as a server does at its start; go on after the first damaged record.
    #[command(after_help = EXIT_CODES)]
    Check(Place),
    /// Copy the store into an empty or missing directory; or have a running server make a backup of that name where it
    /// keeps them. The copy is checked.
    #[command(after_help = EXIT_CODES, override_usage = BACKUP_USAGE)]
    Backup(Backup),
    /// Count what the store holds.
    #[command(after_help = EXIT_CODES, override_usage = STATS_USAGE)]
    Stats(Stats),
}

const BACKUP_USAGE: &str = "\
rpcctl store backup DIRECTORY TO
       rpcctl store backup --server URL --token-file FILE NAME";
const STATS_USAGE: &str = "\
rpcctl store stats DIRECTORY
       rpcctl store stats --server URL --token-file FILE";

#[derive(Debug, Args)]
struct Place {
    /// The directory that the server was given for its store.
    directory: PathBuf,
}

#[derive(Debug, Args)]
struct Backup {
    /// The directory of the store; with --server, what the backup is to be called.
    #[arg(value_name = "DIRECTORY|NAME")]
    what: PathBuf,
    /// Where the copy goes.
    #[arg(required_unless_present = "url", conflicts_with = "url")]
    to: Option<PathBuf>,
    #[command(flatten)]
    server: Server,
}

#[derive(Debug, Args)]
struct Stats {
    /// The directory that the server was given for its store.
    #[arg(required_unless_present = "url", conflicts_with = "url")]
    directory: Option<PathBuf>,
    #[command(flatten)]
    server: Server,
}

fn main() -> ExitCode {
    let Arguments { json, command: Command::Store(command) } = Arguments::parse();
    let done = match &command {
        StoreCommand::Check(place) => check(&place.directory),
        StoreCommand::Backup(arguments) => backup(arguments),
        StoreCommand::Stats(arguments) => stats(arguments),
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

fn backup(Backup { what, to, server }: &Backup) -> Result<Report, Failure> {
    if let Some(remote) = server.remote() {
        let name = what.to_str().unwrap_or_default();
        let name = BackupName::new(name).map_err(|error| Failure::Arguments(error.to_string()))?;
        let copy = remote.backup(&name)?;
        return Ok(Report::Backup { from: remote.url.to_owned(), to: name.to_string(), copy });
    }
    let to = to.as_ref().ok_or_else(|| Failure::Arguments("the backup has no target".to_owned()))?;
    let store = EmbeddedStore::open_existing(what)?;
    let copy = Copied::from(&store.backup(to)?);
    Ok(Report::Backup { from: what.display().to_string(), to: to.display().to_string(), copy })
}

fn stats(Stats { directory, server }: &Stats) -> Result<Report, Failure> {
    if let Some(remote) = server.remote() {
        let found = remote.statistics()?;
        return Ok(Report::Stats { of: Source::Server(remote.url.to_owned()), found: Box::new(found) });
    }
    let directory =
        directory.as_ref().ok_or_else(|| Failure::Arguments("there is no directory".to_owned()))?;
    let found = EmbeddedStore::open_existing(directory)?.statistics()?;
    Ok(Report::Stats { of: Source::Directory(directory.clone()), found: Box::new(found) })
}
