//! The service that tests call, and the books in which they read what its handlers did.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};
use rpc_server::SessionExt;
use tokio::sync::watch;
use tokio::time::Instant;
use tonic::{Code, Request, Response, Status, Streaming};

use crate::pb::ledger::v1::test_ledger_server::TestLedger;
use crate::pb::ledger::v1::{TestReply, TestRequest};
use crate::soon;
use crate::streams::is_early;

/// Replies of one `Download`.
pub const DOWNLOADED: u64 = 10;

/// What happened under one id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entry {
    /// Handlers that began.
    pub started: u64,
    /// Effects.
    pub booked: u64,
    /// Handlers that were dropped before they had booked.
    pub stopped: u64,
    /// The deadline that the last handler saw.
    pub deadline: Option<Instant>,
    /// `number/slot.sequence` of the session and the call that the last handler saw.
    pub session: Option<String>,
}

#[derive(Debug, Default)]
struct Page {
    entries: BTreeMap<String, Entry>,
    held: BTreeSet<String>,
}

/// What all handlers of one server did. A clone shows the same.
#[derive(Debug, Clone, Default)]
pub struct Books(watch::Sender<Page>);

impl Books {
    /// What happened under `id`.
    pub fn entry(&self, id: &str) -> Entry {
        self.0.borrow().entries.get(id).cloned().unwrap_or_default()
    }

    /// Effects under `id`.
    pub fn booked(&self, id: &str) -> u64 {
        self.entry(id).booked
    }

    /// Everything that happened.
    pub fn all(&self) -> BTreeMap<String, Entry> {
        self.0.borrow().entries.clone()
    }

    /// From now on, handlers under `id` stop before their effect until [`let_go`](Self::let_go).
    pub fn hold(&self, id: &str) {
        self.0.send_modify(|page| _ = page.held.insert(id.to_owned()));
    }

    /// Lets handlers under `id` go on.
    pub fn let_go(&self, id: &str) {
        self.0.send_modify(|page| _ = page.held.remove(id));
    }

    /// Waits until what happened under `id` is as `expected`.
    ///
    /// # Panics
    ///
    /// It does not come to that.
    pub async fn until(&self, id: &str, expected: impl Fn(&Entry) -> bool) -> Entry {
        let mut news = self.0.subscribe();
        let entry = |page: &Page| page.entries.get(id).cloned().unwrap_or_default();
        let found = soon(id, news.wait_for(|page| expected(&entry(page)))).await;
        entry(&found.expect("the books outlive the wait"))
    }

    /// Waits until a handler under `id` has begun.
    ///
    /// # Panics
    ///
    /// None does.
    pub async fn started(&self, id: &str) {
        self.until(id, |entry| entry.started > 0).await;
    }

    async fn let_go_of(&self, id: &str) {
        let mut news = self.0.subscribe();
        // The sender lives in `self`.
        let _ = news.wait_for(|page| !page.held.contains(id)).await;
    }

    fn write<T>(&self, id: &str, change: impl FnOnce(&mut Entry) -> T) -> T {
        let mut changed = None;
        self.0.send_modify(|page| changed = Some(change(page.entries.entry(id.to_owned()).or_default())));
        changed.expect("the change was made")
    }
}

/// The implementation: does as it is told and writes it into the books.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    books: Books,
}

/// A handler at work; dropped before its effect, it says so in the books.
struct Work {
    books: Books,
    id: String,
    booked: bool,
}

impl Drop for Work {
    fn drop(&mut self) {
        if !self.booked {
            self.books.write(&self.id, |entry| entry.stopped += 1);
        }
    }
}

impl Ledger {
    /// A ledger that writes into `books`.
    pub fn new(books: Books) -> Self {
        Self { books }
    }

    fn begin<T>(&self, id: &str, request: &Request<T>) -> Work {
        let deadline = request.deadline();
        let session = request.session().ok().map(|session| match session.call_id() {
            Some(call) => format!("{}/{call}", session.number()),
            None => session.number().to_string(),
        });
        self.books.write(id, |entry| {
            entry.started += 1;
            entry.deadline = deadline;
            entry.session = session;
        });
        Work { books: self.books.clone(), id: id.to_owned(), booked: false }
    }

    async fn book(&self, request: Request<TestRequest>) -> Result<Response<TestReply>, Status> {
        let mut work = self.begin(&request.get_ref().id, &request);
        let told = request.into_inner();
        self.books.let_go_of(&told.id).await;
        tokio::time::sleep(Duration::from_millis(told.delay_ms.into())).await;
        let booked = self.books.write(&told.id, |entry| {
            entry.booked += 1;
            entry.booked
        });
        work.booked = true;
        // After the effect: whatever is answered, it has happened.
        assert!(!told.panic, "the test wants the handler to panic");
        if told.fail {
            let mut status = Status::new(Code::NotFound, "the test wants the handler to fail");
            status.metadata_mut().insert("x-booked", booked.into());
            return Err(status);
        }
        let payload = match told.reply_bytes {
            0 => told.payload,
            bytes => vec![b'x'; bytes as usize],
        };
        let mut response = Response::new(TestReply { id: told.id, booked, payload });
        response.metadata_mut().insert("x-booked", booked.into());
        Ok(response)
    }
}

type Replies = Pin<Box<dyn Stream<Item = Result<TestReply, Status>> + Send>>;

#[tonic::async_trait]
impl TestLedger for Ledger {
    type DownloadStream = Replies;
    type ChatStream = Replies;

    async fn transfer(&self, request: Request<TestRequest>) -> Result<Response<TestReply>, Status> {
        self.book(request).await
    }

    async fn transfer_stoppable(&self, request: Request<TestRequest>) -> Result<Response<TestReply>, Status> {
        self.book(request).await
    }

    async fn balance(&self, request: Request<TestRequest>) -> Result<Response<TestReply>, Status> {
        self.book(request).await
    }

    async fn echo(&self, request: Request<TestRequest>) -> Result<Response<TestReply>, Status> {
        self.book(request).await
    }

    async fn admin(&self, request: Request<TestRequest>) -> Result<Response<TestReply>, Status> {
        self.book(request).await
    }

    async fn slow(&self, request: Request<TestRequest>) -> Result<Response<TestReply>, Status> {
        self.book(request).await
    }

    /// [`DOWNLOADED`] replies, each after `delay_ms`; endless with `panic`, which has no other meaning here.
    async fn download(
        &self,
        request: Request<TestRequest>,
    ) -> Result<Response<Self::DownloadStream>, Status> {
        let work = self.begin(&request.get_ref().id, &request);
        let told = request.into_inner();
        let last = if told.panic { u64::MAX } else { DOWNLOADED };
        let replies = stream::unfold((1, work, told), move |(number, mut work, told)| async move {
            tokio::time::sleep(Duration::from_millis(told.delay_ms.into())).await;
            if number > last {
                work.booked = true;
                work.books.write(&work.id, |entry| entry.booked += 1);
                return None;
            }
            let reply = TestReply { id: told.id.clone(), booked: number, payload: told.payload.clone() };
            Some((Ok(reply), (number + 1, work, told)))
        });
        Ok(Response::new(Box::pin(replies)))
    }

    /// Books under the id of the last request; `booked` counts the requests. An early answer books nothing.
    async fn upload(&self, request: Request<Streaming<TestRequest>>) -> Result<Response<TestReply>, Status> {
        let mut reply = TestReply::default();
        if is_early(&request) {
            return Ok(Response::new(reply));
        }
        let mut requests = request.into_inner();
        while let Some(told) = requests.next().await {
            let TestRequest { id, payload, .. } = told?;
            reply = TestReply { id, payload, booked: reply.booked + 1 };
        }
        self.books.write(&reply.id, |entry| entry.booked += 1);
        Ok(Response::new(reply))
    }

    /// Answers each request with its payload.
    async fn chat(
        &self,
        request: Request<Streaming<TestRequest>>,
    ) -> Result<Response<Self::ChatStream>, Status> {
        let replies = request.into_inner().map(|told| {
            let TestRequest { id, payload, .. } = told?;
            Ok(TestReply { id, booked: 0, payload })
        });
        Ok(Response::new(Box::pin(replies)))
    }
}
