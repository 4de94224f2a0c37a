//! Handlers of streams, and what they note of themselves for those who look afterwards.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rpc_server::{CheckpointsExt as _, Item, Outgoing, Resumed};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::parts::part;
use crate::pb::{Part, Stored, Wanted};

/// The name of an upload or chat, and its seed, in the metadata of the request.
pub const NAME: &str = "x-name";
/// See [`NAME`].
pub const SEED: &str = "x-seed";
/// Every so many parts a download asks for a point of its own.
const POINT_EVERY: u64 = 25;

/// What the response of a stream is.
pub type Parts = std::pin::Pin<Box<dyn tokio_stream::Stream<Item = Result<Part, Status>> + Send>>;

/// The files of uploads, and the diary of all streams: a line when a handler begins, one for each point that it has secured,
/// and one for its end.
#[derive(Debug, Clone)]
pub struct Streams {
    files: PathBuf,
    diary: Arc<Mutex<File>>,
}

impl Streams {
    /// In this directory.
    ///
    /// # Errors
    ///
    /// It is not to be had.
    pub fn open(files: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(files)?;
        let diary = OpenOptions::new().create(true).append(true).open(files.join("diary"))?;
        Ok(Self { files: files.to_owned(), diary: Arc::new(Mutex::new(diary)) })
    }

    fn note(&self, what: &str, name: &str, place: u64) -> io::Result<()> {
        // One write: a crash leaves the whole line or nothing of it.
        let line = format!("{what} {name} {place}\n");
        self.diary.lock().unwrap_or_else(PoisonError::into_inner).write_all(line.as_bytes())
    }

    /// The file of an upload as it was when its last point was secured.
    fn file(&self, name: &str, resumed: Option<&Resumed>) -> Result<(File, u64), Status> {
        let length = match resumed.map(|resumed| <[u8; 8]>::try_from(&resumed.state()[..])) {
            None => 0,
            Some(Ok(length)) => u64::from_be_bytes(length),
            Some(Err(_)) => return Err(Status::data_loss("the state is no length")),
        };
        let path = self.files.join(name);
        let mut file = OpenOptions::new().create(true).write(true).truncate(false).open(path)?;
        if file.metadata()?.len() < length {
            return Err(Status::data_loss("what was secured is not in the file"));
        }
        file.set_len(length)?;
        file.seek(SeekFrom::End(0))?;
        Ok((file, length))
    }

    pub(super) async fn upload(&self, request: Request<Streaming<Part>>) -> Result<Response<Stored>, Status> {
        let name = metadata(&request, NAME)?;
        let mut parts = request.into_checkpointed()?;
        let mut next = parts.resumed().map_or(0, |resumed| resumed.position().messages);
        self.note("begin", &name, next)?;
        let (mut file, mut bytes) = self.file(&name, parts.resumed())?;
        while let Some(item) = parts.next().await? {
            match item {
                Item::Message(part) if part.number != next => {
                    return Err(Status::data_loss(format!("part {} came, not {next}", part.number)));
                }
                Item::Message(part) => {
                    file.write_all(&part.data)?;
                    bytes += part.data.len() as u64;
                    next += 1;
                }
                Item::SyncPoint(point) => {
                    let messages = point.position().messages;
                    file.sync_data()?;
                    point.secure(bytes.to_be_bytes().to_vec()).await?;
                    self.note("secured", &name, messages)?;
                }
            }
        }
        self.note("end", &name, next)?;
        Ok(Response::new(Stored { parts: next, bytes }))
    }

    pub(super) fn download(&self, request: &Request<Wanted>) -> Result<Response<Parts>, Status> {
        let checkpoints = request.checkpoints()?;
        let Wanted { id, parts, seed } = request.get_ref().clone();
        let first = checkpoints.resumed().map_or(0, |resumed| resumed.position().messages);
        self.note("begin", &id, first)?;
        let items = (first..parts).flat_map(move |number| {
            let point = (number % POINT_EVERY == 0 && number > first)
                .then(|| Ok(Outgoing::SyncPoint(number.to_be_bytes().to_vec().into())));
            point.into_iter().chain([Ok(Outgoing::Message(part(seed, number)))])
        });
        let parts = checkpoints.outgoing_results(tokio_stream::iter(items));
        Ok(Response::new(Box::pin(parts)))
    }

    /// Each answer is decided by its number, so those that were secured at one side and not at the other can be given again.
    pub(super) fn chat(&self, request: Request<Streaming<Part>>) -> Result<Response<Parts>, Status> {
        let (name, seed) = (metadata(&request, NAME)?, metadata(&request, SEED)?);
        let seed: u64 = seed.parse().map_err(|_| Status::invalid_argument("the seed is no number"))?;
        let answered = request.checkpoints()?.resumed().map_or(0, |resumed| resumed.position().messages);
        let mut parts = request.into_checkpointed()?;
        let mut next = parts.resumed().map_or(0, |resumed| resumed.position().messages);
        self.note("begin", &format!("{name}.answers"), answered)?;
        self.note("begin", &name, next)?;
        let (answers, receiver) = mpsc::channel(4);
        let streams = self.clone();
        tokio::spawn(async move {
            let answer = async {
                for number in answered..next {
                    answers.send(Ok(part(!seed, number))).await.map_err(|_| Status::cancelled("nobody"))?;
                }
                while let Some(item) = parts.next().await? {
                    match item {
                        Item::Message(come) if come != part(seed, next) => {
                            return Err(Status::data_loss(format!("part {} came, not {next}", come.number)));
                        }
                        Item::Message(_) => {
                            if next >= answered {
                                let answer = Ok(part(!seed, next));
                                answers.send(answer).await.map_err(|_| Status::cancelled("nobody"))?;
                            }
                            next += 1;
                        }
                        Item::SyncPoint(point) => {
                            let messages = point.position().messages;
                            point.secure(Vec::new()).await?;
                            streams.note("secured", &name, messages)?;
                        }
                    }
                }
                streams.note("end", &name, next)?;
                Ok::<_, Status>(())
            };
            if let Err(status) = answer.await {
                // Whoever does not take it is gone.
                let _ = answers.send(Err(status)).await;
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

fn metadata<T>(request: &Request<T>, name: &str) -> Result<String, Status> {
    let value = request.metadata().get(name).and_then(|value| value.to_str().ok());
    value.map(str::to_owned).ok_or_else(|| Status::invalid_argument(format!("there is no {name}")))
}
