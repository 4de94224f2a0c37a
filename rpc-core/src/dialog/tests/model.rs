//! What a dialog comes to, in the plainest way: who owns each token, what was said and not heard, who wins.

use std::collections::VecDeque;

use super::world::{Message, Peer};
use crate::dialog::resync::Stage;
use crate::dialog::{Dialog, Holding, ResyncKind, Serials, Terms, Token, TokenSet};
use crate::frame::dialog::{Base, Numbered, Primitive, Resync};
use crate::stream::flow::Side;
use crate::stream::position::Serial;

/// The oracle.
pub(super) struct Model {
    /// Of each available token, each owner in turn: its generation is the place in the list.
    owners: Vec<(Token, Vec<(usize, usize)>)>,
    /// Numbers that were seen, of each side.
    seen: [u64; 2],
    typed: [VecDeque<u64>; 2],
    expedited: [VecDeque<u64>; 2],
    clock: u64,
    half_duplex: bool,
    /// Of two requests that cross: who must lose.
    loser: Option<usize>,
    bases: [VecDeque<(Option<Base>, Option<Base>)>; 2],
    pub(super) seen_so_far: Seen,
}

/// What happened: a run in which nothing does shows nothing.
#[derive(Debug, Default)]
pub(super) struct Seen {
    gifts: u32,
    said_again: u32,
    resets: u32,
    lost: u32,
    pieces: u32,
    /// How often a resynchronization waited for what lies before a separating point.
    pub(super) held: u32,
}

impl Seen {
    pub(super) fn add(&mut self, other: &Self) {
        self.gifts += other.gifts;
        self.said_again += other.said_again;
        self.resets += other.resets;
        self.lost += other.lost;
        self.pieces += other.pieces;
        self.held += other.held;
    }

    pub(super) fn check(&self) {
        let Self { gifts, said_again, resets, lost, pieces, held } = *self;
        let enough = gifts > 10_000 && said_again > 10_000 && resets > 5_000 && pieces > 10_000;
        assert!(enough && lost > 200 && held > 500, "too little happened: {self:?}");
    }
}

impl Model {
    pub(super) fn new(terms: &Terms, available: TokenSet) -> Self {
        let first = usize::from(terms.first_turn == Side::Server);
        Self {
            owners: available.iter().map(|token| (token, vec![(first, first)])).collect(),
            seen: [0, 0],
            typed: [VecDeque::new(), VecDeque::new()],
            expedited: [VecDeque::new(), VecDeque::new()],
            clock: 0,
            half_duplex: terms.half_duplex,
            loser: None,
            bases: [VecDeque::new(), VecDeque::new()],
            seen_so_far: Seen::default(),
        }
    }

    pub(super) fn stamp(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    /// A side says something: if it is new, tokens move with it. `is_separated`: the other side has everything before the
    /// last separating point.
    pub(super) fn said(&mut self, side: usize, numbered: &Numbered, is_separated: bool) {
        let holdings: &[Holding] = match &numbered.primitive {
            Primitive::Give(holdings) => holdings,
            Primitive::ResyncAck(ack) => &ack.holdings,
            Primitive::Please(_)
            | Primitive::Typed(_)
            | Primitive::Expedited(_)
            | Primitive::Exception(_)
            | Primitive::Resync(_) => &[],
        };
        if numbered.number <= self.seen[side] {
            self.seen_so_far.said_again += 1;
            return;
        }
        assert_eq!(numbered.number, self.seen[side] + 1, "a number is missing");
        self.seen[side] = numbered.number;
        //= D-34
        let touches_own = match &numbered.primitive {
            Primitive::Resync(request) => request.own.is_some(),
            Primitive::ResyncAck(ack) => ack.own.is_some(),
            Primitive::Give(_)
            | Primitive::Please(_)
            | Primitive::Typed(_)
            | Primitive::Expedited(_)
            | Primitive::Exception(_) => false,
        };
        assert!(!touches_own || is_separated, "what lies before a separating point is not safe");
        let is_gift = matches!(numbered.primitive, Primitive::Give(_));
        self.seen_so_far.gifts += u32::from(is_gift);
        for holding in holdings {
            let owners = self.owners.iter_mut().find(|(token, _)| *token == holding.token);
            let (_, owners) = owners.expect("available");
            //= D-3
            assert_eq!(holding.generation, owners.len() as u64, "generation of {}", holding.token);
            assert!(
                !is_gift || owners.last().is_some_and(|(owner, _)| *owner == side),
                "gave what it had not"
            );
            owners.push((if holding.mine { side } else { 1 - side }, side));
        }
    }

    /// Who may use a token now: its last owner, or nobody yet.
    pub(super) fn owners(&self, owned: [TokenSet; 2]) {
        for (token, owners) in &self.owners {
            for side in [0, 1] {
                let is_owner = owners.last().is_some_and(|(owner, _)| *owner == side);
                assert!(is_owner || !owned[side].contains(*token), "{token} is not side {side}'s");
            }
        }
    }

    pub(super) fn sends_data(&self, side: usize) {
        let owners = self.owners.iter().find(|(token, _)| *token == Token::Data);
        let speaks = owners.is_some_and(|(_, owners)| owners.last().is_some_and(|(owner, _)| *owner == side));
        assert!(!self.half_duplex || speaks, "side {side} speaks out of turn");
    }

    pub(super) fn piece(&mut self, side: usize, expedited: bool, stamp: u64) {
        self.pieces(side, expedited).push_back(stamp);
    }

    /// An application takes a piece: the next one of the other side.
    pub(super) fn took(&mut self, side: usize, expedited: bool, bytes: &[u8]) {
        self.seen_so_far.pieces += 1;
        let next = self.pieces(1 - side, expedited).pop_front();
        assert_eq!(
            next.map(u64::to_be_bytes).as_ref().map(|stamp| &stamp[..]),
            Some(bytes),
            "lost or doubled"
        );
    }

    /// Data arrived: expedited data that was sent before it has.
    //= D-9
    pub(super) fn data_arrived(&self, to: usize, message: &Message, heard: &Dialog) {
        let heard: Vec<u64> = heard.expedited.unread().map(number).collect();
        let earlier = self.expedited[1 - to].iter().filter(|stamp| **stamp < message.stamp);
        for stamp in earlier {
            assert!(heard.contains(stamp), "data was faster than expedited data");
        }
    }

    /// Two requests cross.
    pub(super) fn crossing(&mut self, peers: &[Peer; 2]) {
        if let [Stage::Asking { request: client, .. }, Stage::Asking { request: server, .. }] =
            [&peers[0].dialog.stage, &peers[1].dialog.stage]
        {
            self.loser = Some(loser(client, server));
        }
    }

    /// A side was told that its request lost. One that was never said loses to any.
    //= D-15, I20
    pub(super) fn lost(&mut self, side: usize) {
        if let Some(loser) = self.loser.take() {
            assert_eq!(loser, side, "the wrong request lost");
            self.seen_so_far.lost += 1;
        }
    }

    /// Both sides go on from the same bases.
    //= D-11
    pub(super) fn reset(&mut self, side: usize, own: Option<Base>, other: Option<Base>) {
        self.loser = None;
        self.seen_so_far.resets += 1;
        match self.bases[1 - side].pop_front() {
            Some(expected) => assert_eq!(expected, (other, own), "not the same bases"),
            None => self.bases[side].push_back((own, other)),
        }
    }

    /// The server dies: what the client has not heard of it is void, and what it had heard it forgets.
    pub(super) fn crashed(&mut self, client: &Dialog) {
        for (token, owners) in &mut self.owners {
            let known = client.tokens.generation(*token);
            while owners.len() as u64 - 1 > known && owners.last().is_some_and(|(_, by)| *by == 1) {
                owners.pop();
            }
        }
        self.seen[1] = client.inbox.received();
        let unconfirmed = |expedited: bool| {
            let stamp = move |primitive: &Primitive| match primitive {
                Primitive::Typed(bytes) if !expedited => Some(bytes.clone()),
                Primitive::Expedited(bytes) if expedited => Some(bytes.clone()),
                _ => None,
            };
            client.outbox.unconfirmed().filter_map(stamp).map(|bytes| number(&bytes)).collect()
        };
        self.typed = [unconfirmed(false), client.typed.unread().map(number).collect()];
        self.expedited = [unconfirmed(true), client.expedited.unread().map(number).collect()];
        self.loser = None;
        self.bases = [VecDeque::new(), VecDeque::new()];
    }

    pub(super) fn at_the_end(&self) {
        for side in [0, 1] {
            assert!(self.typed[side].is_empty() && self.expedited[side].is_empty(), "pieces are missing");
        }
    }

    fn pieces(&mut self, side: usize, expedited: bool) -> &mut VecDeque<u64> {
        if expedited { &mut self.expedited[side] } else { &mut self.typed[side] }
    }
}

fn number(bytes: &bytes::Bytes) -> u64 {
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// The rule in words of its own: the weaker kind loses; of two that are equal the server, but for a restart to a lower
/// serial.
fn loser(client: &Resync, server: &Resync) -> usize {
    let rank = |kind| match kind {
        ResyncKind::Restart => 1,
        ResyncKind::Set => 2,
        ResyncKind::Abandon => 3,
    };
    if rank(client.kind) != rank(server.kind) {
        return usize::from(rank(client.kind) > rank(server.kind));
    }
    let serial = |base: Option<Base>| base.map(|base| base.serial);
    for (client_serial, server_serial) in
        [(serial(client.own), server.other), (client.other, serial(server.own))]
    {
        if let (Some(client_serial), Some(server_serial), 1) =
            (client_serial, server_serial, rank(client.kind))
            && client_serial != server_serial
        {
            return usize::from(client_serial < server_serial);
        }
    }
    1
}

/// X.215 11.4 in words of its own.
//= I12, D-12, D-13, D-14
pub(super) fn check_serial(kind: ResyncKind, before: Serials, used: Serial, serial: Serial) {
    match kind {
        ResyncKind::Restart => {
            assert!(before.restart <= serial && serial <= before.next, "restart to {serial} of {before:?}");
        }
        ResyncKind::Abandon => assert!(serial > used && serial >= before.next, "{serial} was used"),
        ResyncKind::Set => assert!(serial >= Serial::FIRST),
    }
}
