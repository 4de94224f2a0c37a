//! What the programs have in common: how they begin, how they are told to end, and what they exit with.
#![expect(clippy::print_stderr, reason = "that is where errors belong")]

use std::future::{Future, pending};
use std::process::ExitCode;
use std::time::Duration;

use crate::transfer::failure::Failure;

/// Threads that wait for standard input or are busy with a disk are left behind after this.
const STRAGGLERS: Duration = Duration::from_secs(1);

/// Does the work of the program of that name on a runtime of one thread, and says in one sentence why it was not done.
pub fn run(name: &str, work: impl Future<Output = Result<(), Failure>>) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("{name}: {error}");
            return ExitCode::FAILURE;
        }
    };
    let done = runtime.block_on(work);
    runtime.shutdown_timeout(STRAGGLERS);
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{name}: {failure}");
            failure.exit_code()
        }
    }
}

/// Waits for Ctrl-C. For ever where there are no signals: a server then goes on.
pub async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        pending::<()>().await;
    }
}
