//! What processes lose when they die, and what they have stored.

use super::{Peer, World};
use crate::id::Attempt;
use crate::policy::Secure;
use crate::stream::flow::{Flow, Side};
use crate::stream::secured::{Resumption, Secured};

impl World {
    /// Both processes die. Another call goes on from the points of which one side or the other knows that they are
    /// secured, with another attempt 0.
    pub(super) fn interrupt(&mut self) {
        self.interruptions += 1;
        self.link = None;
        self.next_attempt = Attempt::default();
        self.is_resumed = true;
        let known = [0, 1].map(|side| self.peers[side].flow.resumption());
        let resumption = Resumption {
            requests: known[self.random.below(2)].requests.clone(),
            responses: known[self.random.below(2)].responses.clone(),
        };
        let Resumption { requests, responses } = &resumption;
        for point in requests.iter().chain(responses) {
            self.states_are_those_of(point);
            self.resumed_at = self.resumed_at.max(point.position);
        }
        for (side, name) in [Side::Client, Side::Server].into_iter().enumerate() {
            let flow = Flow::resumed(name, &self.plan.configs[side], &resumption);
            assert_eq!(flow.resumption(), resumption, "nothing was lost on the way");
            let (sent, received) = if side == 0 { (requests, responses) } else { (responses, requests) };
            self.peers[side] = Peer::resumed(flow, sent.as_ref(), received.as_ref());
            self.keep_positions(side);
        }
    }

    /// The server's store: one write at a time, each of which takes its time.
    pub(super) fn keep(&mut self) {
        let flow = &mut self.peers[1].flow;
        match &self.storing {
            Some(_) if !self.random.one_in(3) => {}
            Some(written) => {
                self.store = written.clone();
                flow.stored(&self.store);
                self.storing = None;
            }
            None if self.random.one_in(2) => self.storing = flow.unstored(),
            None => {}
        }
    }

    /// The server's process dies. Its store has the write that was under way, or has not.
    pub(in crate::stream::tests) fn crash(&mut self) {
        self.crashes += 1;
        self.link = None;
        if let Some(written) = self.storing.take()
            && self.random.one_in(2)
        {
            self.store = written;
        }
        let Resumption { requests, responses } = &self.store;
        for point in requests.iter().chain(responses) {
            self.states_are_those_of(point);
        }
        let flow = Flow::restored(Side::Server, &self.plan.configs[1], &self.store);
        self.peers[1] = Peer::resumed(flow, responses.as_ref(), requests.as_ref());
        self.keep_positions(1);
        self.repeated += self.peers[0].flow.receiver().received().messages - self.peers[1].given;
    }

    /// What the client was told is in the store.
    //= test S-3, S-28
    pub(super) fn check_store(&self) {
        let Some(told) = self.peers[0].flow.resumption().requests else { return };
        let stored = self.store.requests.as_ref().expect("told, and not stored");
        assert!(told.serial <= stored.serial, "told {told:?}, stored {stored:?}: {:?}", self.plan);
        assert!(told.serial < stored.serial || told == *stored);
        assert!(self.peers[0].flow.progress().sent_secured <= stored.position);
    }

    /// The sending application leaves the number of messages before the point, the receiving one its serial.
    //= test S-10
    #[track_caller]
    fn states_are_those_of(&self, point: &Secured) {
        let explicit = self.plan.configs[0].secure == Secure::Explicit;
        if explicit {
            // A point that was placed again is secured with the one that the application knows.
            let left = u64::from_be_bytes(point.receiver_state[..].try_into().unwrap());
            assert!(
                left == point.serial.0 || self.crashes > 0 && left < point.serial.0,
                "{left} at {point:?}"
            );
        } else {
            assert!(point.receiver_state.is_empty());
        }
        let asked =
            point.sender_state.is_empty() || *point.sender_state == point.position.messages.to_be_bytes();
        assert!(asked, "not where it was asked for: {point:?}");
    }
}
