//! Opening a store, which is recovery: the same steps after a crash and after an orderly end.

use std::io;
use std::path::Path;

use rpc_core::store::operations::{Contents, StoreId};

use crate::encode::{
    COMMITS_KEY, DecodeError, FORMAT_VERSION, HEADER_KEY, Header, NUMBERS_KEY, decode_counter, decode_header,
    encode_counter, encode_header,
};
use crate::engine::{Engine, EngineError, Medium};
use crate::error::OpenError;
use crate::inventory::Inventory;
use crate::journal;
use crate::layout::{Directory, Files};
use crate::manifest;
use crate::witness::Witness;

/// Damaged records that are named; more are counted.
pub(crate) const DAMAGE_NAMED_MAX: usize = 100;
/// Records between two reports of progress.
const REPORT_EVERY: u64 = 100_000;

/// A store whose header, counters and journals are in order.
pub(crate) struct Recovered {
    pub(crate) engine: Engine,
    pub(crate) witness: Witness,
    pub(crate) id: StoreId,
    pub(crate) numbers_given: u64,
    pub(crate) commits: u64,
    pub(crate) found: Found,
}

/// What the scan of all records found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) contents: Contents,
    pub(crate) damaged: u64,
    /// The first of them, in words.
    pub(crate) damage: Vec<String>,
}

impl Found {
    fn damaged(&mut self, what: String) {
        self.damaged += 1;
        if self.damage.len() < DAMAGE_NAMED_MAX {
            self.damage.push(what);
        }
    }
}

/// The first content of a store.
pub(crate) struct Beginning {
    pub(crate) id: StoreId,
    pub(crate) numbers_given: u64,
    /// The number of the commit that makes it.
    pub(crate) commit: u64,
}

/// Takes the store in the directory, or makes one there.
pub(crate) fn open_or_create(directory: &Directory) -> Result<(Files, Recovered), OpenError> {
    let files = match directory.store()? {
        Some(files) => files,
        None => {
            let files = directory.begin()?;
            let beginning = Beginning { id: random_id()?, numbers_given: 0, commit: 1 };
            drop(begin(&files, &beginning)?);
            Witness::create(&files.acknowledged(), beginning.commit)
                .map_err(OpenError::io("create", &files.acknowledged()))?;
            let files = directory.finish(&files)?;
            tracing::info!(store = %beginning.id, path = %directory.path().display(), "a new store");
            files
        }
    };
    let recovered = recover_sound(&files)?;
    Ok((files, recovered))
}

/// The directory at `path` and the store in it. Where there is none, not even a lock file is left behind.
pub(crate) fn existing(path: &Path) -> Result<(Directory, Files), OpenError> {
    let not_a_store = || OpenError::NotAStore { path: path.to_owned() };
    if !Directory::has_store(path) {
        return Err(not_a_store());
    }
    let directory = Directory::lock(path)?;
    let files = directory.store()?.ok_or_else(not_a_store)?;
    Ok((directory, files))
}

/// [Recovers](recover), and refuses a store with a damaged record.
pub(crate) fn recover_sound(files: &Files) -> Result<Recovered, OpenError> {
    let recovered = recover(files)?;
    match recovered.found.damage.first() {
        Some(damage) => Err(OpenError::Damaged(damage.clone())),
        None => Ok(recovered),
    }
}

/// Makes the engine's files, with the first commit in them.
pub(crate) fn begin(files: &Files, beginning: &Beginning) -> Result<Engine, OpenError> {
    let mut engine = Engine::create(&files.records()).map_err(open_error)?;
    let changes = [
        (HEADER_KEY, encode_header(Header { id: beginning.id })),
        (NUMBERS_KEY, encode_counter(NUMBERS_KEY, beginning.numbers_given)),
        (COMMITS_KEY, encode_counter(COMMITS_KEY, beginning.commit)),
    ];
    let changes =
        changes.into_iter().map(|(key, value)| Ok((key.to_vec(), Some(value?)))).collect::<Result<_, _>>();
    let changes =
        changes.map_err(|error: crate::encode::EncodeError| OpenError::Engine(error.to_string()))?;
    engine.write(changes).map_err(open_error)?;
    Ok(engine)
}

pub(crate) fn random_id() -> Result<StoreId, OpenError> {
    let mut id = [0; 16];
    getrandom::fill(&mut id).map_err(|error| OpenError::Engine(format!("no random bytes: {error}")))?;
    Ok(StoreId(id))
}

/// Verifies everything and changes nothing but what the engine cuts off a torn journal.
///
/// The order matters: journals are judged before the engine touches them, and the witness is written last.
pub(crate) fn recover(files: &Files) -> Result<Recovered, OpenError> {
    let acknowledged = files.acknowledged();
    let (mut witness, witnessed) = Witness::open(&acknowledged).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => OpenError::Damaged(format!("{} is missing", acknowledged.display())),
        _ => OpenError::io("read", &acknowledged)(error),
    })?;
    let witnessed = witnessed
        .ok_or_else(|| OpenError::Damaged(format!("{}: no slot is whole", acknowledged.display())))?;
    manifest::verify(&files.records())?;
    let journals = journal::read_all(&files.records())?;
    at_least(journals.last_commit.unwrap_or(witnessed), witnessed)?;
    journals.cut()?;

    let engine = Engine::open(&files.records()).map_err(open_error)?;
    let header =
        decode_header(&value_of(&engine, HEADER_KEY)?).map_err(|error| decode_error("header", error))?;
    let counter =
        |key, name| decode_counter(key, &value_of(&engine, key)?).map_err(|error| decode_error(name, error));
    let numbers_given = counter(NUMBERS_KEY, "numbers")?;
    let commits = counter(COMMITS_KEY, "commits")?;
    at_least(commits, witnessed)?;
    if let Some(journaled) = journals.last_commit.filter(|journaled| *journaled != commits) {
        let text = format!("the journals end with commit {journaled}, the records with commit {commits}");
        return Err(OpenError::Damaged(text));
    }

    let found = scan(&engine, commits);
    if found.damaged == 0 {
        witness.write(commits).map_err(OpenError::io("write", &acknowledged))?;
    }
    Ok(Recovered { engine, witness, id: header.id, numbers_given, commits, found })
}

fn at_least(commits: u64, witnessed: u64) -> Result<(), OpenError> {
    if commits >= witnessed {
        return Ok(());
    }
    Err(OpenError::Damaged(format!("{witnessed} commits were acknowledged, {commits} are there")))
}

fn value_of(engine: &Engine, key: &[u8]) -> Result<fjall::Slice, OpenError> {
    let name = key[1..].escape_ascii();
    engine
        .get(key)
        .map_err(open_error)?
        .ok_or_else(|| OpenError::Damaged(format!("the record {name} is missing")))
}

/// Reads every record. One that the engine cannot read ends the scan, as what comes after it cannot be trusted.
fn scan(engine: &Engine, commits: u64) -> Found {
    let mut found = Found::default();
    let mut inventory = Inventory::new(commits);
    for (index, entry) in (0..).zip(engine.scan_all()) {
        match entry {
            Ok((key, value)) => inventory.take(&key, &value).unwrap_or_else(|what| found.damaged(what)),
            Err(error) => {
                found.damaged(format!("after {index} records: {error}"));
                break;
            }
        }
        if index > 0 && index % REPORT_EVERY == 0 {
            tracing::info!(records = index, "verifying the store");
        }
    }
    found.contents = inventory.contents;
    found
}

pub(crate) fn open_error(error: EngineError) -> OpenError {
    match error {
        EngineError::Damaged(text) => OpenError::Damaged(text),
        EngineError::Failed(text) => OpenError::Engine(text),
    }
}

fn decode_error(name: &str, error: DecodeError) -> OpenError {
    match error {
        DecodeError::Version(found) => OpenError::Version { found, supported: FORMAT_VERSION },
        DecodeError::Length | DecodeError::Checksum | DecodeError::Kind(_) | DecodeError::Field(_) => {
            OpenError::Damaged(format!("the record {name}: {error}"))
        }
    }
}
