//! What passes by the messages: typed data, expedited data and reports.

use std::fmt;

use bytes::Bytes;
use rpc_core::dialog::DialogError;
use rpc_core::frame::dialog::{Cause, Exception};
use rpc_core::negotiate::Unit;
use rpc_core::stream::flow::Flow;
use tonic::Status;

use super::handle::Dialog;
use crate::shared::State;
use crate::status;

/// A piece of typed data that came. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Typed {
    /// What it holds.
    pub bytes: Bytes,
}

impl fmt::Debug for Typed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Typed(<{} bytes>)", self.bytes.len())
    }
}

impl Dialog {
    /// Sends typed data: at most 64 KiB, against the turn, behind all messages that the stream has read of the application
    /// so far and before those that it reads later (S-TYPED-DATA). Returns when it is on its way: nothing of it is lost with
    /// a connection.
    ///
    /// Waits while 16 pieces were not [taken](Self::typed) by the other application.
    ///
    /// ```
    /// # use rpc_flow::Dialog;
    /// # use tonic::Status;
    /// // The listener says that it hears, while the other side speaks.
    /// async fn nod(dialog: &Dialog) -> Result<(), Status> {
    ///     dialog.send_typed("I see").await
    /// }
    ///
    /// // And the speaker sees it.
    /// async fn watch(dialog: &Dialog) -> Result<(), Status> {
    ///     while let Some(typed) = dialog.typed().await? {
    ///         println!("the other side says {} bytes", typed.bytes.len());
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// With the reason UNIT_UNSUPPORTED: the unit typed data is off; FIELD_INVALID: too long. Otherwise as everything that
    /// [waits](Self#waiting).
    ///
    /// # Cancel safety
    ///
    /// Dropped before it returned, nothing was sent.
    //= D-8
    pub async fn send_typed(&self, bytes: impl Into<Bytes>) -> Result<(), Status> {
        let (shared, bytes) = (self.shared().await?, bytes.into());
        shared.when(|state| state.send_when_room(|flow| flow.send_typed(bytes.clone()))).await
    }

    /// The next piece of typed data, in its order among the messages: it is there when those before it have arrived,
    /// whether or not the application has read them. `None` when no more will come.
    ///
    /// # Errors
    ///
    /// With the reason UNIT_UNSUPPORTED: the unit typed data is off. Otherwise as everything that [waits](Self#waiting).
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    pub async fn typed(&self) -> Result<Option<Typed>, Status> {
        let shared = self.shared().await?;
        shared.has_unit(Unit::TypedData)?;
        let typed = shared.when_or_end(|state| state.take(Flow::take_typed)).await?;
        Ok(typed.map(|bytes| Typed { bytes }))
    }

    /// Sends expedited data: at most 4 KiB, past flow control and against the turn, before everything that is sent after it
    /// (S-EXPEDITED-DATA). Returns when it is on its way: nothing of it is lost with a connection.
    ///
    /// Waits while 16 pieces were not [taken](Self::expedited) by the other application.
    ///
    /// # Errors
    ///
    /// With the reason UNIT_UNSUPPORTED: the unit expedited data is off; FIELD_INVALID: too long. Otherwise as everything
    /// that [waits](Self#waiting).
    ///
    /// # Cancel safety
    ///
    /// Dropped before it returned, nothing was sent.
    pub async fn send_expedited(&self, bytes: impl Into<Bytes>) -> Result<(), Status> {
        let (shared, bytes) = (self.shared().await?, bytes.into());
        shared.when(|state| state.send_when_room(|flow| flow.send_expedited(bytes.clone()))).await
    }

    /// The next piece of expedited data, as soon as it came; `None` when no more will come.
    ///
    /// # Errors
    ///
    /// With the reason UNIT_UNSUPPORTED: the unit expedited data is off. Otherwise as everything that
    /// [waits](Self#waiting).
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    pub async fn expedited(&self) -> Result<Option<Bytes>, Status> {
        let shared = self.shared().await?;
        shared.has_unit(Unit::ExpeditedData)?;
        shared.when_or_end(|state| state.take(Flow::take_expedited)).await
    }

    /// Reports trouble to the side that speaks, without ending the stream (S-U-EXCEPTION-REPORT). `detail`, at most 512
    /// bytes, is for people. The side that was told gives the turn, [resynchronizes](Self::resynchronize), or ends the
    /// call; until then there is one report only.
    ///
    /// # Errors
    ///
    /// With the reason UNIT_UNSUPPORTED: the unit exceptions is off, or the stream is not half duplex; FIELD_INVALID: it is
    /// this side's turn, or `detail` is too long; DIALOG_UNANSWERED: a report is outstanding; DIALOG_REQUIRED: no dialog,
    /// or not yet. Otherwise the error with which the call is over.
    pub fn report(&self, cause: Cause, detail: impl Into<String>) -> Result<(), Status> {
        let exception = Exception { cause, detail: detail.into() };
        self.shared_now()?.with(|state| {
            state.over().map_or(Ok(()), Err)?;
            let done = state.flow.report(exception);
            state.rouse_outgoing();
            done.map_err(|error| status::refused(&error))
        })
    }

    /// Waits for a report of the other side; `None` when no more will come. Of those that nobody has taken the last one is
    /// told.
    ///
    /// # Errors
    ///
    /// With the reason UNIT_UNSUPPORTED: the unit exceptions is off. Otherwise as everything that [waits](Self#waiting).
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    pub async fn exception(&self) -> Result<Option<Exception>, Status> {
        let shared = self.shared().await?;
        shared.has_unit(Unit::Exceptions)?;
        shared.when_or_end(|state| state.take(Flow::take_exception)).await
    }
}

impl State {
    /// Says a piece, if there is room for it.
    fn send_when_room(
        &mut self,
        say: impl FnOnce(&mut Flow) -> Result<(), DialogError>,
    ) -> Option<Result<(), Status>> {
        if let Some(over) = self.over() {
            return Some(Err(over));
        }
        match say(&mut self.flow) {
            Err(DialogError::Full(_) | DialogError::Busy) => None,
            said => {
                self.rouse_outgoing();
                Some(said.map_err(|error| status::refused(&error)))
            }
        }
    }

    /// Takes what came, which the other side is told.
    fn take<T>(&mut self, take: impl FnOnce(&mut Flow) -> Option<T>) -> Option<Result<T, Status>> {
        let taken = take(&mut self.flow)?;
        self.rouse_outgoing();
        Some(Ok(taken))
    }
}
