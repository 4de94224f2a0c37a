//! One side of one streaming call, over all its attempts: what a shell holds under one lock.

mod step;

use std::time::Duration;

use bytes::Bytes;

use super::Config;
use super::error::{AttemptError, Fenced, SecureError, StreamError, SyncError, Unsendable, Violation};
use super::position::{Generation, Position, Serial};
use super::receiver::{Receiver, Taken};
use super::resume::Resume;
use super::run::Run;
use super::sender::{Out, Sender};
use crate::frame::{Frame, Head};
use crate::id::Attempt;
use crate::time::Timestamp;

pub use step::{Progress, Side, Step, Take};

/// The sender of one direction and the receiver of the other. Both kinds of sides and all four kinds of methods use it:
/// a direction that does not stream is one of a single message.
///
/// # How to drive it
///
/// 1. [`attempt`](Self::attempt) when the call is made or arrives on a connection, again with a higher number on the
///    next one; the older attempt is void from that moment. [`resume`](Self::resume) right after it is the value of
///    `session-resume-bin` for an attempt above 0. [`detached`](Self::detached) when the connection is lost.
/// 2. What the transport brings goes through a new [`Splitter`](super::splitter::Splitter) for each attempt, then into
///    [`data_in`](Self::data_in) and [`control_in`](Self::control_in); a clean end of the body into
///    [`transport_ended`](Self::transport_ended). Read it whether or not the application asks: it is bounded by credit,
///    and the confirmations of the other direction come the same way.
/// 3. The application's body is polled only while [`wants_data`](Self::wants_data), and goes into
///    [`app_sends`](Self::app_sends) and [`app_ended`](Self::app_ended).
/// 4. [`take`](Self::take) each time the application asks for more, and only then: it says that what was given before is
///    used up.
/// 5. After each of these, [`poll`](Self::poll) with the attempt's number until it answers [`Step::Idle`], writing what
///    it hands out in that order, and again at `wake`.
///
/// Nothing here blocks, and no method may be called from within another.
#[derive(Debug)]
pub struct Flow {
    side: Side,
    keepalive: Duration,
    sender: Sender,
    receiver: Receiver,
    current: Option<Current>,
    last: Option<Attempt>,
    resumes: u32,
    /// The handler's response headers: the server's own, or those that came.
    head: Option<Head>,
    cancelled: bool,
    failed: Option<StreamError>,
}

/// The attempt that goes on.
#[derive(Debug)]
struct Current {
    attempt: Attempt,
    received_due: bool,
    head_due: bool,
    cancel_due: bool,
    spoke: Timestamp,
}

impl Flow {
    /// One side of a call that has not begun.
    pub fn new(side: Side, config: &Config) -> Self {
        Self {
            side,
            keepalive: config.keepalive,
            sender: Sender::new(config),
            receiver: Receiver::new(config),
            current: None,
            last: None,
            resumes: 0,
            head: None,
            cancelled: false,
            failed: None,
        }
    }

    /// An attempt begins on a connection; an older one that still goes on is void. `peer` is what came in
    /// `session-resume-bin`; a client, which asks first, has none.
    ///
    /// # Errors
    ///
    /// An attempt with this or a higher number was begun before, or the peer claims to have what it cannot have. Nothing
    /// has changed; an older attempt goes on.
    //= S-12, S-13, S-14, S-15
    pub fn attempt(
        &mut self,
        now: Timestamp,
        attempt: Attempt,
        peer: Option<&Resume>,
    ) -> Result<(), AttemptError> {
        if self.last.is_some_and(|last| attempt <= last) {
            return Err(Fenced { attempt }.into());
        }
        if let Some(peer) = peer {
            self.sender.check(&peer.received)?;
            self.receiver.check(Some(peer.send_from))?;
        }
        if self.last.replace(attempt).is_some() {
            self.resumes = self.resumes.saturating_add(1);
        }
        let resumed = attempt > Attempt::default();
        self.current = Some(Current {
            attempt,
            received_due: resumed,
            head_due: self.side == Side::Server && self.head.is_some(),
            cancel_due: self.side == Side::Client && self.cancelled,
            spoke: now,
        });
        let from = if resumed { peer.map(|peer| peer.send_from) } else { Some(Position::ORIGIN) };
        let begun = self
            .sender
            .attempt(resumed, peer.map(|peer| &peer.received))
            .and_then(|()| self.receiver.attempt(from).map_err(StreamError::from));
        self.keep(begun);
        Ok(())
    }

    /// The value of `session-resume-bin` for the current attempt. Call it right after [`attempt`](Self::attempt).
    pub fn resume(&mut self) -> Resume {
        Resume {
            generation: Generation::default(),
            send_from: self.sender.cursor(),
            received: self.receiver.has(),
        }
    }

    /// The connection of this attempt was lost, or its request or response ended otherwise than in order. Ignored if a
    /// newer attempt goes on.
    pub fn detached(&mut self, attempt: Attempt) {
        if self.is_current(attempt).is_ok() {
            self.current = None;
            self.sender.detached();
            self.receiver.detached();
        }
    }

    /// The incoming body of this attempt ended in order. True if the direction is complete: END came. Otherwise it is as
    /// if the connection was lost, and the stream waits to be resumed.
    ///
    /// # Errors
    ///
    /// A newer attempt goes on.
    //= W-23
    pub fn transport_ended(&mut self, attempt: Attempt) -> Result<bool, Fenced> {
        self.is_current(attempt)?;
        if self.receiver.is_complete() {
            return Ok(true);
        }
        self.detached(attempt);
        Ok(false)
    }

    /// The incoming body of a caller without control frames ended in order, which is all the END that it has.
    ///
    /// # Errors
    ///
    /// A newer attempt goes on.
    pub fn ended_without_frames(&mut self, attempt: Attempt) -> Result<(), Fenced> {
        self.is_current(attempt)?;
        self.receiver.end_without_frames();
        Ok(())
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
            let done = self.receiver.messages(run);
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
            (Side::Client | Side::Server, Frame::Sync(point)) => self.receiver.sync(point),
            (Side::Client | Side::Server, Frame::SyncAck(ack)) => {
                self.sender.ack(ack).map_err(StreamError::from)
            }
            (Side::Client | Side::Server, Frame::Credit(credit)) => {
                self.sender.credit(credit).map_err(StreamError::from)
            }
            (Side::Client | Side::Server, Frame::Keepalive) => Ok(()),
            (Side::Client | Side::Server, Frame::End(position)) => self.receiver.end(position),
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
        match self.receiver.take() {
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

    /// The application has everything before the point; `state` travels to the sender with the confirmation.
    ///
    /// # Errors
    ///
    /// See [`Receiver::secure`].
    pub fn secure(&mut self, serial: Serial, state: Bytes) -> Result<(), SecureError> {
        self.receiver.secure(serial, state)
    }

    /// Whether the application's body is to be polled. Without a connection too: until the window is full.
    pub fn wants_data(&self) -> bool {
        self.failed.is_none() && self.sender.has_room()
    }

    /// The application's body gave these bytes, cut anywhere; their end is the end of a batch.
    pub fn app_sends(&mut self, bytes: Bytes) {
        if self.failed.is_none() {
            let done = self.sender.push(bytes);
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
                Step::Idle { wake: self.sender.wake().map_or(silent, |point| point.min(silent)) }
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

    /// How far it has come.
    pub fn progress(&self) -> Progress {
        Progress {
            sent: self.sender.sent(),
            sent_secured: self.sender.secured(),
            received: self.receiver.received(),
            delivered: self.receiver.delivered(),
            received_secured: self.receiver.secured(),
            resumes: self.resumes,
        }
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
        if std::mem::take(&mut current.head_due)
            && let Some(head) = &self.head
        {
            return Some(Step::Control(Frame::Head(head.clone())));
        }
        if let Some(frame) = self.receiver.step() {
            return Some(Step::Control(frame));
        }
        self.sender.step(now).map(|out| match out {
            Out::Data(bytes) => Step::Data(bytes),
            Out::Frame(frame) => Step::Control(frame),
        })
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
            Some(current) if current.attempt == attempt => Ok(()),
            Some(_) | None => Err(Fenced { attempt }),
        }
    }
}
