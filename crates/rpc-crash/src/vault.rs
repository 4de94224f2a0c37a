//! The service that is killed at work.

pub mod streams;

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rpc_server::{SessionExt as _, Transaction};
use tonic::{Request, Response, Status, Streaming};

use self::streams::{Parts, Streams};
use crate::pb::entry::Then;
use crate::pb::vault_server::Vault as Service;
use crate::pb::{Booked, Entry, Noted, Part, Stored, Wanted};

/// Key of the count over all ids. Those of the ids begin with `id/`.
const TOTAL: &str = "total";

/// Keeps counts in the store, and beside it notes in a file and uploads in a directory.
#[derive(Debug, Clone)]
pub struct Vault {
    notes: Arc<Mutex<File>>,
    streams: Streams,
}

impl Vault {
    /// Opens the file of notes and the directory `streams` beside it, or makes them.
    ///
    /// # Errors
    ///
    /// They are not to be had.
    pub fn open(notes: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(notes)?;
        let streams = Streams::open(&notes.with_file_name("streams"))?;
        Ok(Self { notes: Arc::new(Mutex::new(file)), streams })
    }

    async fn note(&self, entry: Entry) -> Result<Response<Noted>, Status> {
        let half = Duration::from_micros(u64::from(entry.delay_us) / 2);
        tokio::time::sleep(half).await;
        // One write: a crash leaves the whole line or nothing of it.
        let line = format!("{}\n", entry.id);
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).write_all(line.as_bytes())?;
        tokio::time::sleep(half).await;
        Ok(Response::new(Noted { id: entry.id }))
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
impl Service for Vault {
    type DownloadStream = Parts;
    type ChatStream = Parts;

    async fn upload(&self, request: Request<Streaming<Part>>) -> Result<Response<Stored>, Status> {
        self.streams.upload(request).await
    }

    async fn download(&self, request: Request<Wanted>) -> Result<Response<Parts>, Status> {
        self.streams.download(&request)
    }

    async fn chat(&self, request: Request<Streaming<Part>>) -> Result<Response<Parts>, Status> {
        self.streams.chat(request)
    }

    async fn book(&self, request: Request<Entry>) -> Result<Response<Booked>, Status> {
        let transaction = request.transaction()?.clone();
        let entry = request.into_inner();
        let then = entry.then();
        let Entry { id, delay_us, .. } = entry;
        let count = add_one(&transaction, &format!("id/{id}")).await?;
        tokio::time::sleep(Duration::from_micros(u64::from(delay_us))).await;
        let total = add_one(&transaction, TOTAL).await?;
        match then {
            Then::Answer => Ok(Response::new(Booked { id, count, total })),
            Then::Fail => Err(Status::failed_precondition("the entry wants the handler to fail")),
            Then::Panic => panic!("the entry wants the handler to panic"),
        }
    }

    async fn note(&self, request: Request<Entry>) -> Result<Response<Noted>, Status> {
        self.note(request.into_inner()).await
    }

    async fn note_again(&self, request: Request<Entry>) -> Result<Response<Noted>, Status> {
        self.note(request.into_inner()).await
    }
}
