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
}

impl Flow {
    /// What is to be stored now, where the stream is [durable](crate::stream::Config::durable): the last secured points of
    /// both directions, as the applications left them. `None` if the last that was [stored](Self::stored) is the newest.
    ///
    /// Points that are secured while it is being stored come with the next one. Of the peer's confirmations nothing is held
    /// back: if they are lost, the own application gives more again than it would have to.
    pub fn unstored(&self) -> Option<Resumption> {
        let (sent, received) = (self.sender.resumption(), self.receiver.unstored());
        let is_new = self.mark().confirmed > self.stored || received.is_some();
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
        if let Some(received) = received {
            self.receiver.stored(received);
        }
        self.stored = self.stored.max(sent.as_ref().map_or(Serial::NONE, |point| point.serial));
    }

    /// It could not be stored: the stream is over, since nothing more of it can be confirmed.
    //= C-59
    pub fn store_failed(&mut self) {
        self.keep::<StreamError>(Err(StreamError::Unstored));
    }

    /// The numbers of what is secured.
    pub fn mark(&self) -> StorageMark {
        StorageMark {
            declared: self.receiver.declared(),
            secured: self.receiver.secured_serial(),
            confirmed: self.sender.confirmed().map_or(Serial::NONE, |ack| ack.serial),
        }
    }

    pub(super) fn directions(&self, sent: Option<Secured>, received: Option<Secured>) -> Resumption {
        match self.side {
            Side::Client => Resumption { requests: sent, responses: received },
            Side::Server => Resumption { requests: received, responses: sent },
        }
    }
}
