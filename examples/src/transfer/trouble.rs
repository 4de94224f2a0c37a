//! What can go wrong with a file, in words that fit both ends of a connection.

use std::io;

use tonic::{Code, Status};

/// Why a file does not get to its place. The text is the end of a sentence that begins with the file's name; it names
/// no path, because the archive says it to its callers.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Trouble {
    /// There is no such file.
    #[error("no such file")]
    Missing,
    /// A directory, a pipe or a device.
    #[error("not a regular file")]
    NotRegular,
    /// A file of that name is there, and nobody said that it may be replaced.
    #[error("a file of that name is there already")]
    Exists,
    /// This program may not read or write it.
    #[error("permission denied")]
    Denied,
    /// No space, no quota, or the file system takes no larger file.
    #[error("no space left on the disk")]
    Full,
    /// The disk failed in another way.
    #[error("the disk failed")]
    Disk(#[source] io::Error),
    /// What was sent before is not what the file says now.
    #[error("the file has changed since its first part was sent")]
    Changed,
    /// The part that was received before is not there any more, or has changed.
    #[error("the part that was received before is gone or damaged")]
    Lost,
    /// What arrived is not what was sent.
    #[error("what arrived is not what was sent: the digests differ")]
    Damaged,
    /// The other side breaks the rules of the archive.
    #[error("the pages are not those of a file: {0}")]
    Malformed(&'static str),
    /// A file name that the archive does not take.
    #[error("not a name for the archive: {0}")]
    Name(&'static str),
    /// Somebody else receives one there.
    #[error("a file of that name is being received already")]
    Busy,
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Missing,
            io::ErrorKind::PermissionDenied => Self::Denied,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                Self::Full
            }
            io::ErrorKind::IsADirectory | io::ErrorKind::NotADirectory => Self::NotRegular,
            _ => Self::Disk(error),
        }
    }
}

impl Trouble {
    /// What the archive answers with.
    pub const fn code(&self) -> Code {
        match self {
            Self::Missing => Code::NotFound,
            Self::Exists => Code::AlreadyExists,
            Self::Full => Code::ResourceExhausted,
            Self::Changed | Self::Lost => Code::FailedPrecondition,
            Self::Damaged => Code::DataLoss,
            Self::NotRegular | Self::Malformed(_) | Self::Name(_) => Code::InvalidArgument,
            Self::Busy => Code::Aborted,
            // The caller can do nothing about the rights and disks of the archive.
            Self::Denied | Self::Disk(_) => Code::Internal,
        }
    }
}

/// What callers do not learn, because they can do nothing about it, is logged for those who can: here, where every
/// answer of the archive passes.
impl From<Trouble> for Status {
    fn from(trouble: Trouble) -> Self {
        match &trouble {
            Trouble::Disk(cause) => tracing::error!(error = %cause, "the disk of the archive failed"),
            Trouble::Denied => tracing::error!("the archive may not read or write one of its files"),
            Trouble::Full => tracing::warn!("the disk of the archive is full"),
            _ => {}
        }
        Self::new(trouble.code(), trouble.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_said_to_be_full_however_the_system_says_it() {
        for (number, what) in [(28, "ENOSPC"), (122, "EDQUOT"), (27, "EFBIG")] {
            let trouble = Trouble::from(io::Error::from_raw_os_error(number));
            assert!(matches!(trouble, Trouble::Full), "{what}: {trouble:?}");
            assert_eq!(Status::from(trouble).code(), Code::ResourceExhausted);
        }
    }

    #[test]
    fn callers_do_not_learn_what_the_disk_said() {
        let status = Status::from(Trouble::from(io::Error::other("/srv/secret/path")));
        assert_eq!((status.code(), status.message()), (Code::Internal, "the disk failed"));
    }
}
