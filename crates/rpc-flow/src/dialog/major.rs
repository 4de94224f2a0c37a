//! Major sync points: where a dialogue unit ends.

use bytes::Bytes;
use rpc_core::dialog::{Action, DialogError};
use rpc_core::frame::PointKind;
use tonic::Status;

use super::handle::Dialog;
use crate::shared::{Shared, State};
use crate::status;

/// A major point that is to be placed when the application's body has nothing ready.
#[derive(Debug, Default)]
pub(super) struct Placing {
    due: Option<(u64, Bytes)>,
    placed: Option<(u64, Result<(), Status>)>,
    next: u64,
}

impl Placing {
    pub(super) fn is_due(&self) -> bool {
        self.due.is_some()
    }
}

/// One that somebody waits for. Dropped before it was placed, it is not.
struct Asked<'a> {
    shared: &'a Shared,
    id: u64,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.shared.with(|state| {
            let placing = &mut state.desk.placing;
            placing.due.take_if(|(id, _)| *id == self.id);
            placing.placed.take_if(|(id, _)| *id == self.id);
            state.desk.has_news = true;
        });
    }
}

impl Dialog {
    /// Ends the dialogue unit (S-SYNC-MAJOR): a major sync point with `state`, at most 64 KiB, behind all messages that the
    /// application has given, then waits until the other side has answered it: until both sides have secured everything
    /// before it, and this application has taken what the other had sent. Nothing of this side's is written meanwhile.
    ///
    /// ```
    /// # use rpc_flow::Dialog;
    /// # use tokio::sync::mpsc;
    /// # use tonic::Status;
    /// // Each batch is safe at the other side before the next one begins.
    /// async fn ship(dialog: &Dialog, say: &mpsc::Sender<u64>, batches: Vec<Vec<u64>>) -> Result<(), Status> {
    ///     for batch in batches {
    ///         for page in batch {
    ///             let _ = say.send(page).await; // the stub's request reads the other end
    ///         }
    ///         dialog.major("").await?;
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// A producer that is to place it exactly uses [`Outgoing::MajorPoint`](crate::Outgoing::MajorPoint) and
    /// [`unit_closed`](Self::unit_closed).
    ///
    /// # Errors
    ///
    /// With the reason UNIT_UNSUPPORTED: the unit major synchronize is off; DIALOG_TOKEN_MISSING: one of the tokens that it
    /// needs is the other side's: *major/activity*, and in half duplex *data* and *synchronize-minor*; FIELD_INVALID: the
    /// state is too long, or this side's messages have ended. Otherwise as everything that [waits](Self#waiting).
    ///
    /// # Cancel safety
    ///
    /// Dropped before the point was placed, it is not. Afterwards it is answered all the same, and
    /// [`unit_closed`](Self::unit_closed) waits for that.
    pub async fn major(&self, state: impl Into<Bytes>) -> Result<(), Status> {
        let (shared, bytes) = (self.shared().await?, state.into());
        let id = shared.when(|state| state.ask_major(&bytes)).await?;
        let asked = Asked { shared: &shared, id };
        shared
            .when(|state| {
                let placing = &mut state.desk.placing;
                placing.placed.take_if(|(id, _)| *id == asked.id).map(|(_, placed)| placed)
            })
            .await?;
        self.unit_closed().await
    }

    /// Waits until no major point of this side's waits for its answer.
    ///
    /// # Errors
    ///
    /// As everything that [waits](Self#waiting).
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    pub async fn unit_closed(&self) -> Result<(), Status> {
        let shared = self.shared().await?;
        shared.when(|state| (!state.flow.is_closing_unit()).then_some(Ok(()))).await
    }
}

impl State {
    /// Asks for a major point where the application's body has nothing ready; `None` while another one waits for that.
    fn ask_major(&mut self, bytes: &Bytes) -> Option<Result<u64, Status>> {
        if let Some(over) = self.over() {
            return Some(Err(over));
        }
        match self.flow.dialog()?.permits(Action::Major) {
            Err(DialogError::Busy) => return None,
            Err(error) => return Some(Err(status::refused(&error))),
            Ok(()) => {}
        }
        let placing = &mut self.desk.placing;
        if placing.due.is_some() || placing.placed.is_some() || self.flow.is_closing_unit() {
            return None;
        }
        let id = placing.next;
        placing.next += 1;
        placing.due = Some((id, bytes.clone()));
        self.ask_body();
        Some(Ok(id))
    }

    /// Places it: all that the application gave is here.
    pub(super) fn place_major(&mut self) {
        let Some((id, bytes)) = self.desk.placing.due.take() else { return };
        let placed = self.flow.app_places(PointKind::Major, bytes);
        let placed = placed.map_err(|error| status::not_placed(&error));
        (self.desk.placing.placed, self.desk.has_news) = (Some((id, placed)), true);
    }
}
