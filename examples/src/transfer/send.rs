//! Sending a file.

use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use blake3::Hash;
use futures_util::TryStreamExt as _;
use prost::Message as _;
use rpc_client::{ActivityResume, Checkpoints, Progress, RecordedReply, Session};
use tokio::sync::oneshot;
use tonic::Status;

use super::PAGE_BYTES;
use super::bar::{Audience, Bar, counted, human};
use super::client::shown;
use super::failure::Failure;
use super::mark::{Announced, Mark};
use super::name::Name;
use super::source::Source;
use super::trouble::Trouble;
use crate::archive::Receipt;
use crate::archive::archive_client::ArchiveClient;

/// Which file, and how.
pub struct Sending {
    /// Where it is.
    pub path: PathBuf,
    /// What the archive is to call it; its own name where nothing is said.
    pub name: Option<String>,
    /// It may take the place of one that has its name.
    pub replace: bool,
    /// What was sent before does not count.
    pub restart: bool,
    /// Who is told of it meanwhile.
    pub audience: Audience,
}

/// A file that is safe in the archive.
#[derive(Debug)]
pub struct Sent {
    /// As it was announced.
    pub announced: Announced,
    /// BLAKE3 of it, as the archive computed it.
    pub digest: Hash,
    /// The archive has confirmed it to an earlier call, and nothing was sent now.
    pub before: bool,
    /// Where this program began: what lies before was sent by one that ended earlier.
    pub began_at: u64,
    /// How many sync points were secured meanwhile.
    pub points: u64,
    /// How often it went on over another connection.
    pub resumes: u32,
    /// How many bytes were sent again for that.
    pub sent_again: u64,
    /// How long it took.
    pub took: Duration,
}

/// Sends a file, and goes on where an earlier program was.
///
/// # Errors
///
/// In one sentence. What was secured stays secured.
pub async fn send(session: &Session, sending: &Sending) -> Result<Sent, Failure> {
    let here = |trouble: Trouble| Failure::with_file(sending.path.display(), &trouble);
    let (checkpoints, source) = match prepare(session, sending).await? {
        Prepared::Done(sent) => return Ok(sent),
        Prepared::Open(checkpoints, source) => (checkpoints, source),
    };
    let (announced, began_at, began) = (source.announced().clone(), source.offset(), Instant::now());
    let first_serial = checkpoints.resumed().map_or(0, |point| point.serial().0);

    let bar = Bar::new(sending.audience, announced.name.as_str(), announced.size);
    bar.begin_at(began_at);
    // An error ends the call. What it was is kept for those who sent the file.
    let (tell, mut trouble) = oneshot::channel();
    let mut tell = Some(tell);
    let pages = source.pages().map_err(move |trouble| {
        if let Some(tell) = tell.take() {
            // Nobody listens when the call is over.
            let _ = tell.send(trouble);
        }
        Status::aborted("the file cannot be read to its end")
    });
    let mut archive = ArchiveClient::new(session.clone()); // the stock stub: a session is a channel
    let request = checkpoints.request(checkpoints.outgoing(pages));
    let upload = async {
        archive.upload(request).await.map_err(|status| match trouble.try_recv() {
            Ok(trouble) => here(trouble),
            Err(_) => Failure::of_call(&announced.name, &status),
        })
    };
    let receipt = shown(session, &bar, upload, |bar| {
        let progress = checkpoints.progress();
        let bytes = |messages: u64| (messages * PAGE_BYTES as u64).min(announced.size);
        bar.show(bytes(progress.sent.messages), bytes(progress.sent_secured.messages));
    });
    let digest = digest_in(&receipt.await?.into_inner()).map_err(here)?;

    let Progress { resumes, sent_again, .. } = checkpoints.progress();
    let last = checkpoints.watch().and_then(|watch| watch.changes().borrow().confirmed.clone());
    let points = last.map_or(0, |point| point.serial.0.saturating_sub(first_serial));
    Ok(Sent {
        announced,
        digest,
        before: false,
        began_at,
        points,
        resumes,
        sent_again,
        took: began.elapsed(),
    })
}

/// What is to be done with a file.
enum Prepared {
    /// Nothing: an earlier program sent it.
    Done(Sent),
    /// It is to be sent, from where its source is.
    Open(Checkpoints, Source),
}

/// Asks the archive how far an earlier program came with the file, and brings the source there.
async fn prepare(session: &Session, sending: &Sending) -> Result<Prepared, Failure> {
    let here = |trouble: Trouble| Failure::with_file(sending.path.display(), &trouble);
    let name = match &sending.name {
        Some(name) => Name::new(name),
        None => Name::of(&sending.path),
    };
    let name = name.map_err(here)?;
    let source = Source::open(&sending.path, name.clone(), sending.replace).await.map_err(here)?;

    let activity = format!("upload/{name}");
    let asked = session.resume_activity(activity.as_bytes()).await;
    let checkpoints = match asked.map_err(|status| Failure::of_call(&name, &status))? {
        ActivityResume::Interrupted(checkpoints) if !sending.restart => checkpoints,
        ActivityResume::Done(reply) if !sending.restart => {
            // The earlier program may have died after the archive had everything and before it heard of that.
            if let Some(sent) = sent_before(sending, name, &reply).await.map_err(here)? {
                return Ok(Prepared::Done(sent));
            }
            Checkpoints::of_activity(activity, None)
        }
        _ => Checkpoints::of_activity(activity, None),
    };
    let source = match checkpoints.resumed() {
        Some(point) => source.resume(Mark::at(&point).map_err(here)?).await.map_err(here)?,
        None => source,
    };
    Ok(Prepared::Open(checkpoints, source))
}

/// What the archive has confirmed to an earlier program, if the file is still the same.
async fn sent_before(sending: &Sending, name: Name, reply: &RecordedReply) -> Result<Option<Sent>, Trouble> {
    let Ok(receipt) = Receipt::decode(&reply.response[..]) else { return Ok(None) };
    let digest = digest_in(&receipt)?;
    let announced = Announced::read(receipt.file, sending.replace)?;
    let began_at = announced.size;
    let source = Source::open(&sending.path, name, sending.replace).await?;
    let end = Mark { announced: announced.clone(), offset: began_at, digest };
    let (points, resumes, sent_again, took) = (0, 0, 0, Duration::ZERO);
    match source.resume(end).await {
        Ok(_) => {
            Ok(Some(Sent { announced, digest, before: true, began_at, points, resumes, sent_again, took }))
        }
        Err(Trouble::Changed) => Ok(None),
        Err(trouble) => Err(trouble),
    }
}

fn digest_in(receipt: &Receipt) -> Result<Hash, Trouble> {
    Hash::from_slice(&receipt.digest).map_err(|_| Trouble::Malformed("the receipt has no digest"))
}

impl Sent {
    /// Bytes per second, of what this program sent.
    pub fn rate(&self) -> u64 {
        let bytes = (self.announced.size - self.began_at) as f64;
        (bytes / self.took.as_secs_f64().max(1e-3)) as u64
    }
}

impl fmt::Display for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { announced, digest, began_at, points, resumes, sent_again, .. } = self;
        let (size, digest) = (human(announced.size), digest.to_hex());
        if self.before {
            return write!(
                f,
                "{}: was sent before, {size}, BLAKE3 {digest:.16}…; --restart sends it again",
                announced.name
            );
        }
        write!(f, "{}: {size} safe in the archive, BLAKE3 {digest:.16}…", announced.name)?;
        if *began_at > 0 {
            write!(f, "; went on at {}", human(*began_at))?;
        }
        let (again, rate) = (human(*sent_again), human(self.rate()));
        let (points, resumes) = (counted(*points, "point"), counted(*resumes, "resume"));
        write!(f, "; {points} secured, {resumes}, {again} sent again, {rate}/s")
    }
}
