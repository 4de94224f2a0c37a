//! The answer of a call that has ended at a server that is gone, for a client whose stream lives.

use rpc_core::error::Code;
use rpc_core::record::Reply;
use rpc_core::session::Session;
use rpc_flow::Stream;
use rpc_proto::status::Refusal;

use super::beginning::Needs;
use super::handler::give;
use super::{AdmissionLayer, Protected, recorded};

/// What the stream needs that gives the answer: its client knows an end by END. `None`: the record is enough, or there is
/// no more than that.
pub(super) fn needs<'a>(
    layer: &'a AdmissionLayer,
    session: &Session,
    call: &Protected,
    reply: &Reply,
) -> Result<Option<Needs<'a>>, Refusal> {
    match session.resumption(call.attempt.call) {
        Some(end) if reply.code == Code::Ok as u8 => layer.look_again(session, end.clone()).map(Some),
        Some(_) | None => Ok(None),
    }
}

/// Gives the stream its answer. Of many messages the client has all, and the record has none.
pub(super) async fn answer(stream: &Stream, reply: &Reply) {
    give(stream, reply).await;
    stream.conclude(recorded::trailers(reply));
}
