//! Builds the tests of the workspace with the faults in them, and runs one in a process of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rpc_core::planted::Bug;
use serde_json::Value;

/// Names the fault of a process.
const PLANTED: &str = "SESSION_PLANTED";
/// Seeds of the simulation in which a fault has to be found.
const SEEDS: u64 = 150;
/// After this time a test has not found anything.
const PATIENCE: Duration = Duration::from_secs(100);

/// A test, and where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Test {
    binary: &'static str,
    name: &'static str,
    /// Of a simulation: where it begins.
    seed: Option<u64>,
}

impl Test {
    /// One of a binary.
    pub(crate) const fn of(binary: &'static str, name: &'static str) -> Self {
        Self { binary, name, seed: None }
    }

    /// The simulation, from that seed on.
    pub(crate) const fn simulation(seed: u64) -> Self {
        Self { seed: Some(seed), ..Self::of("seeds", "no_seed_breaks_an_invariant") }
    }
}

/// How a test found a fault.
#[derive(Debug)]
pub(crate) struct Found {
    /// In which of its cases, where it says that.
    case: String,
    took: Duration,
}

/// The binaries of the tests, by their names.
pub(crate) struct Binaries {
    paths: BTreeMap<String, PathBuf>,
    /// Those that pass without a fault.
    sound: Mutex<BTreeSet<Test>>,
}

impl Binaries {
    /// Builds them as `cargo planted` builds this one.
    pub(crate) fn build() -> Self {
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let output = Command::new(cargo)
            .args(["planted", "--lib", "--test", "seeds", "--test", "it", "--no-run", "--quiet"])
            .args(["--message-format", "json"])
            .stderr(Stdio::inherit())
            .output()
            .expect("cargo runs");
        assert!(output.status.success(), "the tests do not build");
        let text = String::from_utf8(output.stdout).expect("cargo writes UTF-8");
        let messages = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let paths = messages.filter_map(|message| {
            let path = message["executable"].as_str()?;
            Some((message["target"]["name"].as_str()?.to_owned(), PathBuf::from(path)))
        });
        Self { paths: paths.collect(), sound: Mutex::default() }
    }

    /// Whether the test fails with the fault, and passes without it.
    pub(crate) fn finds(&self, test: &Test, bug: Bug) -> Result<Found, String> {
        let begun = Instant::now();
        let log = log_of(&format!("{bug:?}-{}", test.name.replace(':', "_")));
        let ended = self.run(test, Some(bug), test.seed, &log)?;
        let took = begun.elapsed();
        let text = fs::read_to_string(&log).unwrap_or_default();
        if ended.success() {
            return Err("the test passes".into());
        }
        if ended.code().is_some() && !text.contains("test result: FAILED. 0 passed; 1 failed") {
            return Err(format!("the test did not run: {}", log.display()));
        }
        // A host that panics while it panics takes the process with it.
        let seed = case_of(&text, "\nseed ").or_else(|| case_of(&text, "'seed "));
        self.passes_without(test, seed.or(test.seed))?;
        let case = [("\nseed ", "seed"), ("DIALOG_SEED=", "seed"), (" seed: ", "seed"), ("'seed ", "seed")];
        let case = case.iter().find_map(|(mark, word)| Some(format!("{word} {}", case_of(&text, mark)?)));
        let broken = invariant_of(&text).filter(|_| test.seed.is_some());
        let broken = broken.map(|broken| format!(", {broken}")).unwrap_or_default();
        Ok(Found { case: case.unwrap_or_default() + &broken, took })
    }

    /// Of a simulation, the seed that failed is the one that has to pass.
    fn passes_without(&self, test: &Test, seed: Option<u64>) -> Result<(), String> {
        let test = Test { seed: test.seed.and(seed), ..*test };
        if self.sound.lock().unwrap_or_else(PoisonError::into_inner).contains(&test) {
            return Ok(());
        }
        let log = log_of(&format!("sound-{}-{}", test.name.replace(':', "_"), seed.unwrap_or_default()));
        let ended = self.run(&test, None, test.seed, &log)?;
        let text = fs::read_to_string(&log).unwrap_or_default();
        if !ended.success() || !text.contains("test result: ok. 1 passed") {
            return Err(format!("the test does not pass without the fault: {}", log.display()));
        }
        self.sound.lock().unwrap_or_else(PoisonError::into_inner).insert(test);
        Ok(())
    }

    fn run(
        &self,
        test: &Test,
        bug: Option<Bug>,
        seed: Option<u64>,
        log: &Path,
    ) -> Result<ExitStatus, String> {
        let path = self.paths.get(test.binary).ok_or_else(|| format!("there is no {}", test.binary))?;
        let file = File::create(log).map_err(|error| error.to_string())?;
        let both = file.try_clone().map_err(|error| error.to_string())?;
        let mut command = Command::new(path);
        command.args(["--exact", test.name]).stdin(Stdio::null()).stdout(file).stderr(both);
        // proptest would keep what it found beside the sources, which it does not find from here.
        command.current_dir(env!("CARGO_TARGET_TMPDIR")).env("RUST_BACKTRACE", "0").env_remove(PLANTED);
        if let Some(bug) = bug {
            command.env(PLANTED, format!("{bug:?}"));
        }
        if let Some(seed) = seed {
            let seeds = if bug.is_some() { SEEDS } else { 1 };
            command.env("SESSION_SIM_FIRST", seed.to_string()).env("SESSION_SIM_SEEDS", seeds.to_string());
        }
        let mut child = command.spawn().map_err(|error| error.to_string())?;
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = child.try_wait().map_err(|error| error.to_string())? {
                return Ok(status);
            }
            if Instant::now() > until {
                // It may have ended in this moment.
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("the test did not end within {PATIENCE:?}: {}", log.display()));
            }
            sleep(Duration::from_millis(5));
        }
    }
}

/// The fault that is wanted alone.
pub(crate) fn wanted() -> Option<String> {
    env::var(PLANTED).ok()
}

/// What is shown of one row.
pub(crate) struct Shown<'a> {
    pub(crate) bug: Bug,
    pub(crate) test: &'a Test,
    pub(crate) found: &'a Result<Found, String>,
}

/// Prints the table. Not `println!`, which the test harness keeps to itself.
pub(crate) fn show<'a>(rows: impl Iterator<Item = Shown<'a>>) {
    let mut lines = vec!["| fault | what it does | found by | case | ms |".to_owned()];
    lines.push("| --- | --- | --- | --- | --- |".into());
    for Shown { bug, test, found } in rows {
        let by = match test.seed {
            Some(_) => "simulation".to_owned(),
            None => {
                format!("{} `{}`", package_of(test.binary), test.name.rsplit("::").next().unwrap_or_default())
            }
        };
        let (case, took) = match found {
            Ok(Found { case, took }) => (case.clone(), took.as_millis().to_string()),
            Err(why) => (format!("NOT FOUND: {why}"), String::new()),
        };
        lines.push(format!("| `{bug:?}` | {} | {by} | {case} | {took} |", bug.what()));
    }
    writeln!(io::stderr(), "\n{}", lines.join("\n")).expect("the table can be printed");
}

fn package_of(binary: &str) -> String {
    if binary == "it" { "rpc-store".to_owned() } else { binary.replace('_', "-") }
}

fn log_of(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("planted-{name}.log"))
}

/// The number that follows the first `mark`.
fn case_of(text: &str, mark: &str) -> Option<u64> {
    let (_, rest) = text.split_once(mark)?;
    rest.split(|next: char| !next.is_ascii_digit()).next()?.parse().ok()
}

/// What the simulation says is broken.
fn invariant_of(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("\nseed ")?;
    let (word, _) = rest.lines().nth(1)?.trim().split_once(": ")?;
    Some(word)
}
