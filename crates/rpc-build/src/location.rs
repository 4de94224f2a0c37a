//! Where in a file a definition or an option was written.

use std::{collections::HashMap, path::PathBuf};

use prost_reflect::FileDescriptor;
use prost_types::source_code_info::Location;

use crate::error::Problem;

/// The files of one compilation: the names that imports use, and the paths on disk of those that have one.
pub(crate) type Paths = HashMap<String, PathBuf>;

/// Makes problems that point into the files of one compilation.
pub(crate) struct Locator {
    paths: Paths,
}

impl Locator {
    pub(crate) fn new(paths: Paths) -> Self {
        Self { paths }
    }

    /// A problem with the definition at the first of `candidates` that the file has a place for. Candidates are paths
    /// of descriptor fields (`SourceCodeInfo.Location.path`), the most exact first. An option that was set field by
    /// field has a place for each; one that was set as a whole has a single place.
    pub(crate) fn problem(&self, file: &FileDescriptor, candidates: &[Vec<i32>], message: String) -> Problem {
        let name = file.name();
        Problem {
            file: self.paths.get(name).map_or_else(|| name.to_owned(), |path| path.display().to_string()),
            position: candidates.iter().find_map(|path| position(file, path)),
            message,
        }
    }
}

/// Line and column, from 1, of what was written at `path` or, if nothing was, below it.
fn position(file: &FileDescriptor, path: &[i32]) -> Option<(usize, usize)> {
    let locations = &file.file_descriptor_proto().source_code_info.as_ref()?.location;
    locations
        .iter()
        .filter(|location| location.path.starts_with(path))
        .min_by_key(|location| (location.path.len(), location.span.clone()))
        .and_then(start)
}

fn start(location: &Location) -> Option<(usize, usize)> {
    let [line, column, ..] = location.span[..] else { return None };
    Some((usize::try_from(line).ok()? + 1, usize::try_from(column).ok()? + 1))
}
