//! What stands still while the stream goes back, and what of the time before is dropped.

use std::sync::atomic::Ordering;
use std::task::Context;

use rpc_core::dialog::{Answered, Confirmation};
use rpc_core::frame::SyncPoint;
use rpc_core::frame::dialog::Resync;

use crate::shared::{Shared, State};

/// What became of a resynchronization, until the application has taken it.
#[derive(Debug, Default)]
pub(super) enum Going {
    #[default]
    Nowhere,
    /// The application has asked for one. The stream may be there, and the application still have to read what lies before
    /// a separating point.
    Asked { is_there: bool },
    /// It has agreed to this one.
    Agreed(Resync),
    /// The stream is where it was to go. Nothing moves before the application knows.
    There(Confirmation),
    /// The other side asked, too, and its request goes before.
    Lost,
    /// The application knows, and has not said that it goes on.
    Told,
}

/// What the application's own body is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Reading {
    /// Nobody reads it.
    #[default]
    Rests,
    Goes,
    /// What it is giving at this moment is of an older generation.
    Discards,
}

/// Whether the reader may deliver a message that its decoder held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reads {
    On,
    /// When the resynchronization is over, if it is not dropped then.
    Later,
    /// Not at all: it is of an older generation.
    Past,
}

impl Shared {
    /// Whether the reader may deliver what came out of its decoder. Costs a load where nothing is going back.
    pub(crate) fn reader_may(&self, cx: &Context<'_>) -> Reads {
        if !self.disturbed.load(Ordering::Acquire) {
            return Reads::On;
        }
        self.with(|state| {
            if state.desk.is_stale {
                Reads::Past
            } else if state.is_held() {
                state.wait_reader(cx);
                Reads::Later
            } else {
                Reads::On
            }
        })
    }
}

impl State {
    /// The stream went back: what the encoder and the decoder of the application hold belongs to the time before.
    pub(crate) fn went_back(&mut self, sent: bool, received: bool) {
        let is_drained = self.flow.receiver().is_drained();
        let desk = &mut self.desk;
        if sent {
            desk.resets_sent += 1;
            if desk.reading == Reading::Goes {
                desk.reading = Reading::Discards;
            }
        }
        if received {
            desk.resets += 1;
            if is_drained {
                // What lies before a separating point is still to be delivered, and then the next poll of the body says
                // that it was.
                desk.is_stale = true;
                self.gate.clear();
            }
        }
        match &mut desk.going {
            Going::Asked { is_there } => *is_there = true,
            Going::Agreed(request) => {
                let agreed = Confirmation {
                    kind: request.kind,
                    own: request.other.map(|_| self.flow.sender().serials().next),
                    other: request.own.map(|_| self.flow.receiver().serials().next),
                    state: request.state.clone(),
                };
                desk.going = Going::There(agreed);
            }
            Going::Nowhere | Going::There(_) | Going::Lost | Going::Told => {}
        }
    }

    /// Learns what became of the own request, as soon as the application may.
    pub(super) fn learn(&mut self) {
        if let Going::Asked { .. } = self.desk.going
            && let Some(answered) = self.flow.take_answered()
        {
            self.desk.going = match answered {
                Answered::Confirmed(agreed) => Going::There(agreed),
                Answered::Lost => Going::Lost,
            };
        }
    }

    /// The application asks for more: what its decoder held is used up.
    pub(crate) fn used_up(&mut self) {
        self.desk.has_news |= std::mem::take(&mut self.desk.is_stale);
    }

    /// The application's own body is asked again. Whether what it has just given is of an older generation.
    pub(crate) fn read_on(&mut self) -> bool {
        let is_old = std::mem::replace(&mut self.desk.reading, Reading::Goes) == Reading::Discards;
        self.desk.has_news |= is_old;
        is_old
    }

    /// The point that the reader has come to, and how often the direction had gone back before. One that a separating point
    /// kept is of the time before the last.
    pub(crate) fn take_point(&mut self) -> Option<(SyncPoint, u64)> {
        let is_kept = self.flow.receiver().is_before_base();
        Some((self.gate.take()?, self.desk.resets.saturating_sub(is_kept.into())))
    }

    /// Whether nothing is to be read of the application before it knows where the stream is, and has followed.
    pub(crate) fn rests(&self) -> bool {
        matches!(self.desk.going, Going::Asked { is_there: true } | Going::There(_) | Going::Told)
    }

    /// Whether nothing is to be given to it, but for what lies before a separating point.
    pub(crate) fn is_held(&self) -> bool {
        matches!(self.desk.going, Going::There(_) | Going::Told)
            || self.is_resynchronizing() && self.flow.receiver().is_drained()
    }

    /// Whether the reader has to ask before it delivers.
    pub(super) fn is_disturbed(&self) -> bool {
        self.desk.is_stale || self.is_held()
    }
}
