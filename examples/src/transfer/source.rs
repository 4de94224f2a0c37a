//! A file on its way out, in pages.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;
use std::time::SystemTime;

use blake3::Hasher;
use futures_util::{Stream, StreamExt as _, TryStreamExt as _, stream};
use rpc_client::Outgoing;

use super::mark::{Announced, Mark, blocking, read_to};
use super::name::Name;
use super::trouble::Trouble;
use super::{PAGE_BYTES, POINT_PAGES};
use crate::archive::Page;

/// A leg is what lies between two sync points.
const LEG_BYTES: u64 = POINT_PAGES * PAGE_BYTES as u64;

/// A file on its way out.
#[derive(Debug)]
pub struct Source {
    file: File,
    announced: Announced,
    modified: Option<SystemTime>,
    /// What was read, and the BLAKE3 of it.
    offset: u64,
    hasher: Box<Hasher>,
    /// The last page was read.
    ended: bool,
}

impl Source {
    /// Opens a file that travels under this name.
    ///
    /// # Errors
    ///
    /// [`Trouble::Missing`], [`Trouble::NotRegular`] for directories, pipes and devices, and the disk's.
    pub async fn open(path: &Path, name: Name, replace: bool) -> Result<Self, Trouble> {
        let path = path.to_owned();
        blocking(move || {
            // Before it is opened: that would wait for the other end of a pipe.
            if !fs::metadata(&path)?.is_file() {
                return Err(Trouble::NotRegular);
            }
            let file = File::open(&path)?;
            let found = file.metadata()?;
            let announced = Announced { name, size: found.len(), replace };
            let (modified, hasher) = (found.modified().ok(), Box::default());
            Ok(Self { file, announced, modified, offset: 0, hasher, ended: false })
        })
        .await
    }

    /// Goes on at a mark, after reading again what lies before it.
    ///
    /// # Errors
    ///
    /// [`Trouble::Changed`] if that is not what was sent; else the disk's.
    pub async fn resume(mut self, mark: Mark) -> Result<Self, Trouble> {
        blocking(move || {
            if mark.announced.size != self.announced.size {
                return Err(Trouble::Changed);
            }
            self.hasher = read_to(&mut self.file, mark.offset, mark.digest)?.ok_or(Trouble::Changed)?;
            self.offset = mark.offset;
            self.ended = self.offset == self.announced.size;
            Ok(self)
        })
        .await
    }

    /// The pages from here on, with a sync point after every 40 of the file and after the last. Reads one leg ahead: 1.25
    /// MiB, however long the file is. The last page is given only if the file was not changed meanwhile.
    pub fn pages(self) -> impl Stream<Item = Result<Outgoing<Page>, Trouble>> + Send + 'static {
        stream::try_unfold(self, |source| async {
            if source.ended {
                return Ok(None);
            }
            blocking(|| source.read_leg()).await.map(Some)
        })
        .map_ok(|leg: Vec<_>| stream::iter(leg).map(Ok))
        .try_flatten()
    }

    /// The file as it is announced.
    pub fn announced(&self) -> &Announced {
        &self.announced
    }

    /// How far it was read.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    fn read_leg(mut self) -> Result<(Vec<Outgoing<Page>>, Self), Trouble> {
        let end = (self.offset / LEG_BYTES + 1) * LEG_BYTES;
        let mut leg = Vec::with_capacity(POINT_PAGES as usize + 1);
        while !self.ended && self.offset < end {
            leg.push(Outgoing::Message(self.read_page()?));
        }
        leg.push(Outgoing::SyncPoint(self.mark().encode().into()));
        Ok((leg, self))
    }

    fn read_page(&mut self) -> Result<Page, Trouble> {
        let mut page = Page::default();
        if self.offset == 0 {
            (page.file, page.replace) = (Some(self.announced.message()), self.announced.replace);
        }
        let left = self.announced.size - self.offset;
        page.data = vec![0; left.min(PAGE_BYTES as u64) as usize];
        self.file.read_exact(&mut page.data).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => Trouble::Changed,
            _ => error.into(),
        })?;
        self.hasher.update(&page.data);
        self.offset += page.data.len() as u64;
        self.ended = self.offset == self.announced.size;
        if self.ended {
            self.check_unchanged()?;
            page.digest = self.mark().digest.as_bytes().to_vec();
        }
        Ok(page)
    }

    /// A file that is written to while it is read may be sent half old and half new; its digest would fit that.
    fn check_unchanged(&self) -> Result<(), Trouble> {
        let now = self.file.metadata()?;
        let same = now.len() == self.announced.size && now.modified().ok() == self.modified;
        if same { Ok(()) } else { Err(Trouble::Changed) }
    }

    fn mark(&self) -> Mark {
        Mark { announced: self.announced.clone(), offset: self.offset, digest: self.hasher.finalize() }
    }
}
