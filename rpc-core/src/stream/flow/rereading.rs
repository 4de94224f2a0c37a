//! Streams whose application can give again what it gave.

use super::{Flow, Side};
use crate::stream::error::{KeepError, StreamError};

impl Flow {
    /// The application can give again whatever it gave, from any message on: nothing is kept of what was sent but where it
    /// lies. To be called before the first message.
    ///
    /// When the peer lacks something, [`reread`](Self::reread) has an answer; until it is asked for, what the application
    /// gives goes nowhere. Then it gives the same messages again, and asks for the same points. What it had given and was
    /// not sent comes again with them, and so does its end. What it gives is compared with what it gave before, at each sync
    /// point at least; if it is something else, the stream has diverged.
    ///
    /// # Errors
    ///
    /// The stream has a dialog, or something was given. Nothing has changed.
    //= S-1
    pub fn keep_positions(&mut self) -> Result<(), KeepError> {
        if self.speech.is_some() {
            return Err(KeepError::Dialog);
        }
        self.sender.keep_positions()
    }

    /// Whether [`reread`](Self::reread) has an answer.
    pub fn is_reread_due(&self) -> bool {
        self.failed.is_none() && self.sender.is_reread_due()
    }

    /// After how many messages of its direction the application has to begin again, those before a
    /// [resumption](Self::resumed) included; `None` where it goes on. The next bytes that it gives begin there.
    pub fn reread(&mut self) -> Option<u64> {
        self.sender.reread()
    }

    /// Whether anything that the application gave may be asked for again, or is still to come.
    ///
    /// What a client has, it has as long as the call lives. A server may go on from what it stored.
    pub fn needs_source(&self) -> bool {
        let sender = &self.sender;
        let safe = match self.side {
            Side::Client => sender.secured(),
            Side::Server => sender.received(),
        };
        self.failed.is_none() && !(sender.is_given() && safe == sender.given())
    }

    /// The application cannot give anything again any more. If something is missing all the same, the stream is over.
    pub fn source_gone(&mut self) {
        self.is_source_gone = true;
    }

    /// The peer lacks what nobody can give again.
    pub(super) fn miss_source(&mut self) {
        if self.is_source_gone && self.is_reread_due() {
            self.keep::<StreamError>(Err(StreamError::Incomplete(self.sender.received())));
        }
    }
}
