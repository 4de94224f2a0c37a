//! What a stream has secured, on its way to the store.

use std::convert::Infallible;
use std::future::pending;

use futures_util::FutureExt as _;
use rpc_core::error::Reason;
use rpc_core::stream::position::Serial;
use rpc_core::stream::secured::Resumption;
use rpc_flow::{Stream, View};
use tonic::Status;

use super::super::{Protected, not_recorded};
use super::requests_stream;
use crate::sessions::Recorded;
use crate::sessions::activities::Working;

/// Keeps what is secured of a durable stream, for as long as this is polled. If that fails, the stream does.
///
/// # Cancel safety
///
/// What is on its way to the store stays so, and the stream has not heard of it.
//= S-28
pub(super) async fn store(call: &Protected, stream: &Stream, working: Option<&Working>) -> Infallible {
    let mut last = serial(&stream.resumption());
    while let Some(at) = unstored(call, stream, last).await {
        last = serial(&at);
        let activity = working.map(|working| working.record(at.clone(), None));
        match call.live.stream_secured(call.attempt.call, at.clone(), activity).await {
            Recorded::Yes | Recorded::Again => stream.stored(&at),
            Recorded::No(reason) => {
                stream.store_failed(refused(reason));
                break;
            }
        }
    }
    pending().await
}

/// What is to be stored next. Of the responses the point `last` is stored.
///
/// A request that is one message is not secured before the reply is recorded, although the handler has it: a handler that
/// is called again reads it again, and it is the client that keeps it so long.
async fn unstored(call: &Protected, stream: &Stream, last: Serial) -> Option<Resumption> {
    if requests_stream(call.policy) {
        return stream.unstored().await;
    }
    loop {
        let at = Resumption { requests: None, ..stream.unstored().await? };
        if serial(&at) > last {
            return Some(at);
        }
        // Not before there is something to wait for: while somebody looks on, each step costs a copy of the view.
        let mut views = stream.watch();
        let is_new = |view: &View| {
            view.failed.is_some() || view.confirmed.as_ref().is_some_and(|confirmed| confirmed.serial > last)
        };
        views.wait_for(is_new).await.ok()?;
    }
}

/// Of the responses.
fn serial(at: &Resumption) -> Serial {
    at.responses.as_ref().map_or(Serial::NONE, |point| point.serial)
}

/// Where a durable stream has come to its end: all that is secured, whether or not it is stored. The record of the reply
/// stores it.
pub(super) fn end(stream: &Stream) -> Resumption {
    stream.unstored().now_or_never().flatten().unwrap_or_else(|| stream.resumption())
}

/// What a stream is over with whose record was not kept.
//= C-59
pub(super) fn refused(reason: Reason) -> Status {
    not_recorded(reason).into_status()
}
