//! What this side asks the other for.

use std::sync::Arc;

use rpc_core::dialog::{Dialog, DialogError, TokenSet};
use rpc_core::frame::dialog::Please;
use rpc_core::time::Timestamp;
use tokio::time::Instant;
use tonic::Status;

use crate::shared::{Shared, State};
use crate::status;

/// Requests of one side that wait at the same time.
const ASKS_MAX: usize = 16;

/// All that the tasks of this side ask for. The other side hears one request.
#[derive(Debug, Default)]
pub(super) struct Asks {
    asks: Vec<Ask>,
    next: u64,
    /// How long the other side was told that it is waited for.
    until: Option<Instant>,
    /// It is to be told, and could not be.
    is_due: bool,
}

#[derive(Debug)]
struct Ask {
    id: u64,
    tokens: TokenSet,
    priority: u32,
    until: Instant,
}

impl Asks {
    fn add(&mut self, tokens: TokenSet, priority: u32, until: Instant) -> Option<u64> {
        if self.asks.len() == ASKS_MAX {
            return None;
        }
        let id = self.next;
        self.next += 1;
        self.asks.push(Ask { id, tokens, priority, until });
        Some(id)
    }

    fn remove(&mut self, id: u64) {
        self.asks.retain(|ask| ask.id != id);
    }

    /// All of it in one, of what this side has not; without tokens: nothing more.
    fn together(&self, owned: TokenSet, now: Instant) -> (Please, Option<Instant>) {
        let (mut please, mut latest) = (Please::default(), None);
        for Ask { tokens, priority, until, .. } in &self.asks {
            let missing = tokens.without(owned);
            if missing.is_empty() {
                continue;
            }
            let within = until.saturating_duration_since(now).as_millis().max(1);
            please.tokens = please.tokens.or(missing);
            please.priority = please.priority.max(*priority);
            please.within_ms = please.within_ms.max(u64::try_from(within).unwrap_or(u64::MAX));
            latest = latest.max(Some(*until));
        }
        (please, latest)
    }
}

/// One request. Dropped, it is withdrawn.
#[derive(Debug)]
pub(super) struct Asking<'a> {
    shared: &'a Arc<Shared>,
    tokens: TokenSet,
    id: u64,
}

impl<'a> Asking<'a> {
    pub(super) fn new(
        shared: &'a Arc<Shared>,
        tokens: TokenSet,
        priority: u32,
        until: Instant,
    ) -> Result<Self, Status> {
        let now = shared.now();
        let id = shared.with(|state| {
            tokens.iter().try_for_each(|token| state.has_token(token))?;
            state.over().map_or(Ok(()), Err)?;
            let asks = &mut state.desk.asks;
            let id = asks.add(tokens, priority, until).ok_or_else(|| status::asks_exhausted(ASKS_MAX))?;
            if let Err(refused) = state.restate(now) {
                state.desk.asks.remove(id);
                return Err(refused);
            }
            Ok(id)
        })?;
        Ok(Self { shared, tokens, id })
    }

    /// Waits until this side has all of it.
    pub(super) async fn granted(&self) -> Result<(), Status> {
        self.shared.when(|state| self.tokens.without(state.owned()).is_empty().then_some(Ok(()))).await
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        let now = self.shared.now();
        self.shared.with(|state| {
            state.desk.asks.remove(self.id);
            // A withdrawal that cannot be said is one of a stream that is over.
            let _ = state.restate(now);
        });
    }
}

impl State {
    /// Says what is asked for now, where that is something else than what was said.
    fn restate(&mut self, now: Timestamp) -> Result<(), Status> {
        let owned = self.owned();
        let asks = &mut self.desk.asks;
        let (please, until) = asks.together(owned, Instant::now());
        let said = self.flow.dialog().and_then(Dialog::wanted).unwrap_or_default();
        let is_said = (please.tokens, please.priority) == (said.tokens, said.priority);
        if please.tokens.is_empty() && said.tokens.is_empty() || is_said && until <= asks.until {
            return Ok(());
        }
        // What this side is still giving, it asks for when the other side has it.
        if self.is_giving(please.tokens) {
            self.desk.asks.is_due = true;
            return Ok(());
        }
        match self.flow.please(please, now) {
            Err(DialogError::Busy) => self.desk.asks.is_due = true,
            said => {
                said.map_err(|error| status::refused(&error))?;
                (self.desk.asks.until, self.desk.asks.is_due) = (until, false);
                self.rouse_outgoing();
            }
        }
        Ok(())
    }

    /// Says what could not be said during a resynchronization, or while this side was giving it.
    pub(super) fn ask_again(&mut self, now: Timestamp) {
        if std::mem::take(&mut self.desk.asks.is_due) {
            // What the dialog does not permit any more is not this side's to ask for.
            let _ = self.restate(now);
        }
    }
}
