//! Who waits for the store.

use rpc_core::error::Reason;
use rpc_core::id::CallId;

use crate::sync::oneshot;

/// What became of the record of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Recorded {
    /// The store has it.
    Yes,
    /// Its transaction was refused: the handler runs again.
    Again,
    /// It was not kept.
    No(Reason),
}

/// Waits for the record of a call.
#[derive(Debug)]
pub(crate) struct Recording(oneshot::Receiver<Recorded>);

impl Recording {
    pub(crate) async fn wait(self) -> Recorded {
        self.0.await.unwrap_or(Recorded::No(Reason::SessionEnded))
    }
}

/// A call, and who waits for a record of it.
pub(super) type Waiting = (CallId, oneshot::Sender<Recorded>);

/// A new wait, and what ends it.
pub(super) fn pair() -> (oneshot::Sender<Recorded>, Recording) {
    let (told, waiting) = oneshot::channel();
    (told, Recording(waiting))
}

/// Tells those who wait for `call`.
pub(super) fn tell(waiting: &mut Vec<Waiting>, call: CallId, recorded: Recorded) {
    for (_, told) in waiting.extract_if(.., |(of, _)| *of == call) {
        // Whoever waited may be gone; what was recorded stays so.
        let _ = told.send(recorded);
    }
}
