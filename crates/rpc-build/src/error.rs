//! What can go wrong in a build, and where.

use std::{fmt, io, path::PathBuf};

/// Why a build failed.
///
/// `Debug` prints the same as `Display`, with its causes, since that is what a build script that returns the error
/// from `main` shows.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A `.proto` file cannot be found, read or understood, or names an option that does not exist.
    #[error("{0}")]
    Proto(Problem),
    /// Session options contradict each other or their methods. All of them, in the order of the files.
    #[error("{}", Lines(.0))]
    Options(Vec<Problem>),
    /// Neither [`out_dir`](crate::Builder::out_dir) nor the variable `OUT_DIR`, which cargo sets for build scripts,
    /// says where the code goes.
    #[error("OUT_DIR is not set: call this from a build script, or name the directory with `out_dir`")]
    NoOutDir,
    /// The descriptor set cannot be written.
    #[error("cannot write {}", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The code cannot be generated or written: an extern path is not one, or the system refuses.
    #[error("cannot generate code in {}", .path.display())]
    Generate {
        /// The output directory.
        path: PathBuf,
        /// What prost-build or the system said.
        source: io::Error,
    },
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

/// One mistake and its place: `proto/bank/v1/bank.proto:12:5: …`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Path on disk where it is known, so that editors can follow it; otherwise the name that imports use. Empty if the
    /// mistake belongs to no file.
    pub file: String,
    /// Line and column, both from 1. `None` if the mistake belongs to the whole file.
    pub position: Option<(usize, usize)>,
    /// What is wrong, in one sentence.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.file.is_empty() {
            write!(f, "{}:", self.file)?;
            if let Some((line, column)) = self.position {
                write!(f, "{line}:{column}:")?;
            }
            write!(f, " ")?;
        }
        f.write_str(&self.message)
    }
}

/// One problem a line.
struct Lines<'a>(&'a [Problem]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}
