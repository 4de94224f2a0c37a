//! A file on its way in: what arrives, where it stands on the disk, and whether it is whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use blake3::{Hash, Hasher};

use super::claims::Claim;
use super::lock::Lock;
use super::mark::{Announced, Mark, blocking, read_to};
use super::trouble::Trouble;
use crate::archive::Page;

/// What is collected before it is written.
const PENDING_BYTES: usize = 256 << 10;

/// Where a file goes: first beside its place, then, when it is whole, to it.
#[derive(Debug, Clone)]
pub struct Place {
    /// Where it grows.
    pub part: PathBuf,
    /// Where it belongs, in the same directory.
    pub target: PathBuf,
    /// Keeps others away from both, until the last clone is dropped.
    pub hold: Hold,
}

/// What keeps others away from a place.
#[derive(Debug, Clone)]
pub enum Hold {
    /// The name is claimed in the memory of the archive, which no other program works on.
    Claim(Arc<Claim>),
    /// The part is locked against other programs.
    Lock(Arc<Lock>),
}

/// A file on its way in.
///
/// Its methods take it and give it back, because the disk is worked on in other threads: whoever drops a future of theirs
/// loses the part, and the place is given up only when the disk is done with it.
#[derive(Debug)]
pub struct Part {
    place: Place,
    announced: Announced,
    file: File,
    /// What has arrived, and the BLAKE3 of it.
    arrived: u64,
    hasher: Box<Hasher>,
    /// What of it is not yet in the file.
    pending: Vec<u8>,
    stage: Stage,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Something is missing.
    Growing,
    /// It is whole, and the sender's digest is ours.
    Whole,
    /// It is whole and at its place.
    Placed,
}

impl Part {
    /// Begins a file. What was left of an older one is gone.
    ///
    /// # Errors
    ///
    /// [`Trouble::Exists`] if there is one at its place that may not be replaced; else the disk's.
    pub async fn begin(place: Place, announced: Announced) -> Result<Self, Trouble> {
        blocking(move || {
            check_free(&place.target, announced.replace)?;
            // Not removed and made anew: it may be what others are kept away by.
            let file = OpenOptions::new().write(true).create(true).truncate(true).open(&place.part)?;
            Ok(Self::new(place, announced, file, 0, Box::default()))
        })
        .await
    }

    /// Goes on at a mark, which the disk must have: what lies behind it is cut off, what lies before it is read again.
    ///
    /// At the mark at its end the file may be at its place already: a crash came before the sender heard of that.
    ///
    /// # Errors
    ///
    /// [`Trouble::Lost`] if what lies before is not there; else the disk's.
    pub async fn resume(place: Place, mark: Mark) -> Result<Self, Trouble> {
        blocking(move || {
            let is_whole = mark.offset == mark.announced.size;
            let (mut file, stage) = match OpenOptions::new().read(true).write(true).open(&place.part) {
                // A mark at the end was left after the digests had been compared.
                Ok(file) if is_whole => (file, Stage::Whole),
                Ok(file) => (file, Stage::Growing),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    (placed(&place.target, &mark)?.ok_or(Trouble::Lost)?, Stage::Placed)
                }
                Err(error) => return Err(error.into()),
            };
            let hasher = read_to(&mut file, mark.offset, mark.digest)?.ok_or(Trouble::Lost)?;
            if stage != Stage::Placed {
                file.set_len(mark.offset)?;
            }
            Ok(Self { stage, ..Self::new(place, mark.announced, file, mark.offset, hasher) })
        })
        .await
    }

    fn new(place: Place, announced: Announced, file: File, arrived: u64, hasher: Box<Hasher>) -> Self {
        let pending = Vec::with_capacity(PENDING_BYTES);
        Self { place, announced, file, arrived, hasher, pending, stage: Stage::Growing }
    }

    /// Takes the next page.
    ///
    /// # Errors
    ///
    /// [`Trouble::Malformed`] if it does not belong there, [`Trouble::Damaged`] if it is the last and the file is not what
    /// its sender read; else the disk's.
    pub async fn append(mut self, page: Page) -> Result<Self, Trouble> {
        let Page { data, digest, .. } = page;
        if self.stage != Stage::Growing || data.len() as u64 > self.announced.size - self.arrived {
            return Err(Trouble::Malformed("there are more than its size says"));
        }
        self.arrived += data.len() as u64;
        self.hasher.update(&data);
        self.pending.extend_from_slice(&data);
        match (self.is_whole(), digest.is_empty()) {
            (false, true) => {}
            (true, false) if digest == self.hasher.finalize().as_bytes() => self.stage = Stage::Whole,
            (true, false) => return Err(Trouble::Damaged),
            (true, true) => return Err(Trouble::Malformed("the last has no digest")),
            (false, false) => return Err(Trouble::Malformed("the last comes before its size is reached")),
        }
        if self.pending.len() < PENDING_BYTES {
            return Ok(self);
        }
        blocking(move || {
            self.write_pending()?;
            Ok(self)
        })
        .await
    }

    /// Everything that has arrived is safe on the disk when this returns; the mark says how much that is.
    ///
    /// # Errors
    ///
    /// The disk's.
    pub async fn sync(mut self) -> Result<(Self, Mark), Trouble> {
        blocking(move || {
            self.write_pending()?;
            self.file.sync_data()?;
            let (announced, digest) = (self.announced.clone(), self.hasher.finalize());
            let mark = Mark { announced, offset: self.arrived, digest };
            Ok((self, mark))
        })
        .await
    }

    /// Puts the whole file to its place, at once and for good. The digest is that of the file.
    ///
    /// # Errors
    ///
    /// [`Trouble::Malformed`] if it is not whole, [`Trouble::Exists`] if another came to its place meanwhile; else the
    /// disk's. What has arrived stays.
    pub async fn finish(mut self) -> Result<Hash, Trouble> {
        if self.stage == Stage::Growing {
            return Err(Trouble::Malformed("they end before the file does"));
        }
        blocking(move || {
            self.write_pending()?;
            self.file.sync_all()?;
            if self.stage != Stage::Placed {
                check_free(&self.place.target, self.announced.replace)?;
                fs::rename(&self.place.part, &self.place.target)?;
            }
            // The new name is safe only when the directory is.
            File::open(directory_of(&self.place.target))?.sync_all()?;
            Ok(self.hasher.finalize())
        })
        .await
    }

    /// The file as its sender announced it.
    pub fn announced(&self) -> &Announced {
        &self.announced
    }

    /// How many bytes have arrived.
    pub fn arrived(&self) -> u64 {
        self.arrived
    }

    fn is_whole(&self) -> bool {
        self.arrived == self.announced.size
    }

    fn write_pending(&mut self) -> io::Result<()> {
        self.file.write_all(&self.pending)?;
        self.pending.clear();
        Ok(())
    }
}

/// The directory in which a file lies.
pub(super) fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => directory,
        Some(_) | None => Path::new("."),
    }
}

/// The file at its place, if it may be the one of which this mark is the end.
fn placed(target: &Path, mark: &Mark) -> io::Result<Option<File>> {
    let size = mark.announced.size;
    match File::open(target) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
        Ok(file) if mark.offset == size && file.metadata()?.len() == size => Ok(Some(file)),
        Ok(_) => Ok(None),
    }
}

/// Whoever holds the claim is the only one who asks, so nothing comes between this and the rename.
fn check_free(target: &Path, replace: bool) -> Result<(), Trouble> {
    match fs::symlink_metadata(target) {
        Ok(found) if found.is_dir() => Err(Trouble::NotRegular),
        Ok(_) if !replace => Err(Trouble::Exists),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::transfer::claims::Claims;
    use crate::transfer::name::Name;

    const CONTENT: &[u8] = b"0123456789";

    async fn place(home: &TempDir) -> Place {
        let name = Name::new("x").unwrap();
        let hold = Hold::Claim(Arc::new(Claims::default().claim(&name).await.unwrap()));
        Place { part: home.path().join("x.part"), target: home.path().join("x"), hold }
    }

    fn announced() -> Announced {
        Announced { name: Name::new("x").unwrap(), size: 10, replace: false }
    }

    async fn part(home: &TempDir) -> Part {
        Part::begin(place(home).await, announced()).await.unwrap()
    }

    fn page(data: &[u8]) -> Page {
        Page { data: data.to_vec(), ..Page::default() }
    }

    fn last(data: &[u8], digest: Hash) -> Page {
        Page { digest: digest.as_bytes().to_vec(), ..page(data) }
    }

    #[tokio::test]
    async fn a_file_is_at_its_place_when_it_is_whole_and_not_before() {
        let home = TempDir::new().unwrap();
        let part = part(&home).await.append(page(&CONTENT[..4])).await.unwrap();
        let (part, mark) = part.sync().await.unwrap();
        assert_eq!((mark.offset, mark.digest), (4, blake3::hash(&CONTENT[..4])));
        let part = part.append(last(&CONTENT[4..], blake3::hash(CONTENT))).await.unwrap();
        assert!(!home.path().join("x").exists());
        assert_eq!(part.finish().await.unwrap(), blake3::hash(CONTENT));
        assert_eq!(fs::read(home.path().join("x")).unwrap(), CONTENT);
        assert!(!home.path().join("x.part").exists());
    }

    #[tokio::test]
    async fn what_came_after_the_mark_is_cut_off() {
        let home = TempDir::new().unwrap();
        let part = part(&home).await.append(page(&CONTENT[..4])).await.unwrap();
        let (part, mark) = part.sync().await.unwrap();
        part.append(page(b"????")).await.unwrap().sync().await.unwrap();
        let part = Part::resume(place(&home).await, mark).await.unwrap();
        let part = part.append(last(&CONTENT[4..], blake3::hash(CONTENT))).await.unwrap();
        part.finish().await.unwrap();
        assert_eq!(fs::read(home.path().join("x")).unwrap(), CONTENT);
    }

    #[tokio::test]
    async fn one_that_was_whole_needs_only_to_be_put_to_its_place() {
        let home = TempDir::new().unwrap();
        let part = part(&home).await.append(last(CONTENT, blake3::hash(CONTENT))).await.unwrap();
        let (_, mark) = part.sync().await.unwrap();
        Part::resume(place(&home).await, mark).await.unwrap().finish().await.unwrap();
        assert_eq!(fs::read(home.path().join("x")).unwrap(), CONTENT);
    }

    #[tokio::test]
    async fn one_that_is_at_its_place_stays_there() {
        let home = TempDir::new().unwrap();
        let part = part(&home).await.append(page(&CONTENT[..4])).await.unwrap();
        let (part, middle) = part.sync().await.unwrap();
        let part = part.append(last(&CONTENT[4..], blake3::hash(CONTENT))).await.unwrap();
        let (part, end) = part.sync().await.unwrap();
        part.finish().await.unwrap();
        let again = Part::resume(place(&home).await, end.clone()).await.unwrap();
        assert_eq!(again.finish().await.unwrap(), blake3::hash(CONTENT));
        assert_eq!(fs::read(home.path().join("x")).unwrap(), CONTENT);

        assert!(matches!(Part::resume(place(&home).await, middle).await, Err(Trouble::Lost)));
        fs::write(home.path().join("x"), "something.").unwrap();
        assert!(matches!(Part::resume(place(&home).await, end).await, Err(Trouble::Lost)));
    }

    #[tokio::test]
    async fn what_the_disk_does_not_have_is_not_gone_on_with() {
        let home = TempDir::new().unwrap();
        let (_, mark) = part(&home).await.append(page(&CONTENT[..4])).await.unwrap().sync().await.unwrap();
        for damaged in [&b"012"[..], b"01234", b"0124"] {
            fs::write(home.path().join("x.part"), damaged).unwrap();
            let resumed = Part::resume(place(&home).await, mark.clone()).await;
            assert_eq!(resumed.is_ok(), damaged == b"01234", "{damaged:?}");
        }
        fs::remove_file(home.path().join("x.part")).unwrap();
        assert!(matches!(Part::resume(place(&home).await, mark).await, Err(Trouble::Lost)));
    }

    #[tokio::test]
    async fn pages_that_are_not_those_of_the_file_are_refused() {
        let home = TempDir::new().unwrap();
        let (whole, other) = (blake3::hash(CONTENT), blake3::hash(b"other"));
        let damaged = part(&home).await.append(last(CONTENT, other)).await;
        assert!(matches!(damaged, Err(Trouble::Damaged)), "{damaged:?}");
        for pages in [
            vec![page(b"0123456789!")],
            vec![page(CONTENT)],
            vec![last(&CONTENT[..4], whole)],
            vec![last(CONTENT, whole), page(b"")],
            vec![Page { digest: vec![1, 2, 3], ..page(&CONTENT[..4]) }],
        ] {
            let mut taken = Ok(part(&home).await);
            for page in pages {
                taken = taken.unwrap().append(page).await;
            }
            assert!(matches!(taken, Err(Trouble::Malformed(_))), "{taken:?}");
        }
        let short = part(&home).await.append(page(&CONTENT[..4])).await.unwrap().finish().await;
        assert!(matches!(short, Err(Trouble::Malformed(_))), "{short:?}");
        assert!(!home.path().join("x").exists());
    }

    #[tokio::test]
    async fn a_file_that_came_to_its_place_meanwhile_stays() {
        let home = TempDir::new().unwrap();
        let part = part(&home).await.append(last(CONTENT, blake3::hash(CONTENT))).await.unwrap();
        fs::write(home.path().join("x"), "mine").unwrap();
        assert!(matches!(part.finish().await, Err(Trouble::Exists)));
        assert_eq!(fs::read(home.path().join("x")).unwrap(), b"mine");
        assert!(matches!(Part::begin(place(&home).await, announced()).await, Err(Trouble::Exists)));
    }
}
