//! The session's own `.proto` files, served from memory.
//!
//! The files in `embedded/` are copies of those in the repository's `proto/` directory, made and checked by the program
//! `generate-proto`: with copies this crate also works where the rest of the repository is absent.

use protox::file::{File, FileResolver};

/// The package of all embedded files.
pub(crate) const PACKAGE: &str = "session.v1";

const FILES: [(&str, &str); 5] = [
    ("session/v1/options.proto", include_str!("embedded/session/v1/options.proto")),
    ("session/v1/session.proto", include_str!("embedded/session/v1/session.proto")),
    ("session/v1/error.proto", include_str!("embedded/session/v1/error.proto")),
    ("session/v1/frame.proto", include_str!("embedded/session/v1/frame.proto")),
    ("session/v1/admin.proto", include_str!("embedded/session/v1/admin.proto")),
];

/// Resolves the embedded files and nothing else.
pub(crate) struct Embedded;

impl FileResolver for Embedded {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        match FILES.iter().find(|(known, _)| *known == name) {
            Some((name, text)) => File::from_source(name, text),
            None => Err(protox::Error::file_not_found(name)),
        }
    }
}
