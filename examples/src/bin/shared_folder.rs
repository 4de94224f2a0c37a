//! Shows what sessions hold for their users: open files and locks, which a cut connection does not cost, and which nobody
//! keeps who is gone.

#![expect(clippy::print_stderr, reason = "that is where errors belong")]

use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match rpc_examples::shared_folder::demonstration::run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("shared_folder: {failure}");
            failure.exit_code()
        }
    }
}
