//! Who may release the session, and what the server wants: this side's part of a negotiated release (X.215 table 8).

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rpc_core::negotiate::{Agreement, FirstTurn, Unit};
use rpc_core::release::{ReleaseToken, ReleaseTokenError};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::core::Core;
use crate::state::Life;

/// What this side knows of the end of the session.
#[derive(Debug)]
pub(crate) struct Parting {
    token: watch::Sender<ReleaseToken>,
    /// The server wants the session to be released by then.
    wanted: watch::Sender<Option<Instant>>,
    /// Who of the program wants the session to go on.
    holds: AtomicUsize,
}

impl Parting {
    /// Of a session that was opened, or that another process has had.
    pub(crate) fn new(agreement: &Agreement, is_opened: bool) -> Self {
        let is_available = agreement.units.contains(Unit::NegotiatedRelease);
        let is_first = agreement.first_turn == FirstTurn::Initiator;
        let make = if is_opened { ReleaseToken::new } else { ReleaseToken::unknown };
        Self {
            token: watch::Sender::new(make(is_available, is_first)),
            wanted: watch::Sender::new(None),
            holds: AtomicUsize::new(0),
        }
    }

    /// The release token, as this side knows it.
    pub(crate) fn token(&self) -> &watch::Sender<ReleaseToken> {
        &self.token
    }

    /// Until when the server wants the session to be released.
    pub(crate) fn wanted(&self) -> &watch::Sender<Option<Instant>> {
        &self.wanted
    }

    /// Whether this side may release: it owns the token, answers the server, or does not know and may be right.
    //= D-21
    //= L-38
    pub(crate) fn may_release(&self) -> bool {
        let token = self.token.borrow();
        token.may_release() || self.wanted.borrow().is_some() || token.holdings().is_empty()
    }

    /// Whether the program wants the session to go on.
    pub(crate) fn is_held(&self) -> bool {
        self.holds.load(Ordering::Acquire) > 0
    }
}

/// Keeps a session from being released because the server asks for that; from
/// [`Session::hold_release`](crate::Session::hold_release). Dropped, it no longer does.
#[derive(Debug)]
#[must_use = "dropped, it holds nothing"]
pub struct ReleaseHold(crate::Session);

impl ReleaseHold {
    pub(crate) fn new(session: crate::Session) -> Result<Self, ReleaseTokenError> {
        let parting = &session.core().parting;
        if !parting.token.borrow().is_available() {
            return Err(ReleaseTokenError::UnitOff);
        }
        parting.holds.fetch_add(1, Ordering::AcqRel);
        Ok(Self(session))
    }
}

impl Drop for ReleaseHold {
    fn drop(&mut self) {
        self.0.core().parting.holds.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Hands the release token over.
//= L-39
pub(crate) fn give(core: &Core) -> Result<(), ReleaseTokenError> {
    change(core, ReleaseToken::give)
}

/// Asks for the release token until it is here.
pub(crate) async fn please(core: &Core, priority: u32, within: Duration) -> Result<(), ReleaseTokenError> {
    let until = Instant::now() + within;
    change(core, |token| token.want(Some(priority)))?;
    let (mut token, mut life) = (core.parting.token.subscribe(), core.life.subscribe());
    tokio::select! {
        // `core` holds the other end of both.
        _ = token.wait_for(ReleaseToken::is_mine) => Ok(()),
        _ = life.wait_for(|life| matches!(life, Life::Ended(_))) => Err(ReleaseTokenError::Ended),
        () = sleep_until(until) => {
            change(core, |token| token.want(None))?;
            Err(ReleaseTokenError::Unanswered)
        }
    }
}

fn change(
    core: &Core,
    change: impl FnOnce(&mut ReleaseToken) -> Result<(), ReleaseTokenError>,
) -> Result<(), ReleaseTokenError> {
    if matches!(*core.life.borrow(), Life::Ended(_)) {
        return Err(ReleaseTokenError::Ended);
    }
    let mut changed = Ok(());
    core.parting.token.send_if_modified(|token| {
        changed = change(token);
        changed.is_ok()
    });
    changed
}
