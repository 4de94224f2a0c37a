//! Where the slots say how they are, and everybody else looks.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::{connection::Connection, error::ConnectError, state::State};

/// How each slot is, and what follows from it for the whole set.
pub(super) struct Board {
    slots: Mutex<Slots>,
    state: watch::Sender<State>,
    live: watch::Sender<Arc<[Connection]>>,
    /// How many slots are in use; those behind it have not been needed yet.
    wanted: watch::Sender<usize>,
}

struct Slots {
    shut_down: bool,
    slots: Vec<Slot>,
    failure: Option<Arc<ConnectError>>,
}

/// How one slot is.
enum Slot {
    Idle,
    Dialling,
    Live(Connection),
}

impl Board {
    /// Makes a board for `slots` slots, none of them in use.
    pub(super) fn new(slots: usize) -> Self {
        let slots = (0..slots).map(|_| Slot::Idle).collect();
        Self {
            slots: Mutex::new(Slots { shut_down: false, slots, failure: None }),
            state: watch::Sender::new(State::Idle),
            live: watch::Sender::new(Arc::from([])),
            wanted: watch::Sender::new(0),
        }
    }

    /// Puts the first `slots` slots to use.
    pub(super) fn want(&self, slots: usize) {
        self.wanted.send_if_modified(|wanted| {
            let more = slots > *wanted;
            *wanted = slots.max(*wanted);
            more
        });
    }

    /// Slot `index` begins to dial.
    pub(super) fn dialling(&self, index: usize) {
        self.update(|slots| slots.slots[index] = Slot::Dialling);
    }

    /// Slot `index` has a connection.
    pub(super) fn connected(&self, index: usize, connection: Connection) {
        self.update(|slots| {
            slots.slots[index] = Slot::Live(connection);
            slots.failure = None;
        });
    }

    /// The connection of slot `index` takes no more calls.
    pub(super) fn lost(&self, index: usize) {
        self.update(|slots| slots.slots[index] = Slot::Idle);
    }

    /// The dial of slot `index` failed.
    pub(super) fn failed(&self, index: usize, cause: Arc<ConnectError>) {
        self.update(|slots| {
            slots.slots[index] = Slot::Idle;
            slots.failure = Some(cause);
        });
    }

    /// Nothing is connected or dialled any more, and nothing will be.
    pub(super) fn shut_down(&self) {
        self.update(|slots| {
            slots.shut_down = true;
            slots.slots.iter_mut().for_each(|slot| *slot = Slot::Idle);
        });
    }

    /// Returns the state, to look at or to wait for.
    pub(super) fn state(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// Returns the connections that take calls, to look at or to wait for.
    pub(super) fn live(&self) -> watch::Receiver<Arc<[Connection]>> {
        self.live.subscribe()
    }

    /// Gives a look at the connections that take calls.
    pub(super) fn look<T>(&self, look: impl FnOnce(&[Connection]) -> T) -> T {
        look(&self.live.borrow())
    }

    /// Waits until slot `index` is put to use. Ends never if it is not.
    pub(super) async fn wanted(&self, index: usize) {
        // The sender lives in `self`, so the channel cannot close while this waits.
        _ = self.wanted.subscribe().wait_for(|wanted| index < *wanted).await;
    }

    fn update(&self, change: impl FnOnce(&mut Slots)) {
        let mut slots = self.lock();
        if slots.shut_down {
            return;
        }
        change(&mut slots);
        let state = slots.state();
        let live = slots.live();
        // Who sees no connection must not then see the state `Ready` that belonged to the last one, or it would spin:
        // a loss is told by the state first, a gain by the connections first.
        if state.is_ready() {
            self.live.send_if_modified(|now| replace(now, live));
            self.set_state(state);
        } else {
            self.set_state(state);
            self.live.send_if_modified(|now| replace(now, live));
        }
    }

    fn set_state(&self, state: State) {
        self.state.send_if_modified(|now| {
            let changed = !now.is_same(&state);
            if changed {
                match &state {
                    State::TransientFailure { .. } => tracing::warn!(%state, "connections"),
                    _ => tracing::debug!(%state, "connections"),
                }
                *now = state;
            }
            changed
        });
    }

    fn lock(&self) -> MutexGuard<'_, Slots> {
        // Nothing in here panics halfway; were it to, each field is still valid by itself.
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn replace(now: &mut Arc<[Connection]>, live: Vec<Connection>) -> bool {
    let changed = !now.iter().map(Connection::key).eq(live.iter().map(Connection::key));
    if changed {
        *now = live.into();
    }
    changed
}

impl Slots {
    fn state(&self) -> State {
        let any = |wanted: fn(&Slot) -> bool| self.slots.iter().any(wanted);
        if self.shut_down {
            State::Shutdown
        } else if any(|slot| matches!(slot, Slot::Live(_))) {
            State::Ready
        } else if let Some(cause) = &self.failure {
            State::TransientFailure { cause: cause.clone() }
        } else if any(|slot| matches!(slot, Slot::Dialling)) {
            State::Connecting
        } else {
            State::Idle
        }
    }

    fn live(&self) -> Vec<Connection> {
        let live = |slot: &Slot| match slot {
            Slot::Live(connection) => Some(connection.clone()),
            Slot::Idle | Slot::Dialling => None,
        };
        self.slots.iter().filter_map(live).collect()
    }
}
