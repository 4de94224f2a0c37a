//! Places in files, as both ends of a transfer remember them.

use std::fs::File;
use std::io::{self, Read as _};

use blake3::{Hash, Hasher};
use prost::Message as _;
use rpc_client::Resumed;

use super::name::Name;
use super::trouble::Trouble;
use crate::archive;

/// What is read from a disk at once.
const READ_BYTES: usize = 256 << 10;

/// A file as its sender announces it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announced {
    /// What it is to be called.
    pub name: Name,
    /// In bytes.
    pub size: u64,
    /// It may take the place of a file that has its name.
    pub replace: bool,
}

/// A place in a file, and proof of what lies before it: the state that both applications leave at each sync point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// Of which file.
    pub announced: Announced,
    /// In bytes from its beginning.
    pub offset: u64,
    /// BLAKE3 of everything before.
    pub digest: Hash,
}

impl Announced {
    /// What a first page says.
    ///
    /// # Errors
    ///
    /// It says nothing, or the name is none.
    pub fn read(file: Option<archive::File>, replace: bool) -> Result<Self, Trouble> {
        let archive::File { name, size } =
            file.ok_or(Trouble::Malformed("the first does not say of which"))?;
        Ok(Self { name: Name::new(&name)?, size, replace })
    }

    /// The same in a message.
    pub fn message(&self) -> archive::File {
        archive::File { name: self.name.to_string(), size: self.size }
    }
}

impl Mark {
    /// Reads the state that was left at a sync point.
    ///
    /// # Errors
    ///
    /// It is none of ours.
    pub fn decode(state: &[u8]) -> Result<Self, Trouble> {
        let mark = archive::Mark::decode(state).map_err(|_| Trouble::Lost)?;
        let announced = Announced::read(mark.file, mark.replace)?;
        let digest = Hash::from_slice(&mark.digest).map_err(|_| Trouble::Lost)?;
        if mark.offset > announced.size {
            return Err(Trouble::Lost);
        }
        Ok(Self { announced, offset: mark.offset, digest })
    }

    /// Where a sender goes on: at the mark that he left with the point, or at the receiver's where the session had placed
    /// the point by itself.
    ///
    /// # Errors
    ///
    /// As [`decode`](Self::decode).
    pub fn at(point: &Resumed) -> Result<Self, Trouble> {
        Self::decode(if point.state().is_empty() { point.peer_state() } else { point.state() })
    }

    /// The state to leave at a sync point. Less than 300 bytes.
    pub fn encode(&self) -> Vec<u8> {
        let Self { announced, offset, digest } = self;
        let (file, digest) = (Some(announced.message()), digest.as_bytes().to_vec());
        archive::Mark { file, offset: *offset, digest, replace: announced.replace }.encode_to_vec()
    }
}

/// Reads the first `bytes` of a file, which must have this digest. The file is then behind them, and the hasher has them.
/// Blocks, and needs no more memory for a long file than for a short one.
///
/// # Errors
///
/// `None` if the file is shorter or has something else there; the disk's own otherwise.
pub fn read_to(file: &mut File, bytes: u64, digest: Hash) -> io::Result<Option<Box<Hasher>>> {
    let (mut hasher, mut left) = (Box::new(Hasher::new()), bytes);
    let mut buffer = vec![0; READ_BYTES];
    while left > 0 {
        let most = left.min(READ_BYTES as u64) as usize;
        let read = file.read(&mut buffer[..most])?;
        if read == 0 {
            return Ok(None);
        }
        hasher.update(&buffer[..read]);
        left -= read as u64;
    }
    Ok((hasher.finalize() == digest).then_some(hasher))
}

/// Works on a disk in a thread that may wait for it.
///
/// What `work` owns stays in use until it has ended, also where nobody waits for it any more.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Trouble> + Send + 'static,
) -> Result<T, Trouble> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(stopped) => Err(Trouble::Disk(io::Error::other(stopped))),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_makes_the_way_through_a_state() {
        let announced = Announced { name: Name::new("big.iso").unwrap(), size: 9, replace: true };
        let mark = Mark { announced, offset: 9, digest: blake3::hash(b"123456789") };
        assert_eq!(Mark::decode(&mark.encode()).unwrap(), mark);
        let beyond = Mark { offset: 10, ..mark };
        assert!(matches!(Mark::decode(&beyond.encode()), Err(Trouble::Lost)));
        assert!(Mark::decode(b"").is_err());
        assert!(Mark::decode(b"something else").is_err());
    }
}
