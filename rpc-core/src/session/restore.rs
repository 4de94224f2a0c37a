//! A session that another server left in the store.

use std::sync::Arc;

use super::lease::Lease;
use super::lifecycle::State;
use super::outbox::Outbox;
use super::settling::Settling;
use super::slots::Slots;
use super::tally::Tally;
use super::{Effect, RecordId, Session, release_token};
use crate::id::{Epoch, SessionId};
use crate::planted::{self, Bug};
use crate::record::{SessionRecord, SlotRecord};
use crate::release::ReleaseToken;
use crate::time::Timestamp;

/// What the store has of a session whose server is gone.
#[derive(Debug)]
pub struct Restored {
    /// Its number.
    pub id: SessionId,
    /// The epoch of the server that had it.
    pub epoch: Epoch,
    /// The session.
    pub record: Arc<SessionRecord>,
    /// What its slots remember.
    pub slots: Vec<SlotRecord>,
    /// When its authority ends, on the shell's clock.
    pub authority_until: Timestamp,
}

impl Session {
    /// Goes on with a session of a server that is gone: no connection carries it, and its linger begins at `now`. With
    /// `forgetful` that server had methods whose calls it kept in memory only.
    ///
    /// Its first request takes it over, under an epoch of its own.
    //= C-52
    pub fn restore(now: Timestamp, restored: Restored, forgetful: bool) -> Self {
        let Restored { id, epoch, record, slots, authority_until } = restored;
        let mut lease = Lease::new(now);
        lease.lost(now);
        let agreement = &record.agreement;
        Self {
            id,
            epoch,
            state: State::Lingering,
            authority_until,
            lease,
            connections: Vec::new(),
            slots: Slots::restore(agreement.slots, agreement.reply_bytes, &slots, forgetful),
            tally: Tally::restore(&slots),
            releasing: None,
            wanted: None,
            token: release_token(agreement, ReleaseToken::unknown),
            created: RecordId::default(),
            unclaimed: true,
            claiming: None,
            settling: Settling::default(),
            outbox: Outbox::default(),
            record,
        }
    }

    /// Fences the server that had the session before. Everything that is written later comes after this.
    //= C-53
    pub(super) fn claim(&mut self) {
        if std::mem::take(&mut self.unclaimed) && !planted::is(Bug::EpochNotRaised) {
            let before = self.epoch;
            self.epoch = before.next();
            self.claiming = Some(Box::new((self.outbox.claim(before, self.epoch), before)));
        }
    }

    /// The store has refused `record`. Where it was the claim, the session is under its old epoch again, and gives what was
    /// to be written after it: none of that has left.
    pub(super) fn claim_lost(&mut self, record: RecordId) -> Option<Vec<Effect>> {
        let (claim, before) = *self.claiming.take_if(|claiming| claiming.0 == record)?;
        // Another server may have the epoch that was claimed.
        self.epoch = before;
        Some(self.outbox.unclaimed(claim))
    }
}
