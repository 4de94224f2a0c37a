//! The handlers of streams: each checks that what it gets is gapless and comes once, from where it goes on.

use std::pin::Pin;

use rpc_server::{CheckpointsExt as _, Item, Resumed};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::handler::{Caller, Handlers, Work};
use crate::parts::{answer, checksum, part};
use crate::pb::{Part, Stored, Wanted};
use crate::witness::{Ending, Kind};

/// What decides the parts of a stream, in the metadata of its request: its id, or the name of its activity.
pub const ID: &str = "x-id";
/// The id of the call.
pub const CALL: &str = "x-call";
/// Whose it is.
pub const SUBJECT: &str = "x-subject";

/// Answers that wait for the network at a handler.
const AHEAD: usize = 2;

/// What the response of a stream is.
pub type Parts = Pin<Box<dyn tokio_stream::Stream<Item = Result<Part, Status>> + Send>>;

pub(crate) fn metadata<T>(request: &Request<T>, name: &str) -> Result<String, Status> {
    let value = request.metadata().get(name).and_then(|value| value.to_str().ok());
    value.map(str::to_owned).ok_or_else(|| Status::invalid_argument(format!("there is no {name}")))
}

pub(crate) fn messages(resumed: Option<&Resumed>) -> u64 {
    resumed.map_or(0, |resumed| resumed.position().messages)
}

impl Handlers {
    pub(crate) fn begin_stream<T>(
        &self,
        kind: Kind,
        id: &str,
        request: &Request<T>,
        from: u64,
    ) -> Result<Work, Status> {
        let caller = Caller::of(request);
        let subject = metadata(request, SUBJECT)?;
        let work = self.begin(kind, &metadata(request, CALL)?, &subject, caller, from);
        let known = self.witness.look(|seen| seen.secured.get(id).copied().unwrap_or_default());
        //= I11
        if !matches!(kind, Kind::Download | Kind::DownloadLive) && known > from && kind.goes_on() {
            let what = format!("{kind:?} {id} begins at {from}, and its caller knows {known} to be secured");
            self.witness.violation("I11", what);
        }
        Ok(work)
    }

    /// A part came where `next` is to come.
    pub(crate) fn came(&self, id: &str, come: &Part, next: u64) -> Result<(), Status> {
        //= I9
        if *come != part(id, next) {
            let what = format!("part {} of {id} came to its handler, not {next}", come.number);
            self.witness.violation("I9", what.clone());
            return Err(Status::data_loss(what));
        }
        Ok(())
    }
}

/// Secures a point when the file is synced; the file is outside of the simulation, as far as it is synced.
pub(crate) async fn upload(
    handlers: &Handlers,
    request: Request<Streaming<Part>>,
) -> Result<Response<Stored>, Status> {
    let id = metadata(&request, ID)?;
    let resumed = request.checkpoints()?.resumed_incoming();
    let from = messages(resumed.as_ref());
    let mut work = handlers.begin_stream(Kind::Upload, &id, &request, from)?;
    if let Some(resumed) = &resumed
        && resumed.state()[..] != from.to_be_bytes()
    {
        let what = format!("{id} goes on at {from} with the state {:?}", resumed.state());
        handlers.witness.violation("I10", what);
    }
    let synced = handlers.witness.look(|seen| seen.files.get(&id).copied().unwrap_or_default());
    //= I10
    if synced < from {
        handlers.witness.violation("I10", format!("{id} goes on at {from}, and {synced} are in its file"));
    }
    let mut parts = request.into_checkpointed()?;
    let mut next = from;
    while let Some(item) = parts.next().await? {
        match item {
            Item::Message(come) => {
                handlers.came(&id, &come, next)?;
                next += 1;
            }
            Item::SyncPoint(point) => {
                let messages = point.position().messages;
                if messages != next {
                    let what = format!("a point of {id} after {messages} comes after {next}");
                    handlers.witness.violation("I10", what);
                }
                handlers.witness.note(
                    || format!("{id} is synced up to {messages}"),
                    |seen, _| _ = seen.files.insert(id.clone(), messages),
                );
                point.secure(messages.to_be_bytes().to_vec()).await?;
            }
        }
    }
    work.effect();
    work.end(Ending::Answered);
    Ok(Response::new(Stored { parts: next, checksum: checksum(&id, next) }))
}

/// The short form: what was taken is secured.
pub(crate) async fn upload_live(
    handlers: &Handlers,
    request: Request<Streaming<Part>>,
) -> Result<Response<Stored>, Status> {
    let id = metadata(&request, ID)?;
    let mut work = handlers.begin_stream(Kind::UploadLive, &id, &request, 0)?;
    let mut parts = request.into_inner();
    let mut next = 0;
    while let Some(come) = parts.message().await? {
        handlers.came(&id, &come, next)?;
        next += 1;
    }
    work.effect();
    work.end(Ending::Answered);
    Ok(Response::new(Stored { parts: next, checksum: checksum(&id, next) }))
}

/// Gives parts from where the caller has them.
pub(crate) fn download(
    handlers: &Handlers,
    kind: Kind,
    request: &Request<Wanted>,
) -> Result<Response<Parts>, Status> {
    let id = metadata(request, ID)?;
    let from = messages(request.checkpoints()?.resumed().as_ref());
    let mut work = handlers.begin_stream(kind, &id, request, from)?;
    let wanted = request.get_ref().parts;
    let parts = (from..wanted).map(move |number| {
        if number + 1 == wanted {
            work.effect();
            work.end(Ending::Answered);
        }
        Ok(answer(&id, number))
    });
    Ok(Response::new(Box::pin(tokio_stream::iter(parts))))
}

/// Answers each part with one that its number decides, so those that are secured at one side and not at the other can be
/// given again.
pub(crate) fn chat(
    handlers: &Handlers,
    kind: Kind,
    request: Request<Streaming<Part>>,
) -> Result<Response<Parts>, Status> {
    let id = metadata(&request, ID)?;
    let checkpoints = request.checkpoints()?;
    let answered = messages(checkpoints.resumed().as_ref());
    let from = messages(checkpoints.resumed_incoming().as_ref());
    let work = handlers.begin_stream(kind, &id, &request, from)?;
    let mut parts = request.into_inner();
    let (answers, receiver) = mpsc::channel(AHEAD);
    let handlers = handlers.clone();
    tokio::spawn(async move {
        let mut work = work;
        let talk = async {
            for number in answered..from {
                give(&answers, Ok(answer(&id, number))).await?;
            }
            let mut next = from;
            while let Some(come) = parts.message().await? {
                handlers.came(&id, &come, next)?;
                if next >= answered {
                    give(&answers, Ok(answer(&id, next))).await?;
                }
                next += 1;
            }
            Ok::<_, Status>(())
        };
        match talk.await {
            Ok(()) => {
                work.effect();
                work.end(Ending::Answered);
            }
            Err(status) => {
                work.end(Ending::Failed);
                let _ = give(&answers, Err(status)).await;
            }
        }
    });
    Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
}

async fn give(
    answers: &mpsc::Sender<Result<Part, Status>>,
    part: Result<Part, Status>,
) -> Result<(), Status> {
    answers.send(part).await.map_err(|_| Status::cancelled("nobody takes the answers"))
}
