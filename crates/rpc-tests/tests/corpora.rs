//! What the fuzzer found before is given to the same functions again, and so is what it becomes when it is damaged.
#![expect(clippy::unwrap_used, reason = "a test says by panicking that something went wrong")]

#[path = "../../../fuzz/src/lib.rs"]
#[expect(unreachable_pub, reason = "a library of its own, for the fuzzer")]
mod targets;

use std::fmt::Write as _;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use targets::{TARGETS, Target};

/// Damaged inputs of each decoder, besides its corpus as it is.
const DAMAGED: usize = 1_000;
/// The same of series of operations and of targets that run a whole server, where each takes much longer.
const DAMAGED_SERIES: usize = 150;
const SERIES: [&str; 6] = ["calls", "dialog", "methods", "registry", "service", "stream"];
/// Longest damaged input.
const BYTES_MAX: usize = 1 << 10;

#[test]
fn what_was_found_before_does_no_harm() {
    for (name, target) in TARGETS {
        let corpus = corpus(name);
        assert!(corpus.len() >= 5, "the corpus of {name} has {} files", corpus.len());
        for (path, bytes) in corpus {
            assert!(catch_unwind(|| target(&bytes)).is_ok(), "{}", path.display());
        }
    }
}

#[test]
fn damage_does_no_harm() {
    for (name, target) in TARGETS {
        let corpus: Vec<Vec<u8>> = corpus(name).into_iter().map(|(_, bytes)| bytes).collect();
        let mut random = Random(0x5e55_1011);
        let count = if SERIES.contains(&name) { DAMAGED_SERIES } else { DAMAGED };
        for _ in 0..count {
            let mut bytes = random.one_of(&corpus).clone();
            for _ in 0..=random.below(3) {
                let other = random.one_of(&corpus);
                damage(&mut bytes, other, &mut random);
            }
            bytes.truncate(BYTES_MAX);
            check(name, target, &bytes);
        }
    }
}

#[test]
fn there_is_a_corpus_for_each_target_and_nothing_else() {
    let known = |entry: &str| TARGETS.iter().any(|(name, _)| *name == entry);
    for entry in std::fs::read_dir(corpora()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(known(&name), "{name} is no target");
        assert!(corpora().join(format!("../fuzz_targets/{name}.rs")).is_file(), "{name} is not fuzzed");
    }
}

fn corpora() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus")
}

/// The files of a target, in the order of their names.
fn corpus(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = std::fs::read_dir(corpora().join(name)).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

/// A failure shows the input, for a file in the corpus.
fn check(name: &str, target: Target, bytes: &[u8]) {
    if catch_unwind(|| target(bytes)).is_err() {
        let hex = bytes.iter().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        });
        panic!("{name} does not hold for {hex}");
    }
}

fn damage(bytes: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    let at = random.below(bytes.len() + 1);
    let length = random.below(16).min(bytes.len() - at);
    match random.below(7) {
        0 => bytes.truncate(at),
        1 => drop(bytes.drain(at..at + length)),
        2 => bytes.extend_from_within(at..at + length),
        3 => bytes.insert(at, random.next() as u8),
        4 => {
            let from = random.below(other.len() + 1);
            bytes.truncate(at);
            bytes.extend_from_slice(&other[from..]);
        }
        _ => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = if random.below(2) == 0 { random.next() as u8 } else { *byte ^ 1 << random.below(8) };
            }
        }
    }
}

/// The same inputs in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}
