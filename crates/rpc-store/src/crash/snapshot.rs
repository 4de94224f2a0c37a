//! The files of a store as bytes: taken from a directory, altered as a crash or damage would, and written to another.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What is written after the last byte that is not 0: journals are preallocated, and a zero more or less says nothing.
const PADDING: usize = 4096;
const CHUNK: usize = 64 << 10;

/// Every file and every directory below one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Snapshot {
    /// By the path within. The zeros at the end of a journal are left out.
    pub(super) files: BTreeMap<PathBuf, Arc<Vec<u8>>>,
    directories: Vec<PathBuf>,
}

/// What has happened to one file, other than in the snapshot.
#[derive(Debug, Clone)]
pub(super) enum Edit {
    /// It holds this.
    Is(PathBuf, Arc<Vec<u8>>),
    /// It was never made, or is gone.
    Gone(PathBuf),
    /// Only the first bytes are there.
    Cut(PathBuf, usize),
    /// Only the first bytes are there, and zeros.
    CutAndPadded(PathBuf, usize),
    /// These sectors after this offset have not reached the medium, and are still zeros.
    Holes(PathBuf, usize, u64),
    /// One bit is another.
    Flip(PathBuf, usize),
    /// The file lies in this directory with the same path below it, and so do all others.
    Moved(&'static str, &'static str),
}

/// What a medium writes at once.
pub(super) const SECTOR: usize = 512;

impl Snapshot {
    pub(super) fn take(root: &Path) -> Self {
        let mut snapshot = Self::default();
        let mut open = vec![PathBuf::new()];
        while let Some(directory) = open.pop() {
            for entry in fs::read_dir(root.join(&directory)).unwrap() {
                let entry = entry.unwrap();
                let path = directory.join(entry.file_name());
                if entry.file_type().unwrap().is_dir() {
                    snapshot.directories.push(path.clone());
                    open.push(path);
                } else {
                    snapshot.files.insert(path.clone(), Arc::new(content(&root.join(path))));
                }
            }
        }
        snapshot
    }

    pub(super) fn with(&self, edits: &[Edit]) -> Self {
        let mut altered = self.clone();
        for edit in edits {
            altered.apply(edit);
        }
        altered
    }

    pub(super) fn write(&self, root: &Path) {
        fs::create_dir_all(root).unwrap();
        for directory in &self.directories {
            fs::create_dir_all(root.join(directory)).unwrap();
        }
        for (path, bytes) in &self.files {
            fs::write(root.join(path), &**bytes).unwrap();
        }
    }

    /// The files with this ending, in the order of their numbers or names.
    pub(super) fn ending(&self, ending: &str) -> Vec<&PathBuf> {
        let mut found: Vec<_> =
            self.files.keys().filter(|path| path.to_string_lossy().ends_with(ending)).collect();
        found.sort_by_key(|path| (path.as_os_str().len(), (*path).clone()));
        found
    }

    fn apply(&mut self, edit: &Edit) {
        match edit {
            Edit::Is(path, bytes) => drop(self.files.insert(path.clone(), Arc::clone(bytes))),
            Edit::Gone(path) => drop(self.files.remove(path)),
            Edit::Cut(path, length) => self.bytes(path).truncate(*length),
            Edit::CutAndPadded(path, length) => {
                let bytes = self.bytes(path);
                bytes.truncate(*length);
                bytes.resize(length + PADDING, 0);
            }
            Edit::Holes(path, offset, sectors) => {
                let bytes = self.bytes(path);
                for sector in (0..64).filter(|sector| sectors & 1 << sector != 0) {
                    let begin = (offset / SECTOR + sector) * SECTOR;
                    let end = (begin + SECTOR).min(bytes.len());
                    bytes[begin.max(*offset).min(end)..end].fill(0);
                }
            }
            Edit::Flip(path, bit) => self.bytes(path)[bit / 8] ^= 1 << (bit % 8),
            Edit::Moved(from, to) => {
                let moved = |path: PathBuf| match path.strip_prefix(from) {
                    Ok(below) => Path::new(to).join(below),
                    Err(_) => path,
                };
                self.files = std::mem::take(&mut self.files)
                    .into_iter()
                    .map(|(path, bytes)| (moved(path), bytes))
                    .collect();
                self.directories = std::mem::take(&mut self.directories).into_iter().map(moved).collect();
            }
        }
    }

    fn bytes(&mut self, path: &Path) -> &mut Vec<u8> {
        Arc::make_mut(self.files.get_mut(path).unwrap_or_else(|| panic!("no {}", path.display())))
    }
}

/// What is in a file; of a journal what comes before its preallocated zeros.
fn content(path: &Path) -> Vec<u8> {
    if path.extension().is_none_or(|extension| extension != "jnl") {
        return fs::read(path).unwrap();
    }
    let (mut file, mut bytes) = (File::open(path).unwrap(), Vec::new());
    loop {
        let begin = bytes.len();
        file.by_ref().take(CHUNK as u64).read_to_end(&mut bytes).unwrap();
        // The workload writes no such run of zeros.
        if bytes[begin..].iter().all(|byte| *byte == 0) {
            break;
        }
    }
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    bytes.truncate(end);
    bytes
}
