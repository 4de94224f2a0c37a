//! The points at the place that a receiver has come to.

use std::collections::VecDeque;

use crate::checksum::append;
use crate::stream::POINTS_UNCONFIRMED_MAX;

/// By what the sending application left with them, oldest first, since the last message.
///
/// A sender that was restored knows how many messages its peer has, and not which of the points after the last of them: it
/// places those again under other numbers. An application is to see each once.
#[derive(Debug, Default)]
pub(super) struct Here {
    /// CRC32C of their states. At most as many as may be unconfirmed; beyond that the oldest are forgotten.
    states: VecDeque<u32>,
    /// Those that a restored sender may place again.
    before: VecDeque<u32>,
}

impl Here {
    /// A message came: the place is another one.
    pub(super) fn leave(&mut self) {
        self.states.clear();
        self.before.clear();
    }

    /// The sender was restored, and begins here.
    pub(super) fn rejoin(&mut self) {
        self.before.clone_from(&self.states);
    }

    /// A point came with that state. Whether it was here before: they come again in their order, from any of them on.
    pub(super) fn place(&mut self, state: &[u8]) -> bool {
        let state = append(0, state);
        if let Some(index) = self.before.iter().position(|before| *before == state) {
            self.before.drain(..=index);
            return true;
        }
        if self.states.len() == POINTS_UNCONFIRMED_MAX {
            self.states.pop_front();
        }
        self.states.push_back(state);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_come_again_in_their_order_and_once() {
        let mut here = Here::default();
        assert_eq!([&b"a"[..], b"", b"b"].map(|state| here.place(state)), [false; 3]);
        assert!(!here.place(b"a"), "the sender was not restored");
        for _ in 0..2 {
            here.rejoin();
            assert_eq!([&b"b"[..], b"a"].map(|state| here.place(state)), [true; 2]);
            assert!(here.before.is_empty());
        }
        assert_eq!([&b"b"[..], b"c"].map(|state| here.place(state)), [false; 2]);
        here.rejoin();
        here.leave();
        assert!(!here.place(b"a"), "another place");
    }

    #[test]
    fn they_are_bounded() {
        let mut here = Here::default();
        (0..5_000).for_each(|_| assert!(!here.place(b"")));
        assert_eq!(here.states.len(), POINTS_UNCONFIRMED_MAX);
    }
}
