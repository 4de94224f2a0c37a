//! What the acceptor may do about the end of a session: hand the release token over, ask for it, and ask the initiator for
//! the release.

use super::Session;
use super::effect::{Answer, Effect, Event, RequestId};
use super::lifecycle::{Input, State};
use super::release::WAITING_MAX;
use crate::dialog::Holding;
use crate::negotiate::Unit;
use crate::release::{ReleaseToken, ReleaseTokenError};
use crate::stream::error::Violation;
use crate::time::Timestamp;

/// The acceptor wants the session to be released.
#[derive(Debug, Clone, Hash)]
pub(super) struct Wanted {
    pub(super) until: Timestamp,
    requests: Vec<RequestId>,
}

/// What the initiator is to be told on each connection, as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Said {
    /// Who owns the release token. Empty where there is none, or this server does not know.
    pub holdings: Vec<Holding>,
    /// The acceptor asks for it, with this priority.
    pub asks: Option<u32>,
    /// The acceptor wants the session to be released by then.
    pub release_by: Option<Timestamp>,
}

impl Session {
    /// Asks the initiator to release the session by `until`, after which it is aborted. `request` is answered when the
    /// session has ended, or the initiator goes on.
    ///
    /// # Errors
    ///
    /// The initiator owns the release token, too many wait already, or the session has ended.
    //= L-40
    pub fn want_release(&mut self, until: Timestamp, request: RequestId) -> Result<(), ReleaseTokenError> {
        if self.state.end().is_some() {
            return Err(ReleaseTokenError::Ended);
        }
        if self.token.as_ref().is_some_and(|token| !token.may_release()) {
            return Err(ReleaseTokenError::Missing);
        }
        let wanted = self.wanted.get_or_insert_with(|| Box::new(Wanted { until, requests: Vec::new() }));
        if wanted.requests.len() >= WAITING_MAX {
            return Err(ReleaseTokenError::Busy);
        }
        wanted.until = wanted.until.min(until);
        wanted.requests.push(request);
        self.release_moved();
        Ok(())
    }

    /// The initiator goes on although it was asked to release the session. Where *negotiated release* is off it has no
    /// choice, and this has no effect.
    //= L-41
    pub fn release_declined(&mut self) {
        if self.record.agreement.units.contains(Unit::NegotiatedRelease) {
            self.answer_wanted(&Answer::ReleaseDeclined);
            self.release_moved();
        }
    }

    /// Hands the release token to the initiator.
    ///
    /// # Errors
    ///
    /// There is none, or it is the initiator's already, or the session has ended.
    pub fn give_release(&mut self) -> Result<(), ReleaseTokenError> {
        self.with_token(ReleaseToken::give)
    }

    /// The acceptor would like to have the release token; `None`: no longer.
    ///
    /// # Errors
    ///
    /// There is none, or the session has ended.
    pub fn please_release(&mut self, priority: Option<u32>) -> Result<(), ReleaseTokenError> {
        self.with_token(|token| token.want(priority))
    }

    /// The initiator says who owns the release token.
    ///
    /// # Errors
    ///
    /// That cannot be; nothing has changed.
    //= L-39
    pub fn release_heard(&mut self, holdings: &[Holding]) -> Result<(), Violation> {
        match &mut self.token {
            Some(token) => token.heard(holdings)?,
            None if holdings.is_empty() => {}
            None => return Err(Violation::Tokens),
        }
        self.release_moved();
        Ok(())
    }

    /// The initiator would like to have the release token; `None`: no longer.
    pub fn release_asked(&mut self, priority: Option<u32>) {
        if let Some(token) = &mut self.token {
            token.heard_asked(priority);
        }
        self.release_moved();
    }

    /// The release token, as this side knows it; `None` where it is not available.
    pub fn release_token(&self) -> Option<&ReleaseToken> {
        self.token.as_deref()
    }

    /// What the initiator is to be told, on each connection first of all and when it has changed.
    ///
    /// It is not asked for the release while it is at that: its own goes first and answers both.
    //= D-23
    pub fn said(&self) -> Said {
        let release_by = match self.state {
            State::Opening | State::Connected | State::Lingering => {
                self.wanted.as_ref().map(|wanted| wanted.until)
            }
            State::Releasing | State::Ended(_) => None,
        };
        let token = self.release_token();
        Said {
            holdings: token.map(ReleaseToken::holdings).unwrap_or_default(),
            asks: token.and_then(ReleaseToken::wanted),
            release_by,
        }
    }

    /// Whether the initiator may release the session now: it owns the token, or answers the acceptor, who does.
    //= D-21
    //= L-38
    pub(super) fn initiator_may_release(&self) -> bool {
        self.wanted.is_some() || self.token.as_ref().is_none_or(|token| token.other_may_release())
    }

    /// Nobody released the session in time.
    //= L-40
    pub(super) fn wanted_time_up(&mut self) {
        if self.step(Input::Abort) {
            self.finish();
        }
    }

    /// Answers those who wait for the release.
    pub(super) fn answer_wanted(&mut self, answer: &Answer) {
        for request in self.take_wanted() {
            self.outbox.at_once(Effect::Answer { request, answer: answer.clone() });
        }
    }

    pub(super) fn take_wanted(&mut self) -> Vec<RequestId> {
        self.wanted.take().map(|wanted| wanted.requests).unwrap_or_default()
    }

    pub(super) fn release_moved(&mut self) {
        self.outbox.at_once(Effect::Event(Event::ReleaseMoved));
    }

    fn with_token(
        &mut self,
        change: impl FnOnce(&mut ReleaseToken) -> Result<(), ReleaseTokenError>,
    ) -> Result<(), ReleaseTokenError> {
        if self.state.end().is_some() {
            return Err(ReleaseTokenError::Ended);
        }
        change(self.token.as_mut().ok_or(ReleaseTokenError::UnitOff)?)?;
        self.release_moved();
        Ok(())
    }
}
