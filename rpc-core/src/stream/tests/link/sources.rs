//! Applications that can give again what they gave.

use bytes::Bytes;

use super::World;

impl World {
    /// Nothing is kept of what that side sends, if its application is such a one.
    pub(super) fn keep_positions(&mut self, side: usize) {
        if self.plan.rereads[side] {
            self.peers[side].flow.keep_positions().unwrap();
        }
    }

    /// Its application begins again, if it is to; now and then it goes on for a while with what it was at.
    pub(super) fn begin_again(&mut self, side: usize) {
        if !self.peers[side].flow.is_reread_due() || self.random.one_in(2) {
            return;
        }
        let from = self.peers[side].flow.reread().expect("due");
        self.begin_again_at(side, from);
    }

    pub(in crate::stream::tests) fn begin_again_at(&mut self, side: usize, from: u64) {
        let peer = &mut self.peers[side];
        assert!(from <= peer.given, "from {from} of {}: {:?}", peer.given, self.plan);
        assert!(from >= peer.flow.sender().secured().messages, "secured already: {:?}", self.plan);
        self.rereads += u32::from(from < peer.given);
        (peer.given, peer.rest) = (from, Bytes::new());
    }

    pub(in crate::stream::tests) fn below(&mut self, bound: u64) -> u64 {
        self.random.next() % bound
    }
}
