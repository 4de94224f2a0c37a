//! The file of a saved session.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use super::SavedError;

/// A saved session is a few hundred bytes, and more with many services.
const BYTES_MAX: u64 = 1 << 20;

/// Replaces the file at `path` by one with these bytes.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), SavedError> {
    let new = beside(path);
    // What an earlier process left there when it was killed. Whoever else has put something there since is told apart by
    // `create_new`, which follows no link.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(&new)(error)),
        Ok(()) | Err(_) => {}
    }
    let written = create(&new).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    let renamed = written.map_err(failed(&new)).and_then(|()| fs::rename(&new, path).map_err(failed(path)));
    if renamed.is_err() {
        // It holds the ticket.
        let _ = fs::remove_file(&new);
    }
    renamed.and_then(|()| sync_directory(path))
}

/// The bytes of the file; `None` if there is none.
pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>, SavedError> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(failed(path))?,
    };
    check_mode(path, &file)?;
    let mut bytes = Vec::new();
    file.take(BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed(path))?;
    // Longer than any that was written.
    if bytes.len() as u64 > BYTES_MAX { Err(SavedError::NotASession) } else { Ok(Some(bytes)) }
}

/// Removes the file, if there is one.
pub(super) fn remove(path: &Path) -> Result<(), SavedError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(failed(path)).and_then(|()| sync_directory(path)),
    }
}

/// In the same directory: a rename between file systems is no replacement.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> SavedError + use<'_> {
    move |source| SavedError::Io { path: path.to_owned(), source }
}

#[cfg(unix)]
fn create(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

#[cfg(not(unix))]
fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}

/// Looks at the open file, so that nobody can put another in its place in between.
#[cfg(unix)]
fn check_mode(path: &Path, file: &File) -> Result<(), SavedError> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = file.metadata().map_err(failed(path))?.permissions().mode() & 0o777;
    if mode & 0o077 == 0 { Ok(()) } else { Err(SavedError::Exposed { path: path.to_owned(), mode }) }
}

#[cfg(not(unix))]
fn check_mode(_path: &Path, _file: &File) -> Result<(), SavedError> {
    Ok(())
}

/// Until then the file may be the old one after a power loss.
#[cfg(unix)]
fn sync_directory(path: &Path) -> Result<(), SavedError> {
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        Some(_) | None => Path::new("."),
    };
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed(directory))
}

#[cfg(not(unix))]
fn sync_directory(_path: &Path) -> Result<(), SavedError> {
    Ok(())
}
