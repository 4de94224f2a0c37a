//! Random dialogs over a lossy link.

use super::world::{Random, World};
use super::{terms, units};
use crate::dialog::{Request, ResyncKind, Token, TokenSet};
use crate::frame::dialog::Wish;
use crate::stream::flow::Side;
use crate::stream::position::Serial;

/// How many dialogs in the ordinary run.
const SEEDS: u64 = 50_000;
/// Steps of each before its link heals.
const STEPS: u64 = 50;

/// Says how to repeat a run that fails.
struct Repeat(u64);

impl Drop for Repeat {
    #[expect(clippy::print_stderr, reason = "a panic that is under way cannot carry the seed")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("repeat it: DIALOG_SEED={} cargo test -p rpc-core --lib dialog::tests::random", self.0);
        }
    }
}

//= test D-1, D-2, D-3, D-4, D-5, D-8, D-9, D-11, D-12, D-13, D-14, D-15, D-16
//= test D-6, D-29, D-30, D-31, D-33, D-34, I12, I14, I15, I16, I20
#[test]
fn every_dialog_comes_to_what_the_model_says_whatever_the_link_does() {
    let seeds = match option_env!("DIALOG_SEED") {
        Some(seed) => seed.parse().map_or(0..0, |seed: u64| seed..seed + 1),
        None => 0..SEEDS,
    };
    let (mut cuts, mut crashes, mut seen) = (0, 0, super::model::Seen::default());
    for seed in seeds {
        let _repeat = Repeat(seed);
        let world = run(seed);
        cuts += world.cuts;
        crashes += world.crashes;
        seen.add(&world.model.seen_so_far);
    }
    if option_env!("DIALOG_SEED").is_none() {
        assert!(cuts > 30_000 && crashes > 3_000, "{cuts} cuts, {crashes} crashes: too kind a link");
        seen.check();
    }
}

fn run(seed: u64) -> World {
    let random = &mut Random::new(seed);
    let half_duplex = !random.one_in(3);
    let first = if random.one_in(2) { Side::Client } else { Side::Server };
    let crashes = random.one_in(3);
    let mut world =
        World::new([Side::Client, Side::Server].map(|side| terms(side, half_duplex, first, units())));
    for _ in 0..STEPS {
        let side = random.below(2) as usize;
        match random.below(41) {
            0..12 => world.deliver(side),
            12..22 => world.pump(side, random.below(4) as usize),
            22..25 => world.give_data(side),
            25..28 => world.give_tokens(side, tokens(random)),
            28 => world.please(side, tokens(random)),
            29 => world.typed(side, false),
            30 => world.typed(side, true),
            31 => world.take_pieces(side),
            32 => world.report(side),
            33 | 34 => {
                let request = request(&world, side, random);
                world.resynchronize(side, request);
            }
            35 | 36 => world.answer(side, tokens(random)),
            37 => world.cut(),
            40 => world.separate(side),
            38 if crashes && random.one_in(4) => world.crash(),
            38 if random.one_in(16) => world.end(side),
            38 if random.one_in(2) => world.close_unit(side),
            38 => world.tick(),
            _ => world.connect(),
        }
    }
    world.heal();
    world
}

fn tokens(random: &mut Random) -> TokenSet {
    Token::ALL.into_iter().filter(|_| random.one_in(2)).collect()
}

fn request(world: &World, side: usize, random: &mut Random) -> Request {
    let here = world.peers[side].here();
    let (unused_own, unused_other) = world.peers[side].dialog.unused(&here);
    let kind = ResyncKind::ALL[random.below(3) as usize];
    let mut serial = |serials: crate::dialog::Serials, unused: Serial| {
        let (least, most) = serials.range(kind, unused);
        let span = (most.0 - least.0).min(3);
        (!random.one_in(4)).then(|| Serial(least.0 + random.below(span + 1)))
    };
    let (own, other) = (serial(here.own.serials, unused_own), serial(here.other.serials, unused_other));
    let wishes = world.peers[side].dialog.available().iter();
    let wishes = wishes.filter_map(|token| match random.below(4) {
        0 => Some((token, Wish::Mine)),
        1 => Some((token, Wish::Yours)),
        2 => Some((token, Wish::Choose)),
        _ => None,
    });
    Request { kind, own, other, wishes: wishes.collect(), state: bytes::Bytes::new() }
}
