//! The numbered primitives: what one side says is kept until the other has it, and said again, first of all, in the next
//! attempt.

use std::collections::VecDeque;

use crate::frame::dialog::{Numbered, Please, Primitive};
use crate::stream::error::Violation;
use crate::stream::position::Position;

/// Most primitives that wait for data to arrive before them. Of what may wait, sixteen pieces and each token once, there
/// is never more than this.
const GATED_MAX: usize = 32;

/// What this side says.
#[derive(Debug)]
pub(super) struct Outbox {
    /// Not said yet: after which position, and what.
    waiting: VecDeque<(Position, Primitive)>,
    /// Said and not confirmed, in the order of their numbers.
    said: VecDeque<Numbered>,
    /// How many of those were said in this attempt.
    again: usize,
    /// Number of the last one; `None` on a side that was restored, until the other has said what it has.
    last: Option<u64>,
    confirmed: u64,
}

impl Outbox {
    /// Of a dialog that begins.
    pub(super) fn new() -> Self {
        Self { waiting: VecDeque::new(), said: VecDeque::new(), again: 0, last: Some(0), confirmed: 0 }
    }

    /// Of a side that was restored: numbers go on from what the other received.
    pub(super) fn unnumbered() -> Self {
        Self { last: None, ..Self::new() }
    }

    /// To be said when everything up to `after` was sent.
    pub(super) fn push(&mut self, after: Position, primitive: Primitive) {
        self.waiting.push_back((after, primitive));
    }

    /// An attempt begins: what is not confirmed is said again.
    pub(super) fn attempt(&mut self) {
        self.again = 0;
    }

    /// What was said in an earlier attempt and is to be said again.
    pub(super) fn repeat(&mut self) -> Option<Numbered> {
        let numbered = self.said.get(self.again)?;
        self.again += 1;
        Some(numbered.clone())
    }

    /// Whether everything was said in this attempt that was said before it.
    pub(super) fn is_repeated(&self) -> bool {
        self.again >= self.said.len()
    }

    /// The next primitive that may be said when everything up to `sent` was sent. What waits for more is passed over by
    /// what does not wait.
    pub(super) fn next(&mut self, sent: Position) -> Option<Numbered> {
        self.last?;
        let index = self.waiting.iter().position(|(after, _)| after.within(sent))?;
        let (after, primitive) = self.waiting.remove(index)?;
        self.say(after, primitive)
    }

    /// Says it now; `None` where the numbers are not known.
    pub(super) fn say(&mut self, after: Position, primitive: Primitive) -> Option<Numbered> {
        let last = self.last.as_mut()?;
        // A peer may have put it anywhere, see `confirm`; numbers that repeat are dropped there.
        *last = last.saturating_add(1);
        let numbered = Numbered { number: *last, after, primitive };
        self.said.push_back(numbered.clone());
        self.again = self.said.len();
        Some(numbered)
    }

    /// The other side has all up to `number`.
    ///
    /// # Errors
    ///
    /// That was not said.
    pub(super) fn confirm(&mut self, number: u64) -> Result<(), Violation> {
        self.check_said(number)?;
        self.last.get_or_insert(number);
        while self.said.front().is_some_and(|first| first.number <= number) {
            self.said.pop_front();
            self.again = self.again.saturating_sub(1);
        }
        self.confirmed = self.confirmed.max(number);
        Ok(())
    }

    /// Whether `number` is of something that was said. Of a side that was restored, the other one knows better.
    ///
    /// # Errors
    ///
    /// It is not.
    pub(super) fn check_said(&self, number: u64) -> Result<(), Violation> {
        match self.last {
            Some(last) if number > last => Err(Violation::Unsaid { number, last }),
            Some(_) | None => Ok(()),
        }
    }

    /// The request for a resynchronization is void: where its number is said again, it says what is wanted anyway.
    pub(super) fn withdraw_resync(&mut self, wanted: Please) {
        for numbered in &mut self.said {
            if matches!(numbered.primitive, Primitive::Resync(_)) {
                numbered.primitive = Primitive::Please(wanted);
            }
        }
    }

    /// Nothing lies after `end` any more: what waits for more is to wait for that.
    pub(super) fn cut(&mut self, end: Position) {
        for (after, _) in &mut self.waiting {
            if !after.within(end) {
                *after = end;
            }
        }
    }

    /// Everything that is not confirmed, in order.
    pub(super) fn unconfirmed(&self) -> impl Iterator<Item = &Primitive> {
        let said = self.said.iter().map(|numbered| &numbered.primitive);
        said.chain(self.waiting.iter().map(|(_, primitive)| primitive))
    }

    /// Everything that is still to be said in this attempt.
    pub(super) fn unsaid(&self) -> impl Iterator<Item = &Primitive> {
        let again = self.said.iter().skip(self.again).map(|numbered| &numbered.primitive);
        again.chain(self.waiting.iter().map(|(_, primitive)| primitive))
    }

    /// The number up to which the other side has confirmed.
    pub(super) fn confirmed(&self) -> u64 {
        self.confirmed
    }
}

/// What the other side says.
#[derive(Debug)]
pub(super) struct Inbox {
    /// Number of the last one that arrived; `None` on a side that was restored, until the first one comes.
    received: Option<u64>,
    /// Number of the first one since this side was restored; 0: none came.
    first: u64,
    /// Arrived before the data that they follow.
    gated: VecDeque<Numbered>,
}

impl Inbox {
    /// Of a dialog that begins.
    pub(super) fn new() -> Self {
        Self { received: Some(0), first: 0, gated: VecDeque::new() }
    }

    /// Of a side that was restored: it goes on with whatever number comes first.
    pub(super) fn unnumbered() -> Self {
        Self { received: None, ..Self::new() }
    }

    /// Whether this one arrived before.
    ///
    /// # Errors
    ///
    /// One before it is missing.
    pub(super) fn arrived(&mut self, number: u64) -> Result<bool, Violation> {
        let last = match self.received {
            Some(last) => last,
            None => {
                self.first = number;
                number.saturating_sub(1)
            }
        };
        if number > last.saturating_add(1) {
            return Err(Violation::Missed { number, last });
        }
        self.received = Some(last.max(number));
        Ok(number <= last)
    }

    /// Whether it has to wait, for data or for one before it that waits. Of those without a position only a
    /// resynchronization waits for others: it ends what was said before.
    pub(super) fn is_early(&self, numbered: &Numbered, received: Position) -> bool {
        let is_last = matches!(numbered.primitive, Primitive::Resync(_) | Primitive::ResyncAck(_));
        let waits = (is_last || numbered.after != Position::ORIGIN) && !self.gated.is_empty();
        waits || !numbered.after.within(received)
    }

    /// Keeps it until its data is here.
    ///
    /// # Errors
    ///
    /// Too many wait.
    pub(super) fn keep(&mut self, numbered: Numbered) -> Result<(), Violation> {
        if self.gated.len() >= GATED_MAX {
            return Err(Violation::TooManyPieces);
        }
        self.gated.push_back(numbered);
        Ok(())
    }

    /// The next one whose data has come.
    pub(super) fn open(&mut self, received: Position) -> Option<Numbered> {
        let is_open = self.gated.front().is_some_and(|first| first.after.within(received));
        if is_open { self.gated.pop_front() } else { None }
    }

    /// The next one, whose data will not come.
    pub(super) fn open_any(&mut self) -> Option<Numbered> {
        self.gated.pop_front()
    }

    /// The peer was restored: what it said and nobody heard is void.
    pub(super) fn peer_restored(&mut self) {
        self.gated.clear();
    }

    /// Those that wait.
    pub(super) fn gated(&self) -> impl Iterator<Item = &Primitive> {
        self.gated.iter().map(|numbered| &numbered.primitive)
    }

    /// See the field.
    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// Number of the last one that arrived; 0: none.
    pub(super) fn received(&self) -> u64 {
        self.received.unwrap_or(0)
    }
}
