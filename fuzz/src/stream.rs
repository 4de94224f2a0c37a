//! Both sides of a stream, over connections that die, and a server that does.

use rpc_core::policy::Secure;
use rpc_core::stream::Config;

use super::choices::Choices;
use super::pair::Pair;

const WINDOW_BYTES: u64 = 64 << 10;

/// What the applications do and what the network does, in any order. Every message arrives once, as it was given and in
/// its place; nothing is freed before it is secured; and when the faults end the call comes to its end.
pub fn run(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let terms = choices.byte();
    let configs = [0, 1].map(|side| {
        let mut config = Config::default();
        config.window_bytes = WINDOW_BYTES;
        config.secure = if terms >> side & 1 == 1 { Secure::Explicit } else { Secure::Automatic };
        config.durable = side == 1 && terms & 4 == 4;
        config
    });
    let mut pair = Pair::new(configs);
    while !choices.are_over() {
        step(&mut pair, &mut choices);
        pair.check();
    }
    finish(&mut pair);
}

fn step(pair: &mut Pair, choices: &mut Choices<'_>) {
    let operation = choices.byte();
    let side = usize::from(operation >> 7);
    match operation & 0x7f {
        0..16 => pair.give(side, 1 + choices.below(64)),
        16..28 => {
            let _ = pair.take(side);
        }
        28..36 => pair.secure(side),
        36..52 => pair.write(side),
        52..68 => {
            let _ = pair.deliver(side, 1 + choices.below(256));
        }
        68..76 => {
            let _ = pair.deliver(side, usize::MAX);
        }
        76..84 => {
            let _ = pair.peers[side].flow.app_syncs(b"here".to_vec().into());
        }
        84..92 => {
            let ahead = pair.peers[side].given + choices.below(8) as u64;
            let _ = pair.peers[side].flow.app_syncs_at(ahead, b"there".to_vec().into());
        }
        92..100 => pair.connect(),
        100..106 => pair.cut([choices.yes(), choices.yes()]),
        106..112 => pair.store(),
        112..115 => pair.crash(),
        115..118 => pair.end(side),
        _ => pair.pass(choices.below(30) as u64),
    }
}

fn finish(pair: &mut Pair) {
    for _ in 0..500 {
        for side in [0, 1] {
            pair.end(side);
        }
        pair.turn();
        let is_over = |side: usize| pair.peers[side].ended[1] && pair.peers[side].flow.is_secured();
        if is_over(0) && is_over(1) {
            assert_eq!([pair.peers[0].got, pair.peers[1].got], [pair.peers[1].given, pair.peers[0].given]);
            return;
        }
        pair.pass(1);
    }
    panic!("never at its end: {:#?}", [0, 1].map(|side| pair.peers[side].flow.progress()));
}
