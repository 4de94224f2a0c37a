//! A workload on a real store, with its files and its content before and after every step.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use rpc_core::id::SessionId;
use rpc_core::record::ActivityRecord;
use rpc_core::store::{Store, Stored};
use rpc_core::transaction::Versioned;

use super::snapshot::{Edit, Snapshot};
use super::workload::Workload;
use crate::EmbeddedStore;
use crate::engine::{Changes, Engine, EngineError, Medium};
use crate::support::Scratch;

/// Everything that a store says it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct State {
    pub(super) sessions: Vec<(SessionId, Stored)>,
    pub(super) activities: Vec<ActivityRecord>,
    pub(super) values: BTreeMap<Bytes, Versioned>,
    pub(super) numbers_given: u64,
}

/// What a step does to the files.
pub(super) enum What {
    /// One batch at the end of the journal, and a sync, after which the files are these; then the witness.
    Commit(Snapshot),
    /// A new journal; a table of what was in the last; the version of the tables; the last journal goes.
    Flush,
    /// The journal is cut where a crash has torn it.
    Recovery,
}

/// One step.
pub(super) struct Step {
    pub(super) what: What,
    pub(super) before: Snapshot,
    pub(super) after: Snapshot,
    pub(super) state_before: State,
    pub(super) state_after: State,
}

/// All steps, and every key that the application has ever used.
pub(super) struct Recording {
    pub(super) made: Snapshot,
    pub(super) steps: Vec<Step>,
    pub(super) keys: Vec<Bytes>,
}

/// The store that is recorded.
struct Recorder {
    scratch: Scratch,
    store: EmbeddedStore,
    synced: Arc<Mutex<Option<Snapshot>>>,
    workload: Workload,
    steps: Vec<Step>,
}

/// The engine, and what was in the files when it last said that they are durable.
struct Watched {
    engine: Engine,
    path: PathBuf,
    synced: Arc<Mutex<Option<Snapshot>>>,
}

impl Medium for Watched {
    fn write(&mut self, changes: Changes) -> Result<(), EngineError> {
        self.engine.write(changes)?;
        let before = self.synced.lock().unwrap().replace(Snapshot::take(&self.path));
        assert!(before.is_none(), "a step is one commit");
        Ok(())
    }
}

impl Recording {
    /// Records so many commits. Some are lost in crashes, after which the store is opened again and goes on.
    pub(super) fn new(seed: u64, commits: u32) -> Self {
        let scratch = Scratch::new();
        let store = EmbeddedStore::open(scratch.path()).unwrap();
        let made = Snapshot::take(scratch.path());
        let synced = watch(&store, &scratch);
        let workload = Workload::new(seed);
        let mut recorder = Recorder { scratch, store, synced, workload, steps: Vec::new() };
        for commit in 0..commits {
            match commit {
                20 | 45 => recorder.flush(),
                30 | 60 => recorder.crash(),
                _ => recorder.commit(),
            }
        }
        Self { made, keys: recorder.workload.keys(), steps: recorder.steps }
    }
}

impl Recorder {
    fn commit(&mut self) {
        self.step(|recorder| {
            recorder.workload.commit(&recorder.store);
            What::Commit(recorder.synced.lock().unwrap().take().expect("a commit writes"))
        });
    }

    fn flush(&mut self) {
        self.step(|recorder| {
            recorder.store.engine.flush();
            What::Flush
        });
    }

    fn step(&mut self, make: impl FnOnce(&mut Self) -> What) {
        let (before, state_before) = (Snapshot::take(self.scratch.path()), self.state());
        let what = make(self);
        let (after, state_after) = (Snapshot::take(self.scratch.path()), self.state());
        self.steps.push(Step { what, before, after, state_before, state_after });
    }

    /// The next commit does not survive: half of it reaches the medium, and its session hears nothing.
    fn crash(&mut self) {
        let workload = self.workload.clone();
        self.commit();
        let Some(Step { what: What::Commit(synced), before, state_before, .. }) = self.steps.last() else {
            return;
        };
        let journal = synced.ending(".jnl").pop().unwrap();
        let (begin, end) = (before.files[journal].len(), synced.files[journal].len());
        let before = synced.with(&[Edit::CutAndPadded(journal.clone(), begin.midpoint(end))]);
        let state_before = state_before.clone();

        let scratch = Scratch::new();
        before.write(scratch.path());
        self.store = EmbeddedStore::open(scratch.path()).unwrap();
        self.synced = watch(&self.store, &scratch);
        self.scratch = scratch;
        let random = self.workload.random;
        self.workload = workload;
        self.workload.random = random;
        let (after, state_after) = (Snapshot::take(self.scratch.path()), self.state());
        assert!(state_before == state_after, "half a commit counts");
        self.steps.push(Step { what: What::Recovery, before, after, state_before, state_after });
    }

    fn state(&self) -> State {
        State::of(&self.store, &self.workload.keys())
    }
}

fn watch(store: &EmbeddedStore, scratch: &Scratch) -> Arc<Mutex<Option<Snapshot>>> {
    let synced = Arc::default();
    let path = scratch.path().to_owned();
    store.replace_medium(Box::new(Watched {
        engine: store.engine.clone(),
        path,
        synced: Arc::clone(&synced),
    }));
    synced
}

impl State {
    pub(super) fn of(store: &EmbeddedStore, keys: &[Bytes]) -> Self {
        let value = |key: &Bytes| Some((key.clone(), store.get(key).unwrap()?));
        Self {
            sessions: store.scan(None, usize::MAX).unwrap(),
            activities: store.scan_activities(None, usize::MAX).unwrap(),
            values: keys.iter().filter_map(value).collect(),
            numbers_given: store.statistics().unwrap().numbers_given,
        }
    }
}
