//! The server's handlers, and what they hold for each session.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use rpc_server::id::SessionId;
use rpc_server::{EndedSession, SessionExt as _};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use tonic::{Request, Response, Status};

use super::locks::{Denied, Lock, Locks};
use super::share::{FileId, Share, refused};
use crate::folder::folder_server;
use crate::folder::{
    CloseReply, CloseRequest, LockReply, LockRequest, OpenReply, OpenRequest, ReadReply, ReadRequest,
    UnlockReply, UnlockRequest, WriteReply, WriteRequest,
};

/// Open files of one session.
const FILES_MAX: usize = 256;
/// Bytes that are read or written at once.
const PIECE_BYTES_MAX: u32 = 32 << 10;
/// Longest wait for a lock of a caller that gives it more.
const LONGEST: Duration = Duration::from_secs(60);

/// The shared folders, and what sessions hold of them. Cheap to clone; every clone is the same.
#[derive(Clone)]
pub struct Folder {
    shares: Arc<BTreeMap<String, Share>>,
    held: Arc<Mutex<Held>>,
    /// Changes when a lock may have become free.
    freed: Arc<watch::Sender<()>>,
    written: Arc<dyn Fn() + Send + Sync>,
}

#[derive(Default)]
struct Held {
    /// At most as many as there are sessions, which the server bounds.
    files: HashMap<SessionId, BTreeMap<u64, OpenFile>>,
    opened: u64,
    locks: Locks,
}

#[derive(Clone)]
struct OpenFile {
    file: Arc<File>,
    id: FileId,
    write: bool,
}

/// What the end of a session made free.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Freed {
    /// Files that it had open.
    pub files: usize,
    /// Locks that it had.
    pub locks: usize,
}

impl Folder {
    /// These folders, by name.
    pub fn new(shares: impl IntoIterator<Item = (String, Share)>) -> Self {
        Self {
            shares: Arc::new(shares.into_iter().collect()),
            held: Arc::default(),
            freed: Arc::new(watch::Sender::new(())),
            written: Arc::new(|| ()),
        }
    }

    /// Calls `then` each time something was written, before anybody is answered.
    #[must_use]
    pub fn when_written(mut self, then: impl Fn() + Send + Sync + 'static) -> Self {
        self.written = Arc::new(then);
        self
    }

    /// Closes the files and frees the locks of a session: the hook for its end. Whoever waits for a lock may get it.
    pub fn free(&self, ended: &EndedSession) -> Freed {
        let mut held = self.held();
        let files = held.files.remove(&ended.number).map_or(0, |files| files.len());
        let locks = held.locks.free(|lock| lock.session == ended.number);
        drop(held);
        self.freed.send_replace(());
        Freed { files, locks }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn try_lock(&self, session: SessionId, request: &LockRequest) -> Result<Result<(), SessionId>, Status> {
        let (file, shared) = (request.file, request.shared);
        let bytes = range(request.range)?;
        let mut held = self.held();
        let id = held.file(session, file)?.id;
        match held.locks.lock(id, Lock { session, file, bytes, shared }) {
            Ok(()) => Ok(Ok(())),
            Err(Denied::By(other)) => Ok(Err(other)),
            Err(Denied::TooMany) => Err(Status::resource_exhausted("the session has too many locks")),
        }
    }
}

impl Held {
    fn file(&self, session: SessionId, file: u64) -> Result<&OpenFile, Status> {
        let files = self.files.get(&session);
        files.and_then(|files| files.get(&file)).ok_or_else(|| Status::not_found("the file is not open"))
    }

    fn barred(&self, session: SessionId, id: FileId, bytes: &Range<u64>, write: bool) -> Result<(), Status> {
        self.locks.bars(id, session, bytes, write).map_or(Ok(()), |by| Err(locked(by)))
    }
}

#[tonic::async_trait]
impl folder_server::Folder for Folder {
    async fn open(&self, request: Request<OpenRequest>) -> Result<Response<OpenReply>, Status> {
        let session = request.session()?.clone();
        let OpenRequest { share, path, write } = request.into_inner();
        let share =
            self.shares.get(&share).ok_or_else(|| Status::not_found("there is no such share"))?.clone();
        let (file, id) = blocking(move || share.open(&path, write)).await?;
        let size = file.metadata().map_err(|error| refused(&error))?.len();
        let mut held = self.held();
        // A call of a session that has just ended must not hold what nobody would free: `ended` comes before the hook, which
        // waits for this lock.
        if session.ended().now_or_never().is_some() {
            return Err(Status::aborted("the session has ended"));
        }
        held.opened += 1;
        let number = held.opened;
        let files = held.files.entry(session.number()).or_default();
        if files.len() >= FILES_MAX {
            return Err(Status::resource_exhausted("the session has too many files open"));
        }
        files.insert(number, OpenFile { file: Arc::new(file), id, write });
        Ok(Response::new(OpenReply { file: number, size }))
    }

    async fn read(&self, request: Request<ReadRequest>) -> Result<Response<ReadReply>, Status> {
        let (session, folder) = (request.session()?.number(), self.clone());
        let ReadRequest { file, offset, length } = request.into_inner();
        let data = blocking(move || {
            let mut data = vec![0; length.min(PIECE_BYTES_MAX) as usize];
            let bytes = offset..offset.saturating_add(data.len() as u64);
            // Held until it is done: a lock that is granted while bytes are on their way would be none.
            let held = folder.held();
            let open = held.file(session, file)?;
            held.barred(session, open.id, &bytes, false)?;
            let read = open.file.read_at(&mut data, offset).map_err(|error| refused(&error))?;
            data.truncate(read);
            Ok(data)
        });
        Ok(Response::new(ReadReply { data: data.await? }))
    }

    async fn write(&self, request: Request<WriteRequest>) -> Result<Response<WriteReply>, Status> {
        let (session, folder) = (request.session()?.number(), self.clone());
        let WriteRequest { file, offset, data } = request.into_inner();
        if data.len() > PIECE_BYTES_MAX as usize {
            return Err(Status::invalid_argument("32 KiB at a time"));
        }
        let size = blocking(move || {
            let held = folder.held();
            let open = held.file(session, file)?;
            if !open.write {
                return Err(Status::permission_denied("the file is open for reading"));
            }
            let size = || Ok(open.file.metadata().map_err(|error| refused(&error))?.len());
            let offset = offset.map_or_else(size, Ok)?;
            held.barred(session, open.id, &(offset..offset.saturating_add(data.len() as u64)), true)?;
            open.file.write_all_at(&data, offset).map_err(|error| refused(&error))?;
            (folder.written)();
            size()
        });
        Ok(Response::new(WriteReply { size: size.await? }))
    }

    async fn lock(&self, request: Request<LockRequest>) -> Result<Response<LockReply>, Status> {
        let deadline = request.deadline().unwrap_or_else(|| Instant::now() + LONGEST);
        let session = request.session()?.number();
        let request = request.into_inner();
        let mut freed = self.freed.subscribe();
        loop {
            // The hook for the session's end closes the file, which ends the wait, too.
            let Err(by) = self.try_lock(session, &request)? else {
                return Ok(Response::new(LockReply {}));
            };
            if request.no_wait {
                return Err(locked(by));
            }
            let waited = timeout_at(deadline, freed.changed()).await;
            waited.map_err(|_| Status::deadline_exceeded(format!("session {by} still has it")))?.ok();
        }
    }

    async fn unlock(&self, request: Request<UnlockRequest>) -> Result<Response<UnlockReply>, Status> {
        let session = request.session()?.number();
        let UnlockRequest { file, range: bytes } = request.into_inner();
        let mut held = self.held();
        let id = held.file(session, file)?.id;
        if !held.locks.unlock(id, session, file, &range(bytes)?) {
            return Err(Status::not_found("there is no such lock"));
        }
        drop(held);
        self.freed.send_replace(());
        Ok(Response::new(UnlockReply {}))
    }

    async fn close(&self, request: Request<CloseRequest>) -> Result<Response<CloseReply>, Status> {
        let session = request.session()?.number();
        let file = request.into_inner().file;
        let mut held = self.held();
        held.file(session, file)?;
        if let Some(files) = held.files.get_mut(&session) {
            files.remove(&file);
        }
        held.locks.free(|lock| (lock.session, lock.file) == (session, file));
        drop(held);
        self.freed.send_replace(());
        Ok(Response::new(CloseReply {}))
    }
}

fn range(range: Option<crate::folder::Range>) -> Result<Range<u64>, Status> {
    let range = range.unwrap_or_default();
    let bytes = range.start..if range.end == 0 { u64::MAX } else { range.end };
    if bytes.is_empty() { Err(Status::invalid_argument("the range is empty")) } else { Ok(bytes) }
}

fn locked(by: SessionId) -> Status {
    Status::aborted(format!("session {by} has it locked"))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Status> + Send + 'static,
) -> Result<T, Status> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Status::internal("it was given up"))?
}
