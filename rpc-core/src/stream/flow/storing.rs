//! What is to be stored before the peer is told of it.

use super::{Flow, Side};
use crate::stream::error::StreamError;
use crate::stream::position::Serial;
use crate::stream::secured::{Resumption, Secured};

/// What this side knows to be secured in both directions, as numbers: when they change there is something to store, or to
/// tell those who wait for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StorageMark {
    /// The last point that the own application declared secured.
    pub declared: Serial,
    /// The last one that counts, because it is stored.
    pub secured: Serial,
    /// The last point that the peer confirmed with its state.
    pub confirmed: Serial,
    /// How often the stream was resynchronized: what the others number has begun anew with each.
    pub resets: u32,
}

impl Flow {
    /// What is to be stored now, where the stream is [durable](crate::stream::Config::durable): the last secured points of
    /// both directions, as the applications left them. `None` if the last that was [stored](Self::stored) is the newest.
    ///
    /// Points that are secured while it is being stored come with the next one. Of the peer's confirmations nothing is held
    /// back: if they are lost, the own application gives more again than it would have to.
    pub fn unstored(&self) -> Option<Resumption> {
        let (sent, received) = (self.sender.resumption(), self.receiver.unstored());
        let is_new = self.mark().confirmed > self.stored || received.is_some() || self.is_storing_base();
        (self.durable && is_new && self.failed.is_none())
            .then(|| self.directions(sent, received.or_else(|| self.receiver.resumption())))
    }

    /// What [`unstored`](Self::unstored) answered is stored: the confirmation that rests on it goes out. In the order in
    /// which it was answered; one that is older than the last changes nothing.
    ///
    /// It is the shell that promises: after a crash the stream is [restored](Self::restored) from this or from something
    /// later.
    //= S-3
    pub fn stored(&mut self, stored: &Resumption) {
        let Resumption { requests, responses } = stored;
        let (sent, received) = match self.side {
            Side::Client => (requests, responses),
            Side::Server => (responses, requests),
        };
        let is_base = self.is_storing_base();
        if !self.is_of_base(sent.as_ref(), received.as_ref()) {
            return;
        }
        if let Some(received) = received {
            self.receiver.stored(received);
        }
        let confirmed = sent.as_ref().map_or(Serial::NONE, |point| point.serial);
        self.stored = if is_base { confirmed } else { self.stored.max(confirmed) };
        self.synchronize();
    }

    /// It could not be stored: the stream is over, since nothing more of it can be confirmed.
    //= C-59
    pub fn store_failed(&mut self) {
        self.keep::<StreamError>(Err(StreamError::Unstored));
    }

    /// From where the call can go on when nothing else is left of it, with the states of both applications. Where the
    /// stream is durable, what is not stored is not in it: this may be told to others.
    //= S-10
    pub fn resumption(&self) -> Resumption {
        let now = || self.directions(self.sender.resumption(), self.receiver.resumption());
        self.before_reset().cloned().unwrap_or_else(now)
    }

    /// The numbers of what is secured.
    pub fn mark(&self) -> StorageMark {
        StorageMark {
            declared: self.receiver.declared(),
            secured: self.receiver.secured_serial(),
            confirmed: self.sender.confirmed().map_or(Serial::NONE, |ack| ack.serial),
            resets: self.resets(),
        }
    }

    pub(super) fn directions(&self, sent: Option<Secured>, received: Option<Secured>) -> Resumption {
        match self.side {
            Side::Client => Resumption { requests: sent, responses: received },
            Side::Server => Resumption { requests: received, responses: sent },
        }
    }
}
