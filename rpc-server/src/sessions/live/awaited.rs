//! Later attempts that wait for the reply of a handler.

use rpc_core::id::CallId;
use rpc_core::record::Reply;

use crate::sync::watch;

/// The running calls that later attempts wait for. One of them comes here with its call's first such attempt, and goes when
/// its handler has ended.
#[derive(Default)]
pub(super) struct Awaited(Vec<(CallId, watch::Sender<Option<Reply>>)>);

impl Awaited {
    /// What those who wait for `call`, which runs, will be told.
    pub(super) fn reply_of(&mut self, call: CallId) -> watch::Receiver<Option<Reply>> {
        if let Some((_, reply)) = self.0.iter().find(|(running, _)| *running == call) {
            return reply.subscribe();
        }
        let (reply, awaited) = watch::channel(None);
        self.0.push((call, reply));
        awaited
    }

    /// The handler of `call` has ended, with this reply if it came to one.
    pub(super) fn finished(&mut self, call: CallId, reply: Option<&Reply>) {
        for (_, awaited) in self.0.extract_if(.., |(running, _)| *running == call) {
            awaited.send_replace(reply.cloned());
        }
    }

    /// Whether no later attempt waits.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
