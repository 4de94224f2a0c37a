//! The service: each handler tells the witness what it does.

use std::sync::Arc;
use std::time::Duration;

use rpc_client::{CallId, SessionId};
use rpc_server::{SessionExt as _, Transaction};
use tokio::time::sleep;
use tonic::{Request, Response, Status, Streaming};

use crate::pb::ask::Then;
use crate::pb::sim_server::Sim;
use crate::pb::{Answer, Ask, Part, Stored, Wanted};
use crate::streams::{self, Parts};
use crate::talk;
use crate::witness::{Ending, Kind, Run, Witness, now};

/// Key of the count over all ids.
pub const TOTAL: &str = "total";

/// Key of the count of an id.
pub fn key(id: &str) -> String {
    format!("id/{id}")
}

/// The handlers of one life of a server.
#[derive(Debug, Clone)]
pub struct Handlers {
    pub(crate) witness: Arc<Witness>,
    /// The server, and which of its lives.
    pub(crate) server: (usize, u64),
}

/// Whose call it is, as a handler sees it.
pub(crate) struct Caller {
    subject: String,
    session: Option<(SessionId, Option<CallId>)>,
}

impl Caller {
    pub(crate) fn of<T>(request: &Request<T>) -> Self {
        match request.session() {
            Ok(session) => Self {
                subject: session.principal().subject().to_owned(),
                session: Some((session.number(), session.call_id())),
            },
            Err(_) => Self { subject: String::new(), session: None },
        }
    }
}

/// A handler at work; dropped before its end, it says so.
pub(crate) struct Work {
    witness: Arc<Witness>,
    pub(crate) run: u64,
    ended: bool,
}

impl Work {
    pub(crate) fn effect(&self) {
        let run = self.run;
        self.witness.note(
            || format!("run {run} has its effect"),
            |seen, _| {
                if let Some(run) = seen.runs.get_mut(index(run)) {
                    run.had_effect = true;
                }
            },
        );
    }

    pub(crate) fn end(&mut self, how: Ending) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let run = self.run;
        self.witness.note(
            || format!("run {run} ends: {how:?}"),
            |seen, order| {
                if let Some(run) = seen.runs.get_mut(index(run)) {
                    run.ended = Some((order, how.clone()));
                }
            },
        );
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.end(Ending::Dropped);
    }
}

/// Runs are numbered from 1, in their order.
fn index(run: u64) -> usize {
    usize::try_from(run - 1).unwrap_or(usize::MAX)
}

impl Handlers {
    /// A handler begins.
    pub(crate) fn begin(&self, kind: Kind, id: &str, subject: &str, caller: Caller, from: u64) -> Work {
        let server = self.server;
        let run = self.witness.note(
            || format!("server {server:?} begins {kind:?} {id} at {from} for {:?}", caller.session),
            |seen, began| {
                let number = seen.runs.len() as u64 + 1;
                seen.runs.push(Run {
                    number,
                    began,
                    began_at: now(),
                    server,
                    id: id.to_owned(),
                    kind,
                    subject: caller.subject.clone(),
                    session: caller.session,
                    from,
                    had_effect: false,
                    ended: None,
                });
                number
            },
        );
        //= I22
        if caller.session.is_some() && caller.subject != subject {
            self.witness
                .violation("I22", format!("{id} of {subject} ran in a session of {}", caller.subject));
        }
        Work { witness: Arc::clone(&self.witness), run, ended: false }
    }

    async fn work(&self, kind: Kind, request: Request<Ask>) -> Result<Response<Answer>, Status> {
        let caller = Caller::of(&request);
        let ask = request.into_inner();
        let mut work = self.begin(kind, &ask.id, &ask.subject, caller, 0);
        let delay = Duration::from_millis(ask.delay_ms.into());
        sleep(delay).await;
        work.effect();
        sleep(delay).await;
        let answer = Answer { run: work.run, id: ask.id.clone(), count: 0, total: 0 };
        finish(&mut work, &ask, answer)
    }
}

fn finish(work: &mut Work, ask: &Ask, answer: Answer) -> Result<Response<Answer>, Status> {
    match ask.then() {
        Then::Answer => {
            work.end(Ending::Answered);
            Ok(Response::new(answer))
        }
        Then::Fail => {
            work.end(Ending::Failed);
            Err(Status::failed_precondition("the call wants its handler to fail"))
        }
        Then::Panic => {
            work.end(Ending::Failed);
            panic!("the call wants its handler to panic")
        }
    }
}

async fn add_one(transaction: &Transaction, key: &str) -> Result<u64, Status> {
    let count = match transaction.get(key).await? {
        None => 0,
        Some(bytes) => {
            let bytes = bytes[..].try_into().map_err(|_| Status::data_loss("a count is not 8 bytes"))?;
            u64::from_be_bytes(bytes)
        }
    };
    transaction.put(key, (count + 1).to_be_bytes().to_vec())?;
    Ok(count + 1)
}

#[tonic::async_trait]
impl Sim for Handlers {
    async fn plain(&self, request: Request<Ask>) -> Result<Response<Answer>, Status> {
        self.work(Kind::Plain, request).await
    }

    async fn least(&self, request: Request<Ask>) -> Result<Response<Answer>, Status> {
        self.work(Kind::Least, request).await
    }

    async fn memory(&self, request: Request<Ask>) -> Result<Response<Answer>, Status> {
        self.work(Kind::Memory, request).await
    }

    async fn durable(&self, request: Request<Ask>) -> Result<Response<Answer>, Status> {
        self.work(Kind::Durable, request).await
    }

    async fn again(&self, request: Request<Ask>) -> Result<Response<Answer>, Status> {
        self.work(Kind::Again, request).await
    }

    async fn stoppable(&self, request: Request<Ask>) -> Result<Response<Answer>, Status> {
        self.work(Kind::Stoppable, request).await
    }

    async fn book(&self, request: Request<Ask>) -> Result<Response<Answer>, Status> {
        let caller = Caller::of(&request);
        let transaction = request.transaction()?.clone();
        let ask = request.into_inner();
        let mut work = self.begin(Kind::Book, &ask.id, &ask.subject, caller, 0);
        let delay = Duration::from_millis(ask.delay_ms.into());
        let count = add_one(&transaction, &key(&ask.id)).await?;
        sleep(delay).await;
        let total = add_one(&transaction, TOTAL).await?;
        sleep(delay).await;
        let answer = Answer { run: work.run, id: ask.id.clone(), count, total };
        finish(&mut work, &ask, answer)
    }

    async fn sole(&self, request: Request<Ask>) -> Result<Response<Answer>, Status> {
        self.work(Kind::Sole, request).await
    }

    async fn sole_here(&self, request: Request<Ask>) -> Result<Response<Answer>, Status> {
        self.work(Kind::SoleHere, request).await
    }

    async fn upload(&self, request: Request<Streaming<Part>>) -> Result<Response<Stored>, Status> {
        streams::upload(self, request).await
    }

    async fn upload_live(&self, request: Request<Streaming<Part>>) -> Result<Response<Stored>, Status> {
        streams::upload_live(self, request).await
    }

    type DownloadStream = Parts;

    async fn download(&self, request: Request<Wanted>) -> Result<Response<Parts>, Status> {
        streams::download(self, Kind::Download, &request)
    }

    type DownloadLiveStream = Parts;

    async fn download_live(&self, request: Request<Wanted>) -> Result<Response<Parts>, Status> {
        streams::download(self, Kind::DownloadLive, &request)
    }

    type ChatStream = Parts;

    async fn chat(&self, request: Request<Streaming<Part>>) -> Result<Response<Parts>, Status> {
        streams::chat(self, Kind::Chat, request)
    }

    type ChatLiveStream = Parts;

    async fn chat_live(&self, request: Request<Streaming<Part>>) -> Result<Response<Parts>, Status> {
        streams::chat(self, Kind::ChatLive, request)
    }

    type TalkStream = Parts;

    async fn talk(&self, request: Request<Streaming<Part>>) -> Result<Response<Parts>, Status> {
        talk::talk(self, Kind::Talk, request)
    }

    type TalkLiveStream = Parts;

    async fn talk_live(&self, request: Request<Streaming<Part>>) -> Result<Response<Parts>, Status> {
        talk::talk(self, Kind::TalkLive, request)
    }
}
