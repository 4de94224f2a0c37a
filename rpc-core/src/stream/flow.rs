//! One side of one streaming call, over all its attempts: what a shell holds under one lock.

mod attempt;
mod dialog;
mod heeding;
mod rereading;
mod step;
mod storing;

use std::time::Duration;

use bytes::Bytes;

use super::Config;
use super::error::{Fenced, SecureError, StreamError, SyncError, Unsendable, Violation};
use super::position::Serial;
use super::receiver::{Receiver, Taken};
use super::run::Run;
use super::secured::Resumption;
use super::sender::{Out, Sender};
use crate::dialog::Dialog;
use crate::frame::{Frame, Head};
use crate::id::Attempt;
use crate::planted::{self, Bug};
use crate::time::Timestamp;
use attempt::Current;
use dialog::Speech;

pub use step::{Progress, Side, Step, Take};
pub use storing::StorageMark;

/// The sender of one direction and the receiver of the other. Both kinds of sides and all four kinds of methods use it:
/// a direction that does not stream is one of a single message.
///
/// # How to drive it
///
/// 1. [`attempt`](Self::attempt) when the call is made or arrives on a connection, again with a higher number on the
///    next one; the older attempt is void from that moment. [`attempt_without_frames`](Self::attempt_without_frames) where
///    the caller reads no control frames. [`resume`](Self::resume) right after it is the value of
///    `session-resume-bin` for an attempt above 0. [`detached`](Self::detached) when the connection is lost.
/// 2. What the transport brings goes through a new [`Splitter`](super::splitter::Splitter) for each attempt, then into
///    [`data_in`](Self::data_in) and [`control_in`](Self::control_in); a clean end of the body into
///    [`transport_ended`](Self::transport_ended). Read it whether or not the application asks: it is bounded by credit,
///    and the confirmations of the other direction come the same way. Without control frames, read it while
///    [`reads_without_frames`](Self::reads_without_frames), with
///    [`place_received_point`](Self::place_received_point) after its data and
///    [`ended_without_frames`](Self::ended_without_frames) at its end.
/// 3. The application's body is polled only while [`wants_data`](Self::wants_data), and goes into
///    [`app_sends`](Self::app_sends) and [`app_ended`](Self::app_ended).
/// 4. [`take`](Self::take) each time the application asks for more, and only then: it says that what was given before is
///    used up.
/// 5. Where the stream is [durable](super::Config::durable), [`unstored`](Self::unstored) after each of these whether there
///    is something to store, and [`stored`](Self::stored) or [`store_failed`](Self::store_failed) when that was done.
/// 6. Where the stream has a [dialog](super::Config::dialog), [`app_idle`](Self::app_idle) when the application's body has
///    nothing ready: tokens that were given go over then. What the peer says in the dialog is asked for after each input.
/// 7. After each of these, [`poll`](Self::poll) with the attempt's number until it answers [`Step::Idle`], writing what
///    it hands out in that order, and again at `wake`.
///
/// Nothing here blocks, and no method may be called from within another.
#[derive(Debug)]
pub struct Flow {
    side: Side,
    keepalive: Duration,
    pub(super) sender: Sender,
    receiver: Receiver,
    /// It went on from a resumption: no attempt begins where nothing is known.
    is_resumed: bool,
    /// It lost what it had received since a stored point, and its peer may not know.
    is_restored: bool,
    durable: bool,
    /// The last point of the sent direction that is stored.
    stored: Serial,
    current: Option<Current>,
    last: Option<Attempt>,
    resumes: u32,
    /// The handler's response headers: the server's own, or those that came.
    head: Option<Head>,
    cancelled: bool,
    failed: Option<StreamError>,
    is_source_gone: bool,
    /// Boxed: most streams have none.
    speech: Option<Box<Speech>>,
}

impl Flow {
    /// One side of a call that has not begun.
    pub fn new(side: Side, config: &Config) -> Self {
        Self::begun(side, config, None)
    }

    /// One side of a call that goes on where an earlier one was interrupted, in another process perhaps: positions, serials
    /// and digests continue. The application gives again what follows the secured point of its direction.
    ///
    /// Every attempt is a resumed one, the first too: it begins with RECEIVED, and [`resume`](Self::resume) says what
    /// `session-resume-bin` has to.
    //= D-18, S-10
    pub fn resumed(side: Side, config: &Config, resumption: &Resumption) -> Self {
        Self::begun(side, config, Some(resumption))
    }

    /// One side of a call that goes on after a crash from what was [stored](Self::stored) last, while the peer's flow lives
    /// on, with all that it has. The application gives again what follows the secured point of its direction: what the
    /// peer has of that is compared and not sent.
    //= S-28, S-20
    pub fn restored(side: Side, config: &Config, resumption: &Resumption) -> Self {
        let mut flow = Self::begun(side, config, Some(resumption));
        flow.sender = flow.sender.restored();
        flow.receiver = flow.receiver.restored();
        flow.is_restored = true;
        flow.speech = config.dialog.as_ref().map(|terms| Box::new(Speech::new(terms, true)));
        flow.heed();
        flow
    }

    fn begun(side: Side, config: &Config, resumption: Option<&Resumption>) -> Self {
        let requests = resumption.and_then(|from| from.requests.as_ref());
        let responses = resumption.and_then(|from| from.responses.as_ref());
        let (sent, received) = match side {
            Side::Client => (requests, responses),
            Side::Server => (responses, requests),
        };
        let mut flow = Self {
            side,
            keepalive: config.keepalive,
            sender: Sender::from_point(config, sent),
            receiver: Receiver::from_point(config, received),
            is_resumed: resumption.is_some(),
            is_restored: false,
            durable: config.durable,
            stored: sent.map_or(Serial::NONE, |point| point.serial),
            current: None,
            last: None,
            resumes: 0,
            head: None,
            cancelled: false,
            failed: None,
            is_source_gone: false,
            speech: config.dialog.as_ref().map(|terms| Box::new(Speech::new(terms, false))),
        };
        flow.heed();
        flow
    }

    /// Nobody will resume the call: the session ended, or its deadline passed.
    pub fn abandon(&mut self) {
        let received = self.receiver.received();
        if !(self.receiver.is_complete() && self.sender.is_secured()) {
            self.keep::<StreamError>(Err(StreamError::Incomplete(received)));
        }
    }

    /// Messages arrived.
    ///
    /// # Errors
    ///
    /// A newer attempt goes on, or none: nothing has changed. What the peer did wrong is told by [`poll`](Self::poll).
    pub fn data_in(&mut self, attempt: Attempt, run: Run) -> Result<(), Fenced> {
        self.is_current(attempt)?;
        if self.failed.is_none() {
            let done = self.receiver.messages(run).and_then(|()| self.arrived());
            self.keep(done);
        }
        Ok(())
    }

    /// A control frame arrived.
    ///
    /// # Errors
    ///
    /// As with [`data_in`](Self::data_in).
    pub fn control_in(&mut self, attempt: Attempt, frame: Frame) -> Result<(), Fenced> {
        self.is_current(attempt)?;
        if self.failed.is_some() {
            return Ok(());
        }
        let done = match (self.side, frame) {
            (Side::Client, Frame::Head(head)) => {
                self.head = Some(head);
                Ok(())
            }
            (Side::Server, Frame::Cancel) => Err(StreamError::Cancelled),
            (Side::Server, Frame::Head(_)) | (Side::Client, Frame::Cancel) => {
                Err(Violation::WrongSide.into())
            }
            (Side::Client | Side::Server, Frame::At(at)) => self.receiver.at(at),
            (Side::Client | Side::Server, Frame::Received(received)) => self.sender.peer_has(&received),
            (Side::Client | Side::Server, Frame::Sync(point)) => self
                .check_kind(point.kind)
                .map_err(StreamError::from)
                .and_then(|()| self.receiver.sync(point))
                .and_then(|()| self.arrived()),
            (Side::Client | Side::Server, Frame::SyncAck(ack)) => {
                self.sender.ack(ack).map(|()| self.synchronize()).map_err(StreamError::from)
            }
            (Side::Client | Side::Server, Frame::Credit(credit)) => {
                self.sender.credit(credit).map_err(StreamError::from)
            }
            (Side::Client | Side::Server, Frame::Dialog(said)) => self.heard(said),
            (Side::Client | Side::Server, Frame::DialogAck(ack)) => self.heard_ack(ack),
            (Side::Client | Side::Server, Frame::Keepalive) => Ok(()),
            (Side::Client | Side::Server, Frame::End(position)) => {
                self.receiver.end(position).and_then(|()| self.arrived())
            }
        };
        self.keep(done);
        Ok(())
    }

    /// What arrived is not what the protocol allows, as the shell found out: a frame that does not parse, a message over
    /// the bound.
    pub fn violated(&mut self, violation: Violation) {
        self.keep(Err(violation));
    }

    /// The application asks for more: what it was given before is used up, and secured where that is automatic.
    pub fn take(&mut self) -> Take {
        let error = match self.failed {
            // What arrived before the stream broke off is still the application's.
            None | Some(StreamError::Incomplete(_)) => self.failed,
            Some(error) => return Take::Failed(error),
        };
        let taken = self.receiver.take();
        self.synchronize();
        match taken {
            Taken::Messages(run) => Take::Messages(run),
            Taken::Point(point) => Take::Point(point),
            Taken::End => Take::End,
            Taken::Wait => error.map_or(Take::Wait, Take::Failed),
        }
    }

    /// The application will not ask again, because it has what it wants: whatever comes is dropped.
    pub fn app_left(&mut self) {
        self.receiver.unwanted();
    }

    /// From here on the application sees the sync points and [secures](Self::secure) them itself.
    pub fn secure_explicitly(&mut self) {
        self.receiver.secure_explicitly();
    }

    /// The application has everything before the point; `state` travels to the sender with the confirmation, where the
    /// stream is durable when it is [stored](Self::stored).
    ///
    /// # Errors
    ///
    /// See [`Receiver::secure`].
    pub fn secure(&mut self, serial: Serial, state: Bytes) -> Result<(), SecureError> {
        let secured = self.receiver.secure(serial, state);
        self.synchronize();
        secured
    }

    /// Whether the application's body is to be polled. Without a connection too: until the window is full. Then what the
    /// peer says opens it, in [`control_in`](Self::control_in) or with an [`attempt`](Self::attempt), and nothing else.
    pub fn wants_data(&self) -> bool {
        self.failed.is_none() && self.sender.wants_data()
    }

    /// The application's body gave these bytes, cut anywhere; their end is the end of a batch.
    pub fn app_sends(&mut self, bytes: Bytes) {
        if self.failed.is_none() {
            let done = self.sender.push(bytes);
            self.gave();
            self.keep(done);
        }
    }

    /// The application asks for a sync point after what it has given.
    ///
    /// # Errors
    ///
    /// See [`Sender::sync`].
    pub fn app_syncs(&mut self, state: Bytes) -> Result<(), SyncError> {
        self.sender.sync(state)
    }

    /// The application asks for a sync point right after that many messages of the direction that this side sends, those
    /// before a [resumption](Self::resumed) included, and whether or not it has given them yet.
    ///
    /// # Errors
    ///
    /// See [`Sender::sync_at`].
    pub fn app_syncs_at(&mut self, messages: u64, state: Bytes) -> Result<(), SyncError> {
        self.sender.sync_at(messages, state)
    }

    /// The application's body ended in order.
    pub fn app_ended(&mut self) {
        if self.failed.is_none() {
            let done = self.sender.end();
            self.keep(done);
        }
    }

    /// The handler's response headers, which travel in HEAD. Server only, and before its first message; a head over the
    /// bounds of HEAD fails the call.
    //= W-18
    pub fn answer_head(&mut self, head: Head) {
        if !head.fits() {
            self.keep(Err(Unsendable::HeadTooLong));
            return;
        }
        self.head = Some(head);
        if let Some(current) = &mut self.current {
            current.head_due = true;
        }
    }

    /// The handler's response headers, once they came. Client only.
    //= W-19
    pub fn head(&self) -> Option<&Head> {
        self.head.as_ref()
    }

    /// The caller gives the call up: CANCEL goes out before anything else. Client only.
    //= S-24
    pub fn cancel(&mut self) {
        self.keep::<StreamError>(Err(StreamError::Cancelled));
    }

    /// What this attempt writes next.
    ///
    /// # Errors
    ///
    /// A newer attempt goes on, or none: this one's body ends.
    pub fn poll(&mut self, now: Timestamp, attempt: Attempt) -> Result<Step, Fenced> {
        self.is_current(attempt)?;
        let keepalive = self.keepalive;
        self.miss_source();
        let step = self.next(now);
        let Some(current) = &mut self.current else { return Err(Fenced { attempt }) };
        Ok(match step {
            Some(step) => {
                current.spoke = now;
                step
            }
            //= W-20
            None if now.since(current.spoke) >= keepalive => {
                current.spoke = now;
                Step::Control(Frame::Keepalive)
            }
            None => {
                let silent = current.spoke + keepalive;
                let dialog = self.dialog().and_then(Dialog::wake);
                let wake = [self.sender.wake(), dialog].into_iter().flatten().min();
                Step::Idle { wake: wake.map_or(silent, |wake| wake.min(silent)) }
            }
        })
    }

    /// The attempt that goes on.
    pub fn current(&self) -> Option<Attempt> {
        self.current.as_ref().map(|current| current.attempt)
    }

    /// Why the stream is over before its end.
    pub fn failed(&self) -> Option<StreamError> {
        self.failed
    }

    /// END came, and everything before it was given to the application.
    pub fn is_received(&self) -> bool {
        self.receiver.is_finished()
    }

    /// Everything was written in this attempt, END included: a server may send its trailers.
    pub fn is_sent(&self) -> bool {
        self.sender.is_finished()
    }

    /// The peer has secured everything that this side sent: nothing needs to be kept for a resume.
    pub fn is_secured(&self) -> bool {
        self.sender.is_secured()
    }

    /// The side that sends.
    pub fn sender(&self) -> &Sender {
        &self.sender
    }

    /// The side that receives.
    pub fn receiver(&self) -> &Receiver {
        &self.receiver
    }

    fn next(&mut self, now: Timestamp) -> Option<Step> {
        let current = self.current.as_mut()?;
        if std::mem::take(&mut current.cancel_due) {
            return Some(Step::Control(Frame::Cancel));
        }
        if let Some(error) = self.failed {
            return Some(Step::Failed(error));
        }
        if std::mem::take(&mut current.received_due) {
            return Some(Step::Control(Frame::Received(self.receiver.has())));
        }
        if self.speech.is_some()
            && let Some(frame) = self.dialog_step(now)
        {
            return Some(Step::Control(frame));
        }
        let current = self.current.as_mut()?;
        if std::mem::take(&mut current.head_due)
            && let Some(head) = &self.head
        {
            return Some(Step::Control(Frame::Head(head.clone())));
        }
        if self.is_storing_base() {
            return None;
        }
        if let Some(frame) = self.receiver.step() {
            return Some(Step::Control(frame));
        }
        match self.sender.step(now) {
            Some(Out::Data(bytes)) => Some(Step::Data(bytes)),
            Some(Out::Frame(frame)) => Some(Step::Control(frame)),
            // What a resynchronization waited for may be sent, or cannot be.
            None if self.speech.is_some() => self.dialog_step(now).map(Step::Control),
            None => None,
        }
    }

    /// Remembers the first error. A client tells the server that it gives up.
    fn keep<E: Into<StreamError>>(&mut self, done: Result<(), E>) {
        let Err(error) = done else { return };
        if self.failed.is_some() {
            return;
        }
        self.failed = Some(error.into());
        self.cancelled = self.side == Side::Client;
        if let Some(current) = &mut self.current {
            current.cancel_due = self.cancelled;
        }
    }

    fn is_current(&self, attempt: Attempt) -> Result<(), Fenced> {
        match &self.current {
            Some(current) if current.attempt == attempt || planted::is(Bug::OldAttemptGoesOn) => Ok(()),
            Some(_) | None => Err(Fenced { attempt }),
        }
    }
}
