//! Sessions against a server that breaks in every way it can, over streams in memory, in virtual time.

mod activities;
mod calls;
mod checkpoints;
mod deadlines;
mod fake;
mod keeping;
mod opening;
mod plain;
mod resuming;
mod saving;
mod secrets;
mod stream_server;
mod streams;

use std::time::Duration;

use bytes::{Buf, BufMut as _};
use rpc_core::error::{Outcome, Reason};
use rpc_proto::status::Refusal;
use tokio::time::timeout;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Response, Status, Streaming};

use crate::{Event, Events, Session};

/// Messages that are bytes and nothing else.
#[derive(Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, dst: &mut EncodeBuf<'_>) -> Result<(), Status> {
        dst.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, src: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        Ok(Some(src.copy_to_bytes(src.remaining()).to_vec()))
    }
}

/// Virtual time after which a wait is a failure and not a wait.
const NEVER: Duration = Duration::from_secs(3_600);

/// Waits for an event of which `wanted` is true.
#[track_caller]
fn event(events: &mut Events, wanted: impl Fn(&Event) -> bool) -> impl Future<Output = ()> {
    let at = std::panic::Location::caller();
    async move {
        let waiting = async { while !wanted(&events.next().await.expect("the session is gone")) {} };
        assert!(timeout(NEVER, waiting).await.is_ok(), "no such event, awaited at {at}");
    }
}

/// Calls a method through tonic, as a generated stub does.
async fn call(session: &Session, path: &'static str) -> Result<Response<Vec<u8>>, Status> {
    request(session, path, tonic::Request::new(b"ping".to_vec())).await
}

async fn request(
    session: &Session,
    path: &'static str,
    request: tonic::Request<Vec<u8>>,
) -> Result<Response<Vec<u8>>, Status> {
    let mut stub = tonic::client::Grpc::new(session.clone());
    stub.ready().await?;
    let calling = stub.unary(request, http::uri::PathAndQuery::from_static(path), Raw);
    timeout(NEVER, calling).await.expect("the call hangs")
}

async fn stream(
    session: &Session,
    path: &'static str,
    request: tonic::Request<Vec<u8>>,
) -> Result<Response<Streaming<Vec<u8>>>, Status> {
    let mut stub = tonic::client::Grpc::new(session.clone());
    stub.server_streaming(request, http::uri::PathAndQuery::from_static(path), Raw).await
}

fn within(timeout: Duration) -> tonic::Request<Vec<u8>> {
    let mut request = tonic::Request::new(b"ping".to_vec());
    request.set_timeout(timeout);
    request
}

fn refusal(reason: Reason, outcome: Outcome) -> fake::Act {
    fake::Act::Fail(Refusal::new(reason, "as the test wants").outcome(outcome).into_status())
}
