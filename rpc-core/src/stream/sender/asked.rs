//! The sync points that the application asked for and that are not placed yet.

use std::collections::VecDeque;

use bytes::Bytes;

/// After how many messages of the direction each lies, and its state; in order.
#[derive(Debug, Default)]
pub(super) struct Asked {
    points: VecDeque<(u64, Bytes)>,
    state_bytes: usize,
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
    pub(super) fn push(&mut self, messages: u64, state: Bytes) {
        self.state_bytes += state.len();
        let index = self.points.partition_point(|(other, _)| *other <= messages);
        self.points.insert(index, (messages, state));
    }

    /// After how many messages the next one lies.
    pub(super) fn next(&self) -> Option<u64> {
        self.points.front().map(|(messages, _)| *messages)
    }

    /// Whether one lies after messages that `given` does not include.
    pub(super) fn is_ahead(&self, given: u64) -> bool {
        self.points.back().is_some_and(|(messages, _)| *messages > given)
    }

    /// The state of the point after `messages`, if that is the next one.
    pub(super) fn state_at(&self, messages: u64) -> Option<&Bytes> {
        self.points.front().filter(|(at, _)| *at == messages).map(|(_, state)| state)
    }

    /// Takes the next one.
    pub(super) fn pop(&mut self) -> Option<Bytes> {
        let (_, state) = self.points.pop_front()?;
        self.state_bytes -= state.len();
        Some(state)
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
            let Some((_, state)) = self.points.pop_back() else { break };
            self.state_bytes -= state.len();
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.points.is_empty()
    }
}
