//! Directories for tests, and copies of them as a crash would leave them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A directory of its own, removed when the test ends.
#[derive(Debug)]
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// A path where nothing is.
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("rpc-store-test-{}-{count}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    /// What is in `path` at this moment, as if the process that uses it were killed now. Journals are large and mostly
    /// holes: the zeros at their end are not copied but set.
    pub(crate) fn copy_of(path: &Path) -> Self {
        let scratch = Self::new();
        copy(path, &scratch.0);
        scratch
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("readable") {
        let entry = entry.expect("readable");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("readable").is_dir() {
            copy(&entry.path(), &target);
        } else {
            write_sparse(&target, &fs::read(entry.path()).expect("readable"));
        }
    }
}

/// Writes a file and leaves the zeros at its end to the file system.
pub(crate) fn write_sparse(path: &Path, bytes: &[u8]) {
    let content = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    fs::write(path, &bytes[..content]).expect("writable");
    let file = fs::OpenOptions::new().write(true).open(path).expect("writable");
    file.set_len(bytes.len() as u64).expect("writable");
}

/// All files below `path`.
pub(crate) fn files(path: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path).expect("readable") {
        let entry = entry.expect("readable");
        if entry.file_type().expect("readable").is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found.sort();
    found
}

/// Flips one bit in one file of a copy of `path`, `count` times at other places, those in use by preference. `verdict`
/// says whether the damage was refused; it fails the test if it was not, and did harm. Answers how often it was refused.
pub(crate) fn flip_bits(path: &Path, count: u32, mut verdict: impl FnMut(&Path, &str) -> bool) -> u32 {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % below as u64) as usize
    };
    let mut refused = 0;
    for round in 0..count {
        let copy = Scratch::copy_of(path);
        let candidates: Vec<_> = files(copy.path())
            .into_iter()
            .map(|file| (fs::read(&file).expect("readable"), file))
            .filter(|(bytes, _)| !bytes.is_empty())
            .collect();
        let (mut bytes, file) = candidates[next(candidates.len())].clone();
        let used = bytes.iter().rposition(|byte| *byte != 0).map_or(bytes.len(), |last| last + 1);
        let bit = next(used * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        write_sparse(&file, &bytes);
        let name = file.strip_prefix(copy.path()).expect("below").display();
        refused += u32::from(verdict(copy.path(), &format!("round {round}: bit {bit} of {name}")));
    }
    refused
}
