//! The server is killed under streams.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use prost::Message as _;
use rpc_client::{ActivityResume, Checkpoints};
use rpc_crash::caller::{self, Client, Random};
use rpc_crash::parts::content;
use rpc_crash::pb::Stored;
use rpc_crash::process::Process;
use rpc_crash::streamer::{self, Kind, Streamed, stream_until};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::Scratch;
use super::killed::number;

/// Streams of each session at the same time.
const KINDS: [Kind; 6] =
    [Kind::Upload, Kind::Upload, Kind::Download, Kind::Download, Kind::Chat, Kind::Upload];
const SESSIONS: u64 = 2;
/// Parts that move between two deaths at least.
const PARTS_PER_LIFE: u64 = 300;

/// What the handlers have noted of themselves, by the names of their streams.
struct Diary {
    /// Where each run has begun, in their order.
    begun: BTreeMap<String, Vec<u64>>,
    /// What was secured before that run.
    secured: BTreeMap<String, u64>,
    ended: BTreeMap<String, u64>,
}

impl Diary {
    /// Reads it, and looks whether a handler ever began before what it had secured.
    fn read(directory: &Path, seed: u64) -> Self {
        let mut diary = Self { begun: BTreeMap::new(), secured: BTreeMap::new(), ended: BTreeMap::new() };
        for line in std::fs::read_to_string(directory.join("streams/diary")).unwrap().lines() {
            let words: Vec<_> = line.split(' ').collect();
            let [what, name, place] = words[..] else { panic!("seed {seed}: {line:?}") };
            let (name, place) = (name.to_owned(), place.parse().unwrap());
            match what {
                "begin" => {
                    let secured = diary.secured.get(&name).copied().unwrap_or(0);
                    assert!(place >= secured, "seed {seed}: {line:?}, and {secured} parts were secured");
                    let begun = diary.begun.entry(name).or_default();
                    assert!(begun.iter().all(|before| *before <= place), "seed {seed}: {line:?}: {begun:?}");
                    begun.push(place);
                }
                "secured" => drop(diary.secured.insert(name, place)),
                "end" => drop(diary.ended.insert(name, place)),
                _ => panic!("seed {seed}: {line:?}"),
            }
        }
        diary
    }

    /// How many handlers went on within a stream, and not at its beginning.
    fn resumed(&self) -> usize {
        self.begun.values().flatten().filter(|place| **place > 0).count()
    }
}

async fn run(seed: u64, kills: u64) {
    let scratch = Scratch::new(&format!("streams-{seed}"));
    let program = Path::new(env!("CARGO_BIN_EXE_vault"));
    let mut server = Process::start(program, &scratch.0).await.unwrap();
    let (stop, stopped) = watch::channel(false);
    let (moved, mut moves) = watch::channel(0);
    let (mut tasks, mut sessions) = (JoinSet::new(), Vec::new());
    for index in 0..SESSIONS {
        let session = caller::open(server.address(), &format!("streamer-{index}")).await.unwrap();
        for (task, kind) in (0..).zip(KINDS) {
            let seed = seed ^ (index << 40) ^ (task << 32);
            let (stopped, moved, name) = (stopped.clone(), moved.clone(), format!("{index}.{task}"));
            tasks.spawn(stream_until(stopped, moved, session.clone(), kind, name, seed));
        }
        sessions.push(session);
    }
    let mut random = Random(seed);
    for _ in 0..kills {
        // However busy the machine is, the server is killed at work.
        let before = *moves.borrow_and_update();
        let at_work = moves.wait_for(|moves| *moves >= before + PARTS_PER_LIFE);
        timeout(Duration::from_secs(90), at_work).await.expect("streams move").unwrap();
        sleep(Duration::from_micros(random.below(60_000))).await;
        server.kill().await.unwrap();
        server.restart().await.unwrap();
    }
    stop.send_replace(true);
    let done = timeout(Duration::from_secs(120), tasks.join_all()).await.expect("every stream ends");
    let done: Vec<Streamed> = done.into_iter().flat_map(|done| done.unwrap()).collect();
    for session in sessions {
        timeout(Duration::from_secs(30), session.release()).await.unwrap().unwrap();
    }
    server.kill().await.unwrap();
    let diary = Diary::read(&scratch.0, seed);
    for streamed in &done {
        check(&scratch.0, &diary, streamed);
    }
    let resumed = diary.resumed();
    println!("seed {seed}: {kills} kills, {} streams, {resumed} handlers went on", done.len());
    assert!(resumed as u64 > kills, "seed {seed}: {resumed} handlers went on, so nothing was proved");
}

fn check(directory: &Path, diary: &Diary, streamed: &Streamed) {
    let Streamed { kind, name, seed, parts } = streamed;
    if *kind == Kind::Upload {
        let found = std::fs::read(directory.join("streams").join(name)).unwrap();
        assert!(found == content(*seed, *parts), "{streamed:?}: other content");
    }
    if *kind != Kind::Download {
        assert_eq!(diary.ended.get(name), Some(parts), "{streamed:?}");
    }
}

/// The long run: `SESSION_KILLS=500 cargo test --release -p rpc-crash -- --nocapture`. A failure names its seed:
/// `SESSION_SEED=…`.
//= test S-28
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_outlive_a_server_that_is_killed() {
    run(number("SESSION_SEED", 1), number("SESSION_KILLS", 12)).await;
}

/// How many clients work on an activity, one after the other.
const LIVES: u64 = 4;

/// The client does not come back, and neither does its session: another process of the same principal goes on by the name.
//= test D-19
//= test D-20
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_activity_survives_its_client_and_its_server() {
    let scratch = Scratch::new("activity");
    let mut server = Process::start(Path::new(env!("CARGO_BIN_EXE_vault")), &scratch.0).await.unwrap();
    let upload = Streamed { kind: Kind::Upload, name: "dump".into(), seed: 7, parts: 4_000 };
    let (moved, mut moves) = watch::channel(0);
    let mut lives = 0;
    loop {
        let session = caller::open(server.address(), "archivist").await.unwrap();
        let resume = session.resume_activity("dump").await.unwrap();
        let checkpoints = match resume {
            ActivityResume::New(checkpoints) => {
                assert_eq!(lives, 0, "it was forgotten");
                checkpoints
            }
            ActivityResume::Interrupted(checkpoints) => {
                assert!(checkpoints.resumed().is_some(), "life {lives}: nothing is secured");
                checkpoints
            }
            ActivityResume::Done(reply) => {
                assert_eq!(Stored::decode(reply.response).unwrap().parts, upload.parts);
                break;
            }
            other => panic!("{other:?}"),
        };
        lives += 1;
        let before = *moves.borrow_and_update();
        let mut client = Client::new(session);
        let uploading = streamer::upload_from(&mut client, &checkpoints, &upload, &moved);
        let mut watch = checkpoints.clone();
        tokio::select! {
            done = uploading => done.unwrap(),
            () = far_enough(&mut watch, &mut moves, before), if lives < LIVES => {}
        }
        // At once: the client is dropped in place of killed, and the server is killed.
        drop(client);
        server.kill().await.unwrap();
        server.restart().await.unwrap();
    }
    assert_eq!(lives, LIVES);
    server.kill().await.unwrap();
    check(&scratch.0, &Diary::read(&scratch.0, 0), &upload);
}

/// Waits until some hundred parts were given, and something of them is secured.
async fn far_enough(checkpoints: &mut Checkpoints, moves: &mut watch::Receiver<u64>, before: u64) {
    moves.wait_for(|moves| *moves >= before + 500).await.unwrap();
    let from = checkpoints.resumed().map_or(0, |resumed| resumed.position().messages);
    let watch = checkpoints.started().await.unwrap();
    let mut views = watch.changes();
    views.wait_for(|view| view.progress.sent_secured.messages > from).await.unwrap();
}
