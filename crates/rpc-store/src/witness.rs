//! The witness: how many commits were acknowledged, kept beside the records and not among them.
//!
//! The engine takes damage in its last journal for a commit that was cut off by a crash, and drops it with all that
//! follow. That is right for a commit nobody was told of. The witness tells the two apart: it is written after the
//! sync has returned and before the commit is answered, so it is never ahead of what is durable. It is not synced: that
//! would double the price of a commit. A crash of the process loses nothing of it; after a power loss it may lag,
//! and then only says less.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use rpc_core::checksum::{append, crc32c};

/// Two places, written in turn and a page apart, so that a torn write leaves the other.
const SLOT_OFFSETS: [u64; 2] = [0, 4096];
const SLOT_BYTES: usize = 12;

/// The file, open.
#[derive(Debug)]
pub(crate) struct Witness {
    file: File,
}

impl Witness {
    /// A new file that says `commits` in both places.
    pub(crate) fn create(path: &Path, commits: u64) -> io::Result<()> {
        let mut file = OpenOptions::new().create_new(true).write(true).open(path)?;
        for offset in SLOT_OFFSETS {
            file.seek(SeekFrom::Start(offset))?;
            file.write_all(&encode(commits))?;
        }
        file.sync_all()
    }

    /// Opens the file and says what it says; `None`: neither place holds what was written.
    pub(crate) fn open(path: &Path) -> io::Result<(Self, Option<u64>)> {
        let mut file = OpenOptions::new().read(true).write(true).open(path)?;
        let mut latest = None;
        for offset in SLOT_OFFSETS {
            let mut slot = [0; SLOT_BYTES];
            file.seek(SeekFrom::Start(offset))?;
            match file.read_exact(&mut slot) {
                Ok(()) => latest = latest.max(decode(slot)),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
                Err(error) => return Err(error),
            }
        }
        Ok((Self { file }, latest))
    }

    /// Says `commits` from now on.
    pub(crate) fn write(&mut self, commits: u64) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(SLOT_OFFSETS[usize::from(commits % 2 == 1)]))?;
        self.file.write_all(&encode(commits))
    }
}

fn encode(commits: u64) -> [u8; SLOT_BYTES] {
    let mut slot = [0; SLOT_BYTES];
    let (count, sum) = slot.split_at_mut(8);
    count.copy_from_slice(&commits.to_le_bytes());
    sum.copy_from_slice(&checksum(commits).to_le_bytes());
    slot
}

fn decode(slot: [u8; SLOT_BYTES]) -> Option<u64> {
    let (count, sum) = slot.split_first_chunk::<8>()?;
    let commits = u64::from_le_bytes(*count);
    (sum == checksum(commits).to_le_bytes()).then_some(commits)
}

fn checksum(commits: u64) -> u32 {
    append(crc32c(b"acknowledged"), &commits.to_le_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_slot_leaves_the_one_before() {
        let path = std::env::temp_dir().join(format!("rpc-store-witness-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        Witness::create(&path, 1).unwrap();
        let (mut witness, said) = Witness::open(&path).unwrap();
        assert_eq!(said, Some(1));
        witness.write(2).unwrap();
        witness.write(3).unwrap();
        assert_eq!(Witness::open(&path).unwrap().1, Some(3));

        let mut bytes = std::fs::read(&path).unwrap();
        bytes[4096] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(Witness::open(&path).unwrap().1, Some(2));
        bytes[11] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(Witness::open(&path).unwrap().1, None);
        std::fs::remove_file(&path).unwrap();
    }
}
