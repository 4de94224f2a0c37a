//! The workers' programs: this one, and one with the allocator of the system that lies beside it.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::WORKER;
use crate::error::BenchError;
use crate::variants::Allocator;

/// Where the manifest was when this was compiled.
const MANIFEST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
/// The other program.
const OTHER: &str = "bench-worker";

/// Programs that are there.
#[derive(Debug)]
pub(super) struct Programs {
    directory: PathBuf,
    this: PathBuf,
    other: PathBuf,
}

impl Programs {
    /// Finds the programs. Under cargo the other one is built first, if it is `needed`, because `cargo run` builds only
    /// this one, and what is left from an earlier build would be measured without a word.
    ///
    /// # Errors
    ///
    /// It is not there, or cannot be built.
    pub(super) fn ready(build: bool, needed: bool) -> Result<Self, BenchError> {
        let this = env::current_exe()?;
        let directory = this.parent().ok_or_else(|| BenchError::new("this program lies nowhere"))?.to_owned();
        let other = directory.join(format!("{OTHER}{}", env::consts::EXE_SUFFIX));
        if let Some(cargo) = env::var_os("CARGO").filter(|_| build && needed && Path::new(MANIFEST).exists())
        {
            let mut build = Command::new(cargo);
            build.args(["build", "--quiet", "--manifest-path", MANIFEST]);
            build.args(["--bin", OTHER, "--profile", profile(&directory)]);
            if !build.status()?.success() {
                return Err(BenchError::new("the other program cannot be built"));
            }
        }
        if needed && !other.exists() {
            return Err(BenchError::new(format!(
                "{OTHER} is not beside this program; build both with `cargo build --release -p rpc-bench`"
            )));
        }
        Ok(Self { directory, this, other })
    }

    /// A worker that is to be started.
    pub(super) fn worker(&self, allocator: Allocator) -> Command {
        match allocator {
            Allocator::System => Command::new(&self.other),
            Allocator::Mimalloc => {
                let mut worker = Command::new(&self.this);
                worker.arg(WORKER);
                worker
            }
        }
    }

    /// Where they lie, which is on a disk.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }
}

/// The profile that builds into this directory.
fn profile(directory: &Path) -> &str {
    match directory.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(profile) => profile,
    }
}
