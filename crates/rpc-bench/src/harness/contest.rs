//! A contest: all who take part in a case, in turns.

use std::collections::BTreeMap;
use std::path::Path;

use super::command::Settings;
use super::console;
use super::pair::Pair;
use super::programs::Programs;
use super::results::{ContestResult, EntryResult};
use crate::cases::{Contest, Entry};
use crate::error::BenchError;

/// The processes of a group, which stay from case to case.
pub(super) struct Measuring<'a> {
    settings: Settings,
    programs: &'a Programs,
    directory: &'a Path,
    /// By the name of who takes part.
    pairs: BTreeMap<&'static str, Pair>,
}

impl<'a> Measuring<'a> {
    /// Nothing is started yet.
    pub(super) fn new(settings: Settings, programs: &'a Programs, directory: &'a Path) -> Self {
        Self { settings, programs, directory, pairs: BTreeMap::new() }
    }

    /// Measures a case. Who fails is out of it, with the reason in the result, and begins anew in the next case.
    pub(super) fn contest(&mut self, contest: &Contest) -> ContestResult {
        let mut entries: Vec<_> = contest.entries.iter().map(|entry| EntryResult::new(entry.name)).collect();
        for (entry, result) in contest.entries.iter().zip(&mut entries) {
            let prepared = self.prepare(entry);
            self.note(prepared, entry, result);
        }
        for _ in 0..self.settings.rounds {
            for (entry, result) in contest.entries.iter().zip(&mut entries) {
                if result.failed.is_none() {
                    let measured = self.round(entry, result);
                    self.note(measured, entry, result);
                }
            }
        }
        ContestResult { name: contest.name.clone(), bytes: contest.bytes, entries }
    }

    fn prepare(&mut self, entry: &Entry) -> Result<(), BenchError> {
        if !self.pairs.contains_key(entry.name) {
            self.pairs.insert(entry.name, Pair::start(entry, self.programs, self.directory)?);
        }
        self.pair(entry)?.prepare(&entry.case)
    }

    fn round(&mut self, entry: &Entry, result: &mut EntryResult) -> Result<(), BenchError> {
        let seconds = self.settings.seconds;
        result.rounds.push(self.pair(entry)?.round(&entry.case, seconds)?);
        Ok(())
    }

    fn pair(&mut self, entry: &Entry) -> Result<&mut Pair, BenchError> {
        self.pairs.get_mut(entry.name).ok_or_else(|| BenchError::new("it was not started"))
    }

    /// What has failed may have left its processes in any state.
    fn note(&mut self, done: Result<(), BenchError>, entry: &Entry, result: &mut EntryResult) {
        if let Err(error) = done {
            console::note(&format!("  {} FAILED: {error}", entry.name));
            self.pairs.remove(entry.name);
            result.failed = Some(error.to_string());
        }
    }
}
