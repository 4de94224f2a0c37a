//! Ends sessions whose time is over, and forgets activities: one timer for all of them.

use std::sync::Arc;

use rpc_core::activity::Worker;
use rpc_core::id::Epoch;
use rpc_core::record::{Change, Write};
use rpc_core::store::Durability;

use super::{Live, Sessions};

impl Sessions {
    /// Looks at sessions when their time has come, for ever.
    ///
    /// # Cancel safety
    ///
    /// May be dropped and called again.
    pub(crate) async fn reap(self: Arc<Self>) {
        loop {
            let nearer = self.nearer.notified();
            let activity_nearer = self.activities.nearer();
            self.reap_due();
            let forget = self.activities.forget(self.clock.now());
            self.forget_activities();
            let wake = self.registry().next_wake().min(forget);
            let due = async {
                match self.clock.instant(wake) {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = due => {}
                () = nearer => {}
                () = activity_nearer => {}
            }
        }
    }

    /// Lets the store forget the activities that are forgotten here.
    //= D-20
    fn forget_activities(&self) {
        let forgotten = self.activities.take_forgotten();
        if self.store.durability() == Durability::Volatile {
            return;
        }
        for (key, Worker { session, call }) in forgotten {
            let change = Change::ForgetActivity(Box::new(key), call);
            self.committer.forget(Write { session, epoch: Epoch::FIRST, change });
        }
    }

    /// Wakes every session whose time has come, and forgets those that ended long ago.
    fn reap_due(&self) {
        let now = self.clock.now();
        loop {
            // The registry's lock is given back before a session's is taken.
            let due = self.registry().due(now);
            let Some(id) = due else { break };
            let live = self.directory.get(&id).map(|live| Arc::clone(&live));
            if let Some(live) = live {
                Live::wake(&live);
            }
        }
        loop {
            let forgotten = self.registry().forget(now);
            let Some((session, epoch)) = forgotten else { break };
            self.committer.forget(Write { session, epoch, change: Change::Forget });
        }
    }
}
