//! Reads the engine's journals before the engine does, and only reads.
//!
//! The engine replays journals until something in one does not fit, cuts the file there, and goes on. It cannot know
//! whether that was a commit cut off by a crash or damage within what was acknowledged; and the head of a batch is under
//! no checksum of its. Every commit of ours carries its number, so we can tell: the numbers of the batches in the
//! journals have no gap, the engine's own sequence rises with them, and the last one is not below the witness. Where
//! that does not hold, the store is refused while the bytes are still there.
//!
//! The journal's format is fjall's, version 3; `docs/storage.md` draws it.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::Xxh3;

use crate::encode::{COMMITS_KEY, DecodeError, FORMAT_VERSION, VALUE_BYTES_MAX, decode_counter};
use crate::error::OpenError;

const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
const TRAILER: [u8; 4] = *b"FJL\x03";
/// Between an item's tag and its key: type, compression, keyspace, key length, value length twice.
const ITEM_HEAD_BYTES: usize = 20;
/// The engine keeps the highest bit for itself, and nobody reaches the one below.
const SEQUENCE_MAX: u64 = 1 << 62;

/// The preallocated end of a journal is compared with these, some 60 MiB of them.
const ZEROS: [u8; 4096] = [0; 4096];

/// One whole batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Batch {
    sequence: u64,
    commit: u64,
}

/// A whole batch, by its checksum.
#[derive(Debug, Clone, Copy)]
enum Found {
    Batch(Batch),
    /// Of a program with this format. It must not be cut as if a crash had left it there.
    OtherVersion(u8),
}

/// What the journals hold.
#[derive(Debug, Default)]
pub(crate) struct Journals {
    /// The number of the last commit; `None`: there is none, everything is in tables.
    pub(crate) last_commit: Option<u64>,
    torn: Option<(PathBuf, u64)>,
}

impl Journals {
    /// Removes the commit that a crash cut off, if there is one. For the caller who knows that nobody was told of it.
    ///
    /// The engine would do so too, but not with every kind of tear: where the pages of a batch reached the medium out of
    /// order, it finds an end with a checksum that does not fit, and never opens again.
    pub(crate) fn cut(&self) -> Result<(), OpenError> {
        let Some((path, length)) = &self.torn else { return Ok(()) };
        tracing::warn!(journal = %path.display(), at = length, "a commit that a crash cut off is removed");
        let file = File::options().write(true).open(path).map_err(OpenError::io("open", path))?;
        file.set_len(*length).and_then(|()| file.sync_all()).map_err(OpenError::io("cut", path))
    }
}

/// Reads and judges all journals.
///
/// # Errors
///
/// A journal cannot be read, or is damaged in another way than by a crash.
pub(crate) fn read_all(records: &Path) -> Result<Journals, OpenError> {
    let journals = list(records)?;
    let mut last: Option<Batch> = None;
    let mut torn = None;
    for (index, path) in journals.iter().enumerate() {
        let file = File::open(path).map_err(OpenError::io("read", path))?;
        let mut reader = BufReader::with_capacity(1 << 20, file);
        let mut position = 0;
        while let Some(found) = read_batch(&mut reader).map_err(OpenError::io("read", path))? {
            let batch = match found {
                Found::Batch(batch) => batch,
                Found::OtherVersion(found) => {
                    return Err(OpenError::Version { found, supported: FORMAT_VERSION });
                }
            };
            follows(last, batch).map_err(|why| damaged(path, position, &why))?;
            last = Some(batch);
            position = reader.stream_position().map_err(OpenError::io("read", path))?;
        }
        reader.seek(SeekFrom::Start(position)).map_err(OpenError::io("read", path))?;
        let tail = Tail { path, position, sealed: index + 1 < journals.len(), last };
        if tail.is_torn(reader)? {
            torn = Some((path.clone(), position));
        }
    }
    Ok(Journals { last_commit: last.map(|batch| batch.commit), torn })
}

fn damaged(path: &Path, position: u64, why: &str) -> OpenError {
    OpenError::Damaged(format!("{} at byte {position}: {why}", path.display()))
}

fn list(records: &Path) -> Result<Vec<PathBuf>, OpenError> {
    let mut journals = Vec::new();
    for entry in fs::read_dir(records).map_err(OpenError::io("list", records))? {
        let path = entry.map_err(OpenError::io("list", records))?.path();
        if path.extension().is_none_or(|extension| extension != "jnl") {
            continue;
        }
        let number = path.file_stem().and_then(|stem| stem.to_str()?.parse::<u64>().ok());
        let number = number.ok_or_else(|| damaged(&path, 0, "the name of a journal is a number"))?;
        journals.push((number, path));
    }
    journals.sort();
    Ok(journals.into_iter().map(|(_, path)| path).collect())
}

fn follows(last: Option<Batch>, batch: Batch) -> Result<(), String> {
    if batch.sequence >= SEQUENCE_MAX {
        return Err(format!("sequence {} was never reached", batch.sequence));
    }
    match last {
        Some(last) if batch.commit != last.commit + 1 => {
            Err(format!("commit {} follows commit {}", batch.commit, last.commit))
        }
        Some(last) if batch.sequence <= last.sequence => {
            Err(format!("sequence {} follows sequence {}", batch.sequence, last.sequence))
        }
        Some(_) | None => Ok(()),
    }
}

/// What follows the last whole batch of a journal.
struct Tail<'a> {
    path: &'a Path,
    position: u64,
    sealed: bool,
    last: Option<Batch>,
}

impl Tail<'_> {
    /// A journal that has a successor was synced whole: only the zeros of its preallocation may follow. In the last
    /// one a commit may have been cut off by a crash, but only one, as the next begins after the sync of the one before.
    fn is_torn(&self, mut reader: BufReader<File>) -> Result<bool, OpenError> {
        if only_zeros(&mut reader).map_err(OpenError::io("read", self.path))? {
            return Ok(false);
        }
        if self.sealed {
            return Err(damaged(self.path, self.position, "a batch is damaged, and a journal follows"));
        }
        reader.seek(SeekFrom::Start(self.position)).map_err(OpenError::io("read", self.path))?;
        let mut rest = Vec::new();
        reader.read_to_end(&mut rest).map_err(OpenError::io("read", self.path))?;
        // The batch at the tear itself is known not to be whole, or not to be ours.
        for (offset, _) in rest.iter().enumerate().skip(1).filter(|(_, byte)| **byte == START) {
            let batch = read_batch(&mut &rest[offset..]).map_err(OpenError::io("read", self.path))?;
            let Some(Found::Batch(batch)) = batch else { continue };
            if self.last.is_none_or(|last| batch.commit > last.commit + 1) {
                return Err(damaged(self.path, self.position, "a batch is damaged, and whole ones follow"));
            }
        }
        Ok(true)
    }
}

fn only_zeros(reader: &mut impl BufRead) -> io::Result<bool> {
    loop {
        let bytes = reader.fill_buf()?;
        if bytes.is_empty() {
            return Ok(true);
        }
        if bytes.chunks(ZEROS.len()).any(|chunk| *chunk != ZEROS[..chunk.len()]) {
            return Ok(false);
        }
        let read = bytes.len();
        reader.consume(read);
    }
}

/// The next batch; `None`: what is there is not a whole batch of ours.
fn read_batch(reader: &mut impl Read) -> io::Result<Option<Found>> {
    match try_read_batch(reader) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        other => other,
    }
}

fn try_read_batch(reader: &mut impl Read) -> io::Result<Option<Found>> {
    if read::<1>(reader)? != [START] {
        return Ok(None);
    }
    let items = u32::from_le_bytes(read(reader)?);
    let sequence = u64::from_le_bytes(read(reader)?);
    let mut hash = Xxh3::new();
    let mut commit = None;
    for _ in 0..items {
        let Some((key, value)) = read_item(reader, &mut hash)? else { return Ok(None) };
        if key == COMMITS_KEY {
            commit = Some(decode_counter(COMMITS_KEY, &value));
        }
    }
    if read::<1>(reader)? != [END] || u64::from_le_bytes(read(reader)?) != hash.digest() {
        return Ok(None);
    }
    if read(reader)? != TRAILER {
        return Ok(None);
    }
    Ok(match commit {
        Some(Ok(commit)) => Some(Found::Batch(Batch { sequence, commit })),
        Some(Err(DecodeError::Version(version))) => Some(Found::OtherVersion(version)),
        Some(Err(_)) | None => None,
    })
}

/// Key and value of an item, which is added to the hash of its batch.
fn read_item(reader: &mut impl Read, hash: &mut Xxh3) -> io::Result<Option<(Vec<u8>, Vec<u8>)>> {
    if read::<1>(reader)? != [ITEM] {
        return Ok(None);
    }
    let head: [u8; ITEM_HEAD_BYTES] = read(reader)?;
    let [kind, compression, _, _, _, _, _, _, _, _, k0, k1, l0, l1, l2, l3, v0, v1, v2, v3] = head;
    let key_bytes = usize::from(u16::from_le_bytes([k0, k1]));
    let value_bytes = u32::from_le_bytes([v0, v1, v2, v3]);
    let plain = compression == 0 && [l0, l1, l2, l3] == [v0, v1, v2, v3];
    // A value and a tombstone are all we write, and nothing longer than this.
    let Some(value_bytes) = usize::try_from(value_bytes).ok().filter(|bytes| *bytes <= VALUE_BYTES_MAX)
    else {
        return Ok(None);
    };
    if kind > 1 || !plain {
        return Ok(None);
    }
    let (key, value) = (read_vec(reader, key_bytes)?, read_vec(reader, value_bytes)?);
    hash.update(&[ITEM]);
    hash.update(&head);
    hash.update(&key);
    hash.update(&value);
    Ok(Some((key, value)))
}

fn read<const N: usize>(reader: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    reader.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn read_vec(reader: &mut impl Read, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    reader.read_exact(&mut bytes)?;
    Ok(bytes)
}
