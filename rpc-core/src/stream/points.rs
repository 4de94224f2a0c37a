//! The sender's sync points: their numbers by the rules of X.215 clause 11.4, and those not confirmed yet.

use std::collections::VecDeque;

use crate::dialog::{ResyncKind, Serials};
use crate::frame::{PointKind, SyncPoint};
use crate::stream::position::{Position, Serial};
use crate::stream::secured::Secured;

/// Most points of one direction that are not confirmed, the one before END included, for which a place is always left. At
/// the bound no further one is placed: the sender waits.
pub const POINTS_UNCONFIRMED_MAX: usize = 1_024;
/// Most bytes of state that the unconfirmed points of one direction carry together.
pub const STATE_BYTES_UNCONFIRMED_MAX: usize = 1 << 20;

impl Serials {
    /// As it is resumed at a secured point.
    //= D-18
    fn resumed(at: Serial) -> Self {
        Self { next: at.next(), unconfirmed: at.next(), restart: Serial::FIRST }
    }

    /// A minor point takes V(M) and raises it.
    //= S-4
    fn place(&mut self) -> Serial {
        let serial = self.next;
        self.next = serial.next();
        serial
    }

    /// A major point is confirmed: nothing goes back behind it. Nothing but an answer to the peer's was placed after it, so
    /// that V(M) is the number after its own.
    //= S-6, I12
    fn close_unit(&mut self, major: Serial) {
        self.restart = major.next();
    }

    /// A confirmation confirms all up to `serial`. False if all those were confirmed already.
    //= S-5
    fn confirm(&mut self, serial: Serial) -> Result<bool, NotPlaced> {
        if serial >= self.next {
            return Err(NotPlaced { serial, next: self.next });
        }
        if serial < self.unconfirmed {
            return Ok(false);
        }
        self.unconfirmed = serial.next();
        Ok(true)
    }
}

/// A point was confirmed that does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NotPlaced {
    pub(super) serial: Serial,
    pub(super) next: Serial,
}

/// The points that were placed and not confirmed, oldest first; their serials are V(A) to V(M) - 1.
#[derive(Debug)]
pub(super) struct Points {
    serials: Serials,
    waiting: VecDeque<SyncPoint>,
    state_bytes: usize,
    /// The last confirmed point: everything before it is secured.
    confirmed: Option<SyncPoint>,
}

impl Points {
    /// Of a direction that goes on from `secured`, or from its beginning.
    pub(super) fn new(secured: Option<&Secured>) -> Self {
        Self {
            serials: secured.map_or(Serials::START, |point| Serials::resumed(point.serial)),
            waiting: VecDeque::new(),
            state_bytes: 0,
            confirmed: secured.map(Secured::point),
        }
    }

    /// Whether one more with this much state may wait for its confirmation.
    //= S-33
    pub(super) fn has_room(&self, state_bytes: usize) -> bool {
        self.waiting.len() + 1 < POINTS_UNCONFIRMED_MAX
            && self.state_bytes + state_bytes <= STATE_BYTES_UNCONFIRMED_MAX
    }

    /// Whether the one before END may wait for its confirmation.
    pub(super) fn has_room_for_last(&self) -> bool {
        self.waiting.len() < POINTS_UNCONFIRMED_MAX
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Places a point; its serial is set here.
    pub(super) fn place(&mut self, mut point: SyncPoint) {
        point.serial = self.serials.place();
        if point.kind == PointKind::MajorAnswer {
            // Who answers has confirmed by that.
            self.serials.close_unit(point.serial);
        }
        self.state_bytes += point.state.len();
        self.waiting.push_back(point);
    }

    /// The last one that was placed, if it waits.
    pub(super) fn last(&self) -> Option<&SyncPoint> {
        self.waiting.back()
    }

    /// Forgets the points up to `serial`; answers where the last of them lies, or `None` if it was confirmed already.
    pub(super) fn confirm(&mut self, serial: Serial) -> Result<Option<Position>, NotPlaced> {
        if !self.serials.confirm(serial)? {
            return Ok(None);
        }
        while self.waiting.front().is_some_and(|point| point.serial <= serial) {
            let Some(point) = self.waiting.pop_front() else { break };
            self.state_bytes -= point.state.len();
            match point.kind {
                PointKind::Major => self.serials.close_unit(point.serial),
                PointKind::Minor | PointKind::Separating | PointKind::MajorAnswer => {}
            }
            self.confirmed = Some(point);
        }
        Ok(Some(self.secured()))
    }

    /// The point with that serial, if it waits.
    pub(super) fn waiting(&self, serial: Serial) -> Option<&SyncPoint> {
        let index = serial.0.checked_sub(self.serials.unconfirmed.0)?;
        self.waiting.get(usize::try_from(index).ok()?)
    }

    /// The next point has that number, and none before it is unconfirmed: a resynchronization, *set*.
    //= D-11
    pub(super) fn set(&mut self, next: Serial) {
        debug_assert!(self.waiting.is_empty(), "a restored sender places none before it knows their numbers");
        self.serials = Serials { next, unconfirmed: next, restart: next };
    }

    /// Everything begins anew at `base`: no point before it is remembered or waits.
    pub(super) fn reset(&mut self, kind: ResyncKind, base: SyncPoint) {
        self.serials = self.serials.after(kind, base.serial.next());
        self.serials.restart = self.serials.restart.min(self.serials.next);
        self.waiting.clear();
        self.state_bytes = 0;
        self.confirmed = Some(base);
    }

    /// Nothing is known of the points before V(M), so that nothing goes back behind it.
    pub(super) fn forget_restart(&mut self) {
        self.serials.restart = self.serials.next;
    }

    /// The serial of the first waiting point at or after `position`; V(M) if there is none.
    pub(super) fn first_from(&self, position: Position) -> Serial {
        let index = self.waiting.partition_point(|point| point.position < position);
        Serial(self.serials.unconfirmed.0 + index as u64)
    }

    /// The last waiting point that lies after at most so many messages.
    pub(super) fn last_up_to(&self, messages: u64) -> Option<&SyncPoint> {
        let index = self.waiting.partition_point(|point| point.position.messages <= messages);
        self.waiting.get(index.checked_sub(1)?)
    }

    /// The first waiting point that lies after more messages than that.
    pub(super) fn first_after(&self, messages: u64) -> Option<&SyncPoint> {
        self.waiting.get(self.waiting.partition_point(|point| point.position.messages <= messages))
    }

    pub(super) fn serials(&self) -> Serials {
        self.serials
    }

    pub(super) fn secured(&self) -> Position {
        self.confirmed.as_ref().map_or(Position::ORIGIN, |point| point.position)
    }

    pub(super) fn confirmed(&self) -> Option<&SyncPoint> {
        self.confirmed.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::stream::digest::Digest;

    fn point(bytes: u64) -> SyncPoint {
        SyncPoint {
            serial: Serial::NONE,
            position: Position { messages: bytes, bytes },
            digest: Digest { crc: 0, blake3: None },
            state: Bytes::new(),
            kind: Default::default(),
        }
    }

    //= test S-4, S-5
    #[test]
    fn the_variables_move_as_the_table_says() {
        let mut serials = Serials::START;
        let mut table = String::new();
        let mut row = |what: &str, serials: Serials| {
            let Serials { next, unconfirmed, restart } = serials;
            table.push_str(&format!("{what:<10} V(M)={next} V(A)={unconfirmed} V(R)={restart}\n"));
        };
        row("start", serials);
        for _ in 0..3 {
            serials.place();
        }
        row("3 points", serials);
        assert_eq!(serials.confirm(Serial(2)), Ok(true));
        row("confirm 2", serials);
        assert_eq!(serials.confirm(Serial(1)), Ok(false));
        row("confirm 1", serials);
        assert_eq!(serials.confirm(Serial(4)), Err(NotPlaced { serial: Serial(4), next: Serial(4) }));
        row("confirm 4", serials);
        assert_eq!(serials.confirm(Serial(3)), Ok(true));
        row("confirm 3", serials);
        assert_eq!(
            table,
            "start      V(M)=1 V(A)=1 V(R)=1\n\
             3 points   V(M)=4 V(A)=1 V(R)=1\n\
             confirm 2  V(M)=4 V(A)=3 V(R)=1\n\
             confirm 1  V(M)=4 V(A)=3 V(R)=1\n\
             confirm 4  V(M)=4 V(A)=3 V(R)=1\n\
             confirm 3  V(M)=4 V(A)=4 V(R)=1\n"
        );
    }

    //= test D-18
    #[test]
    fn a_resumed_direction_goes_on_after_its_point() {
        let secured = Secured::new(&SyncPoint { serial: Serial(7), ..point(70) }, Bytes::new());
        let mut points = Points::new(Some(&secured));
        let Serials { next, unconfirmed, restart } = points.serials();
        assert_eq!((next, unconfirmed, restart), (Serial(8), Serial(8), Serial(1)));
        assert_eq!(points.secured().bytes, 70);
        assert_eq!(points.confirm(Serial(7)).unwrap(), None, "it was confirmed before");
        points.place(point(80));
        assert_eq!(points.waiting(Serial(8)).unwrap().position.bytes, 80);
        assert_eq!(points.confirmed(), Some(&secured.point()));
    }

    #[test]
    fn a_confirmation_is_cumulative_and_forgets() {
        let mut points = Points::new(None);
        [10, 20, 20, 30].into_iter().for_each(|bytes| points.place(point(bytes)));
        assert_eq!(points.first_from(Position { messages: 20, bytes: 20 }), Serial(2));
        assert_eq!(points.first_from(Position { messages: 31, bytes: 31 }), Serial(5));
        let secured = points.confirm(Serial(3)).unwrap().unwrap();
        assert_eq!(secured.bytes, 20);
        assert_eq!(points.confirm(Serial(3)).unwrap(), None);
        assert_eq!(points.waiting(Serial(3)), None);
        assert_eq!(points.waiting(Serial(4)).unwrap().position.bytes, 30);
        assert_eq!(points.secured().bytes, 20);
    }

    //= test S-33
    #[test]
    fn points_and_their_state_are_bounded() {
        let mut points = Points::new(None);
        for _ in 1..POINTS_UNCONFIRMED_MAX {
            assert!(points.has_room(0));
            points.place(point(1));
        }
        assert!(!points.has_room(0) && points.has_room_for_last());
        points.place(point(1));
        assert!(!points.has_room_for_last());
        assert_eq!(points.len(), POINTS_UNCONFIRMED_MAX);
        assert!(!Points::new(None).has_room(STATE_BYTES_UNCONFIRMED_MAX + 1));
    }
}
