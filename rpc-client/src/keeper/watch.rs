//! Session and connections in one state to watch.

use std::sync::Arc;

use tokio::sync::watch;

use crate::core::Core;
use crate::state::State;

pub(super) fn channel(core: &Core) -> (watch::Sender<State>, watch::Receiver<State>) {
    let connection = core.net.watch().borrow().clone();
    watch::channel(State { life: *core.life.borrow(), connection })
}

/// Keeps `state` up to date.
pub(super) async fn run(core: Arc<Core>, state: watch::Sender<State>) {
    let (mut life, mut connection) = (core.life.subscribe(), core.net.watch());
    loop {
        state.send_modify(|state| {
            state.life = *life.borrow_and_update();
            state.connection.clone_from(&connection.borrow_and_update());
        });
        tokio::select! {
            // Either end is held by `core`, so neither channel closes before this task ends.
            Ok(()) = life.changed() => {}
            Ok(()) = connection.changed() => {}
            else => return,
        }
    }
}
