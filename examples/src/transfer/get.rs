//! Fetching a file.

use std::cell::Cell;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use blake3::Hash;
use rpc_client::{ActivityResume, Checkpoints, CheckpointsExt as _, Session};

use super::PAGE_BYTES;
use super::bar::{Audience, Bar, counted, human};
use super::client::shown;
use super::failure::Failure;
use super::lock::Lock;
use super::mark::{Announced, Mark, blocking};
use super::name::{Name, PART};
use super::part::{Hold, Part, Place, directory_of};
use super::receive::{Broken, first_page, receive};
use super::trouble::Trouble;
use crate::archive::DownloadRequest;
use crate::archive::archive_client::ArchiveClient;

/// Hexadecimal digits that tell one transfer from another.
const ID_DIGITS: usize = 16;

/// Which file, and where to.
pub struct Getting {
    /// What the archive calls it.
    pub name: String,
    /// A file, or a directory for a file of that name. Default: the current directory.
    pub output: Option<PathBuf>,
    /// It may take the place of a file that is there.
    pub replace: bool,
    /// What was received before does not count.
    pub restart: bool,
    /// Who is told of it meanwhile.
    pub audience: Audience,
}

/// A file that came.
#[derive(Debug)]
pub struct Got {
    /// Where it is.
    pub path: PathBuf,
    /// In bytes.
    pub size: u64,
    /// BLAKE3 of it; the archive computed the same.
    pub digest: Hash,
    /// Where this program began: what lies before was received by one that ended earlier.
    pub began_at: u64,
    /// How many sync points were secured meanwhile.
    pub points: u64,
    /// How often it went on over another connection.
    pub resumes: u32,
    /// How long it took.
    pub took: Duration,
}

/// Fetches a file, and goes on where an earlier program was. It grows beside its place, as `NAME.ID.part`, and is put
/// there when it is whole.
///
/// # Errors
///
/// In one sentence. What was secured stays secured.
pub async fn get(session: &Session, getting: &Getting) -> Result<Got, Failure> {
    let name = Name::new(&getting.name).map_err(|trouble| Failure::with_file(&getting.name, &trouble))?;
    let target = target(&name, getting.output.as_deref());
    let here = |trouble: Trouble| Failure::with_file(target.display(), &trouble);
    let way_in = find(&target, getting.replace).await.map_err(here)?;
    let (checkpoints, part) = prepare(session, getting, way_in).await?;

    let began = Instant::now();
    let mut archive = ArchiveClient::new(session.clone());
    let request = checkpoints.request(DownloadRequest { name: name.to_string() });
    let response = archive.download(request).await.map_err(|status| Failure::of_call(&name, &status))?;
    let mut pages = response.into_checkpointed().map_err(|status| Failure::of_call(&name, &status))?;
    let broken = |broken: Broken| match broken {
        Broken::Stream(status) => Failure::of_call(&name, &status),
        Broken::Here(trouble) => here(trouble),
    };
    let part = match part {
        Ready::Resumed(part) => part,
        Ready::Empty(place) => {
            let mut page = first_page(&mut pages).await.map_err(broken)?;
            let announced = Announced::read(page.file.take(), getting.replace).map_err(here)?;
            let part = Part::begin(place, announced).await.map_err(here)?;
            part.append(page).await.map_err(here)?
        }
    };

    let (size, began_at) =
        (part.announced().size, checkpoints.resumed_incoming().map_or(0, |_| part.arrived()));
    let bar = Bar::new(getting.audience, name.as_str(), size);
    bar.begin_at(began_at);
    let (points, secured) = (Cell::new(0), Cell::new(began_at));
    let receiving = receive(&mut pages, part, |mark| {
        points.set(points.get() + 1);
        secured.set(mark.offset);
    });
    let part = shown(session, &bar, receiving, |bar| {
        let arrived = checkpoints.progress().received.messages * PAGE_BYTES as u64;
        bar.show(arrived.min(size), secured.get());
    });
    let digest = part.await.map_err(broken)?.finish().await.map_err(here)?;
    let (points, resumes) = (points.get(), checkpoints.progress().resumes);
    Ok(Got { path: target, size, digest, began_at, points, resumes, took: began.elapsed() })
}

/// Where the file is to grow, and under which id the archive knows the transfer.
struct WayIn {
    place: Place,
    id: String,
}

/// What a part is before the first page comes.
enum Ready {
    /// It has what an earlier program received.
    Resumed(Part),
    /// It has nothing.
    Empty(Place),
}

/// Asks the archive how far an earlier program came, and brings the part there.
async fn prepare(
    session: &Session,
    getting: &Getting,
    way_in: WayIn,
) -> Result<(Checkpoints, Ready), Failure> {
    let WayIn { place, id } = way_in;
    let activity = format!("download/{id}");
    let asked = session.resume_activity(activity.as_bytes()).await;
    let asked = asked.map_err(|status| Failure::of_call(&getting.name, &status))?;
    if let ActivityResume::Interrupted(checkpoints) = asked
        && let Some(point) = checkpoints.resumed_incoming()
        && !getting.restart
    {
        let resumed = match Mark::decode(point.state()) {
            Ok(mark) => Part::resume(place.clone(), mark).await,
            Err(trouble) => Err(trouble),
        };
        match resumed {
            Ok(part) => return Ok((checkpoints, Ready::Resumed(part))),
            // There is nothing that could be lost by beginning anew.
            Err(Trouble::Lost) => {}
            Err(trouble) => return Err(Failure::with_file(place.target.display(), &trouble)),
        }
    }
    Ok((Checkpoints::of_activity(activity, None), Ready::Empty(place)))
}

/// Where the file belongs.
fn target(name: &Name, output: Option<&Path>) -> PathBuf {
    match output {
        Some(directory) if directory.is_dir() => directory.join(name.as_str()),
        Some(file) => file.to_owned(),
        None => PathBuf::from(name.as_str()),
    }
}

/// Looks for what an earlier program left beside the target: the id of its transfer is in the part's name. Begins a new
/// one where there is nothing.
async fn find(target: &Path, replace: bool) -> Result<WayIn, Trouble> {
    let target = target.to_owned();
    blocking(move || {
        if !replace && target.try_exists()? {
            return Err(Trouble::Exists);
        }
        let file = target
            .file_name()
            .ok_or(Trouble::NotRegular)?
            .to_str()
            .ok_or(Trouble::Name("it is not UTF-8"))?;
        let id = match ids_beside(&target, file)?.pop() {
            Some(id) => id,
            None => format!("{:0ID_DIGITS$x}", random()?),
        };
        let part_of = |id: &str| target.with_file_name(format!("{file}.{id}{PART}"));
        let part = part_of(&id);
        let lock = Lock::take(&part)?;
        // Programs that begin at the same moment each take a part of their own and then see each other, one at least.
        for other in ids_beside(&target, file)? {
            if other != id && Lock::is_taken(&part_of(&other))? {
                return Err(Trouble::Busy);
            }
        }
        Ok(WayIn { place: Place { part, target, hold: Hold::Lock(Arc::new(lock)) }, id })
    })
    .await
}

/// The ids of the parts that lie beside a file.
fn ids_beside(target: &Path, file: &str) -> io::Result<Vec<String>> {
    let mut ids = Vec::new();
    for entry in fs::read_dir(directory_of(target))? {
        let found = entry?.file_name();
        let id =
            found.to_str().and_then(|found| found.strip_prefix(file)?.strip_prefix('.')?.strip_suffix(PART));
        let is_id = |id: &&str| id.len() == ID_DIGITS && id.bytes().all(|digit| digit.is_ascii_hexdigit());
        ids.extend(id.filter(is_id).map(str::to_owned));
    }
    Ok(ids)
}

fn random() -> io::Result<u64> {
    getrandom::u64().map_err(|error| io::Error::other(error.to_string()))
}

impl Got {
    /// Bytes per second, of what this program received.
    pub fn rate(&self) -> u64 {
        let bytes = (self.size - self.began_at) as f64;
        (bytes / self.took.as_secs_f64().max(1e-3)) as u64
    }
}

impl fmt::Display for Got {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, size, digest, began_at, points, resumes, .. } = self;
        write!(f, "{}: {} received, BLAKE3 {:.16}…", path.display(), human(*size), digest.to_hex())?;
        if *began_at > 0 {
            write!(f, "; went on at {}", human(*began_at))?;
        }
        let (points, resumes) = (counted(*points, "point"), counted(*resumes, "resume"));
        write!(f, "; {points} secured, {resumes}, {}/s", human(self.rate()))
    }
}
