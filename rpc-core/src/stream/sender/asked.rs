//! The sync points that the application asked for and that are not placed yet.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::frame::PointKind;

/// After how many messages of the direction each lies; in order.
#[derive(Debug, Default)]
pub(super) struct Asked {
    points: VecDeque<(u64, AskedPoint)>,
    state_bytes: usize,
}

/// A point that is to be placed.
#[derive(Debug)]
pub(super) struct AskedPoint {
    pub(super) kind: PointKind,
    pub(super) state: Bytes,
}

impl Asked {
    pub(super) fn len(&self) -> usize {
        self.points.len()
    }

    /// Bytes of state that wait here.
    pub(super) fn state_bytes(&self) -> usize {
        self.state_bytes
    }

    /// Behind those at the same place.
    pub(super) fn push(&mut self, messages: u64, point: AskedPoint) {
        self.state_bytes += point.state.len();
        let index = self.points.partition_point(|(other, _)| *other <= messages);
        self.points.insert(index, (messages, point));
    }

    /// After how many messages the next one lies.
    pub(super) fn next(&self) -> Option<u64> {
        self.points.front().map(|(messages, _)| *messages)
    }

    /// Whether one lies after messages that `given` does not include.
    pub(super) fn is_ahead(&self, given: u64) -> bool {
        self.points.back().is_some_and(|(messages, _)| *messages > given)
    }

    /// The point after `messages`, if that is the next one.
    pub(super) fn at(&self, messages: u64) -> Option<&AskedPoint> {
        self.points.front().filter(|(at, _)| *at == messages).map(|(_, point)| point)
    }

    /// After how many messages the last separating one lies, of those that do not lie after more than `given`.
    pub(super) fn separating(&self, given: u64) -> Option<u64> {
        let mut last_first = self.points.iter().rev();
        let last = last_first.find(|(at, point)| *at <= given && point.kind == PointKind::Separating);
        last.map(|(at, _)| *at)
    }

    /// Whether one of that kind is among them.
    pub(super) fn has(&self, kind: PointKind) -> bool {
        self.points.iter().any(|(_, point)| point.kind == kind)
    }

    /// Takes the next one.
    pub(super) fn pop(&mut self) -> Option<AskedPoint> {
        let (_, point) = self.points.pop_front()?;
        self.state_bytes -= point.state.len();
        Some(point)
    }

    /// Messages begin after that many: what lies before is forgotten.
    pub(super) fn begin_at(&mut self, messages: u64) {
        while self.next().is_some_and(|next| next < messages) {
            self.pop();
        }
    }

    /// There will be no more than that many messages: what lies after more is forgotten.
    pub(super) fn end_at(&mut self, messages: u64) {
        while self.is_ahead(messages) {
            let Some((_, point)) = self.points.pop_back() else { break };
            self.state_bytes -= point.state.len();
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.points.is_empty()
    }
}
