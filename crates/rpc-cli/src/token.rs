//! The file of a bearer token, which its owner alone can read.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use tonic::metadata::{Ascii, MetadataValue};

use crate::failure::Failure;

/// Servers take tokens of up to 8 KiB; an end of line may follow.
const BYTES_MAX: u64 = 9 << 10;

/// The value of `authorization` with the token in the file, marked so that nothing shows or keeps it.
pub(crate) fn read(path: &Path) -> Result<MetadataValue<Ascii>, Failure> {
    let failed = |why: String| Failure::TokenFile { path: path.to_owned(), why };
    let file = File::open(path).map_err(|error| failed(error.to_string()))?;
    check_mode(&file).map_err(failed)?;
    let mut text = String::new();
    // The error does not say what was read, and neither does any below.
    file.take(BYTES_MAX + 1).read_to_string(&mut text).map_err(|error| failed(error.to_string()))?;
    let token = text.trim();
    if token.is_empty() || text.len() as u64 > BYTES_MAX {
        return Err(failed(format!("it holds no token of 1 to {BYTES_MAX} bytes")));
    }
    let value: Result<MetadataValue<Ascii>, _> = format!("Bearer {token}").parse();
    let mut value = value.map_err(|_| failed("it holds characters that are in no token".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Looks at the open file, so that nobody can put another in its place in between.
#[cfg(unix)]
fn check_mode(file: &File) -> Result<(), String> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = file.metadata().map_err(|error| error.to_string())?.permissions().mode() & 0o777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    Err(format!("it is open to others (mode {mode:o}): set its mode to 600, and use a new token"))
}

#[cfg(not(unix))]
fn check_mode(_: &File) -> Result<(), String> {
    Ok(())
}
