//! Checkpoints of responses: `response.into_checkpointed()?`.

use rpc_core::error::Reason;
use rpc_flow::{Checkpointed, Checkpoints, Dialog};
use tonic::{Response, Status, Streaming};

use crate::error::refusal;

/// What a caller does with the sync points of its call.
///
/// The messages of a response are secured by the session, when their reader asked for what follows them. A caller that is
/// to find them again after it was killed reads the points too, and says of each what it has safe. The `secure` of a
/// method's policy speaks of the handler, who receives the requests: whether the responses are secured by the caller is
/// decided here and nowhere else.
pub trait CheckpointsExt: Sized {
    /// The checkpoints of the call: how far it has come, and where it goes on.
    ///
    /// # Errors
    ///
    /// FAILED_PRECONDITION with the reason CHECKPOINTS_REQUIRED: the call has none, because its method has no
    /// `checkpoint`, or its session lacks the unit resume.
    fn checkpoints(&self) -> Result<Checkpoints, Status>;

    /// The dialog of the call. A call whose handler answers only when it was spoken to has no response before:
    /// [`Checkpoints::dialog`] is there before the call.
    ///
    /// # Errors
    ///
    /// FAILED_PRECONDITION with the reason DIALOG_REQUIRED: the call has none, because its method has no `dialog`, or its
    /// session neither the unit resume nor any unit of the dialog.
    fn dialog(&self) -> Result<Dialog, Status>;

    /// The messages of the response with the sync points between them, none of which is secured before the caller says
    /// so. What a response has beside its messages is to be read before.
    ///
    /// # Errors
    ///
    /// As [`checkpoints`](Self::checkpoints). The response is dropped then, which cancels its call.
    fn into_checkpointed<T>(self) -> Result<Checkpointed<T>, Status>
    where
        Self: Into<Response<Streaming<T>>>,
    {
        let checkpoints = self.checkpoints()?;
        Checkpointed::new(self.into().into_inner(), &checkpoints)
    }
}

impl<M> CheckpointsExt for Response<M> {
    fn checkpoints(&self) -> Result<Checkpoints, Status> {
        self.extensions().get::<Checkpoints>().cloned().ok_or_else(|| {
            let message = "the call has no checkpoints: its method needs a `checkpoint`, and its session the unit resume";
            refusal(Reason::CheckpointsRequired, message, None)
        })
    }

    fn dialog(&self) -> Result<Dialog, Status> {
        let dialog = self.extensions().get::<Checkpoints>().map(Checkpoints::dialog);
        dialog.filter(|dialog| dialog.check().is_ok()).ok_or_else(|| {
            let message = "the call has no dialog: its method needs a `checkpoint` and a `dialog`, which those have that stream \
                           both ways, and its session the unit resume and one of the dialog";
            refusal(Reason::DialogRequired, message, None)
        })
    }
}
