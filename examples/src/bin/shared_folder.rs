//! Shows what sessions hold for their users: open files and locks, which a cut connection does not cost, and which nobody
//! keeps who is gone.

use std::process::ExitCode;

use rpc_examples::program;
use rpc_examples::shared_folder::demonstration;

fn main() -> ExitCode {
    program::run("shared_folder", demonstration::run())
}
