//! Clients whose streams go on while the server is killed.

use rpc_client::{Checkpoints, Outgoing, Session};
use tokio::sync::watch;
use tokio_stream::StreamExt as _;
use tonic::metadata::MetadataValue;
use tonic::{Request, Status};

use crate::caller::{Client, Random};
use crate::parts::{content, part};
use crate::pb::{Part, Wanted};
use crate::vault::streams::{NAME, SEED};

/// What streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The requests.
    Upload,
    /// The responses.
    Download,
    /// Both.
    Chat,
}

/// A stream that came to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Streamed {
    /// What streamed.
    pub kind: Kind,
    /// What no other stream is called.
    pub name: String,
    /// What decides its parts.
    pub seed: u64,
    /// How many they were.
    pub parts: u64,
}

/// Makes one stream after the other until it is told to stop, and counts the parts that move in `moved`.
///
/// # Errors
///
/// One of them failed, or brought something else than it was to bring.
pub async fn stream_until(
    stop: watch::Receiver<bool>,
    moved: watch::Sender<u64>,
    session: Session,
    kind: Kind,
    name: String,
    seed: u64,
) -> Result<Vec<Streamed>, Status> {
    let mut client = Client::new(session);
    let (mut done, mut random) = (Vec::new(), Random(seed));
    for number in 0_u64.. {
        if *stop.borrow() {
            break;
        }
        let (seed, parts) = (random.below(u64::from(u32::MAX)), 1 + random.below(400));
        let streamed = Streamed { kind, name: format!("{name}.{number}"), seed, parts };
        let result = match kind {
            Kind::Upload => upload(&mut client, &streamed, &moved).await,
            Kind::Download => download(&mut client, &streamed, &moved).await,
            Kind::Chat => chat(&mut client, &streamed, &moved).await,
        };
        result.map_err(|status| {
            Status::new(status.code(), format!("{streamed:?}: {}: {:?}", status.message(), status.details()))
        })?;
        done.push(streamed);
    }
    Ok(done)
}

/// The parts of a stream, each counted when it is asked for.
fn parts(streamed: &Streamed, moved: &watch::Sender<u64>) -> impl Iterator<Item = Part> + Send + use<> {
    let (seed, moved) = (streamed.seed, moved.clone());
    (0..streamed.parts).map(move |number| {
        moved.send_modify(|moved| *moved += 1);
        part(seed, number)
    })
}

fn named<T>(mut request: Request<T>, streamed: &Streamed) -> Result<Request<T>, Status> {
    let value = |text: String| {
        MetadataValue::try_from(text).map_err(|_| Status::invalid_argument("no value of a header"))
    };
    request.metadata_mut().insert(NAME, value(streamed.name.clone())?);
    request.metadata_mut().insert(SEED, value(streamed.seed.to_string())?);
    Ok(request)
}

/// Uploads it, with points of its own.
///
/// # Errors
///
/// It failed, or something else was stored.
pub async fn upload(
    client: &mut Client,
    streamed: &Streamed,
    moved: &watch::Sender<u64>,
) -> Result<(), Status> {
    upload_from(client, &Checkpoints::new(), streamed, moved).await
}

/// The same, from where the checkpoints say.
///
/// # Errors
///
/// As [`upload`].
pub async fn upload_from(
    client: &mut Client,
    checkpoints: &Checkpoints,
    streamed: &Streamed,
    moved: &watch::Sender<u64>,
) -> Result<(), Status> {
    let mut random = Random(!streamed.seed);
    let first = checkpoints.resumed().map_or(0, |resumed| resumed.position().messages);
    let rest = parts(streamed, moved).skip_while(move |part| part.number < first);
    let items = rest.flat_map(move |part| {
        let state = part.number.to_be_bytes().to_vec();
        let point = (random.below(20) == 0).then(|| Outgoing::SyncPoint(state.into()));
        [Outgoing::Message(part)].into_iter().chain(point)
    });
    let request = checkpoints.request(checkpoints.outgoing(tokio_stream::iter(items)));
    let stored = client.upload(named(request, streamed)?).await?.into_inner();
    let bytes = content(streamed.seed, streamed.parts).len() as u64;
    if (stored.parts, stored.bytes) != (streamed.parts, bytes) {
        return Err(Status::data_loss(format!("{} parts of {bytes} bytes, not {stored:?}", streamed.parts)));
    }
    Ok(())
}

async fn download(
    client: &mut Client,
    streamed: &Streamed,
    moved: &watch::Sender<u64>,
) -> Result<(), Status> {
    let Streamed { name, seed, parts, .. } = streamed.clone();
    let mut found = client.download(Wanted { id: name, parts, seed }).await?.into_inner();
    for number in 0..parts {
        if found.message().await?.as_ref() != Some(&part(seed, number)) {
            return Err(Status::data_loss(format!("another part came than {number}")));
        }
        moved.send_modify(|moved| *moved += 1);
    }
    ended(&mut found).await
}

async fn chat(client: &mut Client, streamed: &Streamed, moved: &watch::Sender<u64>) -> Result<(), Status> {
    let request = named(Request::new(tokio_stream::iter(parts(streamed, moved))), streamed)?;
    let mut answers = client.chat(request).await?.into_inner();
    for number in 0..streamed.parts {
        if answers.message().await?.as_ref() != Some(&part(!streamed.seed, number)) {
            return Err(Status::data_loss(format!("another answer came than {number}")));
        }
    }
    ended(&mut answers).await
}

async fn ended(parts: &mut tonic::Streaming<Part>) -> Result<(), Status> {
    match parts.next().await.transpose()? {
        None => Ok(()),
        Some(part) => Err(Status::data_loss(format!("part {} came after the end", part.number))),
    }
}
