//! Ends sessions whose time is over: one timer for all of them.

use std::sync::Arc;

use rpc_core::id::Epoch;
use rpc_core::record::{Change, Write};

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
            self.reap_due();
            let wake = self.registry().next_wake();
            match self.clock.instant(wake) {
                Some(at) => tokio::select! {
                    () = tokio::time::sleep_until(at) => {}
                    () = nearer => {}
                },
                None => nearer.await,
            }
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
            let Some(session) = forgotten else { break };
            self.committer.forget(Write { session, epoch: Epoch::FIRST, change: Change::Forget });
        }
    }
}
