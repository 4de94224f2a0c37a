//! The receiving end of a transfer: the archive's in an upload, the caller's in a download.

use rpc_server::{Checkpointed, Item};
use tonic::Status;

use super::mark::Mark;
use super::part::Part;
use super::trouble::Trouble;
use crate::archive::Page;

/// Why a file does not come in.
#[derive(Debug)]
pub enum Broken {
    /// The stream is over before its end.
    Stream(Status),
    /// This side cannot take what comes.
    Here(Trouble),
}

/// Writes pages as they come, and secures each sync point when the disk has everything before it.
///
/// `secured` is told of each.
///
/// # Errors
///
/// The stream's and the disk's. The disk keeps what was secured.
pub async fn receive(
    pages: &mut Checkpointed<Page>,
    mut part: Part,
    mut secured: impl FnMut(&Mark),
) -> Result<Part, Broken> {
    while let Some(item) = pages.next().await? {
        match item {
            Item::Message(page) => part = part.append(page).await?,
            Item::SyncPoint(point) => {
                let (synced, mark) = part.sync().await?;
                point.secure(mark.encode()).await?;
                secured(&mark);
                part = synced;
            }
        }
    }
    Ok(part)
}

/// The first page of a file that begins at its beginning.
///
/// # Errors
///
/// The stream's, and [`Trouble::Malformed`] if it has no page.
pub async fn first_page(pages: &mut Checkpointed<Page>) -> Result<Page, Broken> {
    match pages.next().await? {
        Some(Item::Message(page)) => Ok(page),
        Some(Item::SyncPoint(_)) | None => Err(Trouble::Malformed("there is none").into()),
    }
}

impl From<Status> for Broken {
    fn from(status: Status) -> Self {
        Self::Stream(status)
    }
}

impl From<Trouble> for Broken {
    fn from(trouble: Trouble) -> Self {
        Self::Here(trouble)
    }
}

impl From<Broken> for Status {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Stream(status) => status,
            Broken::Here(trouble) => trouble.into(),
        }
    }
}
