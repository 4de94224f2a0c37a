//! A folder that is shared by a name.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

use tonic::Status;

/// A file wherever it lies and however it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileId {
    device: u64,
    inode: u64,
}

/// A folder and what lies below it.
#[derive(Debug, Clone)]
pub struct Share {
    root: PathBuf,
}

impl Share {
    /// The folder with this path.
    ///
    /// # Errors
    ///
    /// It is not there.
    pub fn new(folder: &Path) -> io::Result<Self> {
        Ok(Self { root: folder.canonicalize()? })
    }

    /// Opens a file below the folder, for writing too if `write`, in which case it is made where there is none. Blocks.
    ///
    /// # Errors
    ///
    /// PERMISSION_DENIED for a path that leads out of the folder, by its components or by symbolic links; otherwise what the
    /// file system says.
    pub fn open(&self, path: &str, write: bool) -> Result<(File, FileId), Status> {
        let path = self.find(path)?;
        let file = OpenOptions::new().read(true).write(write).create(write).open(path);
        let file = file.map_err(|error| refused(&error))?;
        let found = file.metadata().map_err(|error| refused(&error))?;
        if !found.is_file() {
            return Err(Status::invalid_argument("this is not a file"));
        }
        Ok((file, FileId { device: found.dev(), inode: found.ino() }))
    }

    /// Where the file is, all links followed.
    ///
    /// Between this and the opening only somebody with an account on this machine can move a link: no call makes one.
    fn find(&self, path: &str) -> Result<PathBuf, Status> {
        let outside = || Status::permission_denied("this path leads out of the share");
        let relative = Path::new(path);
        if path.is_empty() || !relative.components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(outside());
        }
        let wanted = self.root.join(relative);
        let found = match wanted.canonicalize() {
            Ok(found) => found,
            // The file may be made, unless something that leads nowhere has its name.
            Err(error) if error.kind() == io::ErrorKind::NotFound && wanted.symlink_metadata().is_err() => {
                let (Some(folder), Some(name)) = (wanted.parent(), wanted.file_name()) else {
                    return Err(outside());
                };
                folder.canonicalize().map_err(|error| refused(&error))?.join(name)
            }
            Err(error) => return Err(refused(&error)),
        };
        if found.starts_with(&self.root) { Ok(found) } else { Err(outside()) }
    }
}

/// What the file system says, without the path that only this machine knows.
pub(super) fn refused(error: &io::Error) -> Status {
    match error.kind() {
        io::ErrorKind::NotFound => Status::not_found("there is no such file"),
        io::ErrorKind::PermissionDenied => Status::permission_denied("the server may not"),
        kind => Status::failed_precondition(kind.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use tonic::Code;

    use super::*;

    #[test]
    fn no_path_leads_out_of_the_share() {
        let home = tempfile::tempdir().unwrap();
        let (folder, secret) = (home.path().join("share"), home.path().join("secret"));
        std::fs::create_dir_all(folder.join("below")).unwrap();
        std::fs::write(&secret, "secret").unwrap();
        symlink(&secret, folder.join("file-out")).unwrap();
        symlink(home.path(), folder.join("folder-out")).unwrap();
        symlink(home.path().join("new"), folder.join("nowhere")).unwrap();
        symlink(folder.join("below"), folder.join("inside")).unwrap();
        let share = Share::new(&folder).unwrap();
        let absolute = secret.to_str().unwrap();
        for path in [
            "",
            ".",
            "..",
            "../secret",
            "below/../../secret",
            "./x",
            absolute,
            "file-out",
            "folder-out/secret",
        ] {
            for write in [false, true] {
                let refused = share.open(path, write).unwrap_err();
                assert_eq!(refused.code(), Code::PermissionDenied, "{path:?}");
            }
        }
        assert_eq!(share.open("folder-out/new", true).unwrap_err().code(), Code::PermissionDenied);
        assert!(share.open("nowhere", true).is_err());
        assert!(!home.path().join("new").exists());
        assert_eq!(std::fs::read(&secret).unwrap(), b"secret");
        assert_eq!(share.open("below", false).unwrap_err().code(), Code::InvalidArgument);
        assert_eq!(share.open("nobody", false).unwrap_err().code(), Code::NotFound);
        let (_, made) = share.open("below/x", true).unwrap();
        assert_eq!(share.open("inside/x", false).unwrap().1, made, "the same file by another name");
    }
}
