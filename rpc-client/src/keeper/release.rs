//! Releases the session when the server asks for that.

use std::sync::Arc;

use tokio::time::timeout_at;

use crate::core::Core;
use crate::ending;
use crate::state::{End, Life};

/// Releases the session whenever the server wants it to be, until it has ended.
//= L-40
pub(super) async fn run(core: Arc<Core>) {
    let mut wanted = core.parting.wanted().subscribe();
    loop {
        let until = *wanted.borrow_and_update();
        let Some(until) = until else {
            // `core` holds the other end.
            let _ = wanted.changed().await;
            continue;
        };
        // A release of the program's own goes first, and answers the server, too.
        //= D-23
        let released = timeout_at(until, ending::release_alone(&core)).await;
        tracing::debug!(session = %core.number, ok = matches!(released, Ok(Ok(_))), "server wants the session released");
        if matches!(*core.life.borrow(), Life::Ended(_)) {
            if *core.life.borrow() == Life::Ended(End::Released) {
                // Nobody closes the connections before the program asks: what still waits is told.
                core.over.cancel();
            }
            return;
        }
        // It has gone on in spite of it. The server aborts it in time, or asks again.
        core.parting.wanted().send_replace(None);
    }
}
