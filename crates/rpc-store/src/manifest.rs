//! Verifies what the engine reads unverified: which tables there are, and that each is whole.
//!
//! Each of its keyspaces has a list of its tables with their checksums, and a file `current` that names the list in use
//! and has the checksum of that. The engine writes these checksums and compares none of them: a flipped bit makes it open
//! other tables, or ask for more memory than there is, which ends the process. And a keyspace without `current` it
//! removes. So all are compared before it opens. Tables that are not in the list are what a crash left of one being made.
//!
//! The formats are lsm-tree's, version 3; `docs/storage.md` draws what is read of them.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use crate::encode::{DecodeError, FieldReader};
use crate::error::OpenError;

/// The keyspaces of a store: one of the engine's own, one for the records.
const KEYSPACES: [&str; 2] = ["keyspaces/0", "keyspaces/1"];
/// Number of the list, XXH3-128 of its bytes, kind of the checksum.
const CURRENT_BYTES: usize = 25;
const XXH3: u8 = 0;
const TRAILER_BYTES: usize = 38;
const READ_BYTES: usize = 1 << 20;

/// A table of the list.
#[derive(Debug, PartialEq, Eq)]
struct Table {
    number: u64,
    checksum: u128,
}

/// Compares lists and tables with their checksums.
///
/// # Errors
///
/// A file is missing, cannot be read, or is not what was written.
pub(crate) fn verify(records: &Path) -> Result<(), OpenError> {
    for keyspace in KEYSPACES {
        let keyspace = records.join(keyspace);
        for table in verify_list(&keyspace)? {
            let path = keyspace.join(format!("tables/{}", table.number));
            let checksum = checksum_of(&path).map_err(|error| read_error(&path, error))?;
            if checksum != table.checksum {
                return Err(damaged(&path));
            }
        }
    }
    Ok(())
}

/// The tables in use.
fn verify_list(keyspace: &Path) -> Result<Vec<Table>, OpenError> {
    let current = keyspace.join("current");
    let bytes = fs::read(&current).map_err(|error| read_error(&current, error))?;
    let Ok([n0, n1, n2, n3, n4, n5, n6, n7, checksum @ .., XXH3]) = <[u8; CURRENT_BYTES]>::try_from(bytes)
    else {
        return Err(damaged(&current));
    };
    let path = keyspace.join(format!("v{}", u64::from_le_bytes([n0, n1, n2, n3, n4, n5, n6, n7])));
    let list = fs::read(&path).map_err(|error| read_error(&path, error))?;
    if xxh3_128(&list) != u128::from_le_bytes(checksum) {
        return Err(damaged(&path));
    }
    tables_of(&list).map_err(|error| OpenError::Damaged(format!("{}: {error}", path.display())))
}

/// An archive: sections, a table of contents, a trailer that says where that is. Its section `tables` has levels, these
/// have runs, and these have tables.
fn tables_of(list: &[u8]) -> Result<Vec<Table>, DecodeError> {
    let (_, trailer) = list.split_last_chunk::<TRAILER_BYTES>().ok_or(DecodeError::Length)?;
    let mut trailer = FieldReader::new(trailer);
    let [b'S', b'F', b'A', b'!', 1, 0] = trailer.raw("trailer")? else {
        return Err(DecodeError::Field("trailer"));
    };
    trailer.raw::<16>("checksum of the contents")?;
    let contents = tail_at(list, trailer.u64("place of the contents")?)?;
    let mut tables = FieldReader::new(section(contents, list, "tables")?);
    let mut found = Vec::new();
    for _level in 0..tables.u8("levels")? {
        for _run in 0..tables.u8("runs")? {
            for _table in 0..tables.u32("tables")? {
                let number = tables.u64("table")?;
                if tables.u8("kind of checksum")? != XXH3 {
                    return Err(DecodeError::Field("kind of checksum"));
                }
                let checksum = u128::from_le_bytes(tables.raw("checksum")?);
                tables.u64("sequence")?;
                found.push(Table { number, checksum });
            }
        }
    }
    tables.finish()?;
    Ok(found)
}

/// The section with this name.
fn section<'a>(contents: &[u8], list: &'a [u8], name: &'static str) -> Result<&'a [u8], DecodeError> {
    let mut contents = FieldReader::new(contents);
    contents.raw::<4>("contents")?;
    for _ in 0..contents.u32("contents")? {
        let (place, length) = (contents.u64("place")?, contents.u64("length")?);
        if contents.text("section")? == name {
            let length = usize::try_from(length).map_err(|_| DecodeError::Length)?;
            return tail_at(list, place)?.get(..length).ok_or(DecodeError::Length);
        }
    }
    Err(DecodeError::Field(name))
}

fn tail_at(list: &[u8], place: u64) -> Result<&[u8], DecodeError> {
    usize::try_from(place).ok().and_then(|place| list.get(place..)).ok_or(DecodeError::Length)
}

fn checksum_of(path: &Path) -> io::Result<u128> {
    let (mut file, mut hash, mut bytes) = (File::open(path)?, Xxh3::new(), vec![0; READ_BYTES]);
    loop {
        match file.read(&mut bytes)? {
            0 => return Ok(hash.digest128()),
            read => hash.update(&bytes[..read]),
        }
    }
}

fn read_error(path: &Path, error: io::Error) -> OpenError {
    match error.kind() {
        io::ErrorKind::NotFound => OpenError::Damaged(format!("{} is missing", path.display())),
        _ => OpenError::io("read", path)(error),
    }
}

fn damaged(path: &Path) -> OpenError {
    OpenError::Damaged(format!("{} is not what was written", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A list whose checksum fits is still one that another program may have written.
    #[test]
    fn what_is_no_list_is_refused() {
        let mut archive = b"\x01\x01\x01\0\0\0".to_vec();
        archive.extend(7_u64.to_le_bytes());
        archive.push(XXH3);
        archive.extend(9_u128.to_le_bytes());
        archive.extend(0_u64.to_le_bytes());
        let section = archive.len() as u64;
        archive.extend(b"TOC!\x01\0\0\0");
        archive.extend([0_u64, section].map(u64::to_le_bytes).concat());
        archive.extend(b"\x06\0tables");
        archive.extend(b"SFA!\x01\0");
        archive.extend([0; 16]);
        archive.extend([section, 0].map(u64::to_le_bytes).concat());
        assert_eq!(tables_of(&archive), Ok(vec![Table { number: 7, checksum: 9 }]));
        for length in 0..archive.len() {
            assert!(tables_of(&archive[..length]).is_err(), "{length} bytes of {}", archive.len());
        }
        for bit in 0..archive.len() * 8 {
            archive[bit / 8] ^= 1 << (bit % 8);
            let _ = tables_of(&archive);
            archive[bit / 8] ^= 1 << (bit % 8);
        }
    }
}
