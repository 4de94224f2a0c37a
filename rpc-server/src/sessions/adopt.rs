//! What an earlier server left in the store.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rpc_core::id::{Epoch, SessionId};
use rpc_core::negotiate::Unit;
use rpc_core::record::{SessionRecord, SlotRecord, Tombstone};
use rpc_core::session::{Restored, Session};
use rpc_core::store::{StoreError, Stored};
use rpc_core::time::Timestamp;

use super::ends::EndedSession;
use super::{Live, Sessions};

/// Sessions that are read at a time.
const PAGE: usize = 1_024;

/// How many sessions were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Adopted {
    pub(crate) live: usize,
    pub(crate) ended: usize,
}

impl Sessions {
    /// Goes on with the sessions of the store: each lingers until its owner comes back. `is_forgetful` says whether there
    /// are methods whose calls are kept in memory only, in a session that has agreed on durable streams or has not.
    ///
    /// Blocks while it reads, so it comes before anything is served.
    ///
    /// # Errors
    ///
    /// The store failed; nothing is to be served from it.
    pub(crate) fn adopt(
        self: &Arc<Self>,
        is_forgetful: impl Fn(bool) -> bool,
    ) -> Result<Adopted, StoreError> {
        let mut adopted = Adopted::default();
        let mut after = None;
        loop {
            let page = self.store.scan(after, PAGE)?;
            let Some((last, _)) = page.last() else { break };
            after = Some(*last);
            for (id, stored) in page {
                match stored {
                    Stored::Live(epoch, record, slots) => {
                        adopted.live += 1;
                        let forgetful = is_forgetful(record.agreement.units.contains(Unit::Durable));
                        self.adopt_live(id, epoch, record, slots, forgetful);
                    }
                    Stored::Ended(epoch, tombstone) => {
                        adopted.ended += 1;
                        let now = self.clock.now();
                        let Tombstone { principal, nonce, end, receipt } = *tombstone;
                        {
                            let mut registry = self.registry();
                            registry.adopt_ended(now, id, epoch, principal.clone(), nonce);
                            if let Some(receipt) = receipt {
                                registry.released(id, principal.clone(), receipt);
                            }
                        }
                        self.end_recorded(EndedSession {
                            number: id,
                            principal,
                            end: end.into(),
                            told_before: true,
                        });
                    }
                }
            }
        }
        self.adopt_activities()?;
        if adopted != Adopted::default() {
            tracing::info!(live = adopted.live, ended = adopted.ended, "sessions of an earlier server go on");
        }
        Ok(adopted)
    }

    /// No call works on them until one comes.
    //= D-20
    fn adopt_activities(&self) -> Result<(), StoreError> {
        let mut after = None;
        loop {
            let page = self.store.scan_activities(after.as_ref(), PAGE)?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.key.clone());
            page.into_iter().for_each(|activity| self.activities.adopt(activity));
        }
    }

    fn adopt_live(
        self: &Arc<Self>,
        id: SessionId,
        epoch: Epoch,
        mut record: Arc<SessionRecord>,
        slots: Vec<SlotRecord>,
        forgetful: bool,
    ) {
        self.share(&mut record);
        let (principal, nonce) = (record.principal.clone(), record.nonce);
        let authority_until = record.authority_unix_s.map_or(Timestamp::NEVER, |at| self.at_unix(at));
        let restored = Restored { id, epoch, record, slots, authority_until };
        let session = Session::restore(self.clock.now(), restored, forgetful);
        let live = Live::restored(&Arc::downgrade(self), session);
        self.directory.insert(id, Arc::clone(&live));
        self.registry().adopt(id, principal, nonce);
        // Says when it is to be looked at.
        live.with(|_, _| ());
    }

    /// What other sessions have as well is kept once. A store that shares its record with the session goes on doing so.
    fn share(&self, record: &mut Arc<SessionRecord>) {
        if let Some(record) = Arc::get_mut(record) {
            record.principal = self.registry().known(&record.principal);
            record.agreement = self.agreements.share(Arc::clone(&record.agreement));
            record.scopes = self.scopes.share(Arc::clone(&record.scopes));
        }
    }

    /// A moment of the world on the clock of the sessions; one that has passed is now.
    fn at_unix(&self, seconds: u64) -> Timestamp {
        let at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
        let left = at.and_then(|at| at.duration_since(self.wall.now()).ok()).unwrap_or_default();
        self.clock.now() + left
    }
}
