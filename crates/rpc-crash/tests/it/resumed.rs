//! A client that dies at work, and another process that goes on with its session: with a server that lives, and with one
//! that is killed too. The client is a runtime of its own, which is stopped between two steps of its tasks.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use prost::Message as _;
use rpc_client::credentials::{Token, from_fn};
use rpc_client::net::BoxIo;
use rpc_client::{
    Builder, CallId, CallInfo, CallState, OpenError, Outcome, OutcomeExt as _, Reason, SavedSession, Session,
};
use rpc_core::id::{Sequence, SlotId};
use rpc_crash::caller::{self, Client, Method, Random, Told, What};
use rpc_crash::pb::{Booked, Entry};
use rpc_crash::process::Process;
use rpc_crash::trust::{AUDIENCE, ISSUER, SECRET};
use rpc_server::auth::JwtIssuer;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tonic::{Code, Response, Status};

use super::Scratch;
use super::killed::{Truth, number};

/// Calls that each process makes at the same time.
const TASKS: u64 = 6;
/// Calls that are answered before the first process dies.
const ANSWERS: usize = 24;
/// Calls that each task of the second process makes.
const CALLS: u64 = 5;

/// What one process knows of its calls. It is lost with the process; the test keeps it.
#[derive(Default)]
struct Diary {
    made: Mutex<BTreeMap<String, Entered>>,
    answered: watch::Sender<usize>,
}

struct Entered {
    method: Method,
    answer: Option<Answer>,
}

/// An answered call: its name, and what it was answered.
struct Answer {
    call: CallId,
    reply: Booked,
}

impl Diary {
    /// Makes one call, and remembers it before it is made.
    async fn call(
        &self,
        client: &mut Client,
        method: Method,
        id: String,
        delay_us: u32,
    ) -> Result<(), Status> {
        self.made.lock().unwrap().insert(id.clone(), Entered { method, answer: None });
        let entry = Entry { id: id.clone(), delay_us, ..Entry::default() };
        let (call, reply) = match method {
            Method::Book => named(client.book(entry).await?),
            Method::Note | Method::NoteAgain => {
                let noted = match method {
                    Method::Note => client.note(entry).await?,
                    Method::Book | Method::NoteAgain => client.note_again(entry).await?,
                };
                let (call, noted) = named(noted);
                (call, Booked { id: noted.id, count: 1, total: 0 })
            }
        };
        if let Some(entered) = self.made.lock().unwrap().get_mut(&id) {
            entered.answer = Some(Answer { call, reply });
        }
        self.answered.send_modify(|answered| *answered += 1);
        Ok(())
    }

    /// The last call that was answered in each slot.
    fn last_answers(&self) -> BTreeMap<u32, (CallId, Method, Booked)> {
        let mut last = BTreeMap::<u32, (CallId, Method, Booked)>::new();
        for Entered { method, answer } in self.made.lock().unwrap().values() {
            let Some(Answer { call, reply }) = answer else { continue };
            let known = last.get(&call.slot.0).map(|(known, ..)| known.sequence);
            if known.is_none_or(|known| known < call.sequence) {
                last.insert(call.slot.0, (*call, *method, reply.clone()));
            }
        }
        last
    }

    fn unanswered(&self) -> usize {
        self.made.lock().unwrap().values().filter(|entered| entered.answer.is_none()).count()
    }

    /// What the process was told.
    fn told(&self) -> Vec<Told> {
        let entered = std::mem::take(&mut *self.made.lock().unwrap());
        let told = entered.into_iter().map(|(id, Entered { method, answer })| {
            let what = match answer {
                Some(Answer { reply, .. }) => What::Replied(reply.count, reply.total),
                None => What::Unknown("the process died".into()),
            };
            Told { method, id, what }
        });
        told.collect()
    }
}

fn named<T>(response: Response<T>) -> (CallId, T) {
    let call = response.extensions().get::<CallInfo>().unwrap().call;
    (call, response.into_inner())
}

fn method(random: &mut Random) -> Method {
    match random.below(4) {
        0 | 1 => Method::Book,
        2 => Method::Note,
        _ => Method::NoteAgain,
    }
}

/// The first process: calls until it dies, which leaves some of them under way.
async fn first_process(server: &Process, file: &Path, seed: u64) -> Arc<Diary> {
    let diary = Arc::new(Diary::default());
    let mut answers = diary.answered.subscribe();
    let process = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    process.spawn(work(server.address(), file.to_owned(), seed, diary.clone()));
    let at_work = answers.wait_for(|answered| *answered >= ANSWERS);
    timeout(Duration::from_secs(60), at_work).await.expect("calls are answered").unwrap();
    sleep(Duration::from_micros(Random(seed).below(3_000))).await;
    // Nothing of it is polled any more: what a session does for calls that are given up is not done.
    let dying = move || process.shutdown_timeout(Duration::from_secs(30));
    tokio::task::spawn_blocking(dying).await.unwrap();
    diary
}

async fn work(address: SocketAddr, file: PathBuf, seed: u64, diary: Arc<Diary>) {
    let session = caller::builder(address, "teller").unwrap().save_to(file).open().await.unwrap();
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let (diary, mut client) = (diary.clone(), Client::new(session.clone()));
        let mut random = Random(seed ^ (task << 32));
        tasks.spawn(async move {
            for number in 0.. {
                let (method, delay_us) = (method(&mut random), random.below(2_000));
                let id = format!("{seed}/first/{task}/{number}");
                let delay_us = u32::try_from(delay_us).unwrap();
                diary.call(&mut client, method, id, delay_us).await.unwrap();
                // Slots whose last call was answered are to be found, too.
                sleep(Duration::from_micros(random.below(4_000))).await;
            }
        });
    }
    tasks.join_all().await;
}

/// The second process: asks about what the first one was told, and calls on. Gives the questions that were answered with
/// the reply.
async fn second_process(server: &Process, file: &Path, seed: u64, first: &Diary) -> (usize, Arc<Diary>) {
    let saved = SavedSession::load(file).unwrap().expect("the session is saved");
    let number = saved.number();
    let resuming = caller::builder(server.address(), "teller").unwrap().save_to(file).resume(saved);
    let session = timeout(Duration::from_secs(60), resuming).await.unwrap().unwrap();
    assert_eq!(session.number(), number);
    let replied = ask(&session, seed, first).await;
    let diary = Arc::new(Diary::default());
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let (diary, mut client) = (diary.clone(), Client::new(session.clone()));
        let mut random = Random(seed ^ (task << 40));
        tasks.spawn(async move {
            for number in 0..CALLS {
                let id = format!("{seed}/second/{task}/{number}");
                diary.call(&mut client, method(&mut random), id, 100).await.unwrap();
            }
        });
    }
    timeout(Duration::from_secs(60), tasks.join_all()).await.expect("every call is answered");
    timeout(Duration::from_secs(30), session.release()).await.unwrap().unwrap();
    assert_eq!(
        SavedSession::load(file).unwrap(),
        None,
        "seed {seed}: the session has ended, and the file is there"
    );
    (replied, diary)
}

/// The last answered call of each slot has its reply, where no later call was under way in its slot.
async fn ask(session: &Session, seed: u64, first: &Diary) -> usize {
    let (mut replied, mut overtaken) = (0, 0);
    for (call, method, told) in first.last_answers().into_values() {
        match session.query(call).await.unwrap() {
            CallState::Done(reply) => {
                assert_eq!((reply.code, reply.dropped), (Code::Ok, false), "seed {seed}: {call}");
                if method == Method::Book {
                    assert_eq!(Booked::decode(reply.response).unwrap(), told, "seed {seed}: {call}");
                }
                replied += 1;
            }
            CallState::Forgotten => overtaken += 1,
            other => panic!("seed {seed}: {call} was answered, and is {other:?}"),
        }
    }
    assert!(overtaken <= first.unanswered(), "seed {seed}: {overtaken} replies are forgotten");
    replied
}

/// The long run: `SESSION_ROUNDS=500 cargo test --release -p rpc-crash resumed -- --nocapture`. A failure names its seed:
/// `SESSION_SEED=…`.
//= test C-19
//= test C-21
//= test I1
//= test I2
//= test I3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_goes_on_with_the_session_of_one_that_died() {
    let scratch = Scratch::new("resume");
    let file = scratch.0.join("session");
    let mut server = Process::start(Path::new(env!("CARGO_BIN_EXE_vault")), &scratch.0).await.unwrap();
    let (mut told, mut replied, mut left) = (Vec::new(), 0, 0);
    let (first_seed, rounds) = (number("SESSION_SEED", 1), number("SESSION_ROUNDS", 24));
    for seed in first_seed..first_seed + rounds {
        let first = first_process(&server, &file, seed).await;
        if seed % 2 == 0 {
            server.kill().await.unwrap();
            server.restart().await.unwrap();
        }
        let (asked, second) = second_process(&server, &file, seed, &first).await;
        replied += asked;
        left += first.unanswered();
        told.extend(first.told().into_iter().chain(second.told()));
    }
    server.kill().await.unwrap();
    let truth = Truth::read(&scratch.0, &told);
    told.iter().for_each(|told| truth.check(first_seed, told));
    println!(
        "{rounds} rounds, {} calls, {replied} replies asked for, {left} calls left under way",
        told.len()
    );
    assert!(
        replied > 0 && left > 0,
        "{replied} replies were asked for, {left} calls left: nothing was proved"
    );
}

/// A session whose ticket is replaced every second.
fn with_short_tokens(address: SocketAddr) -> Builder {
    let credentials = from_fn(|| async {
        let lasts = Duration::from_secs(1);
        Ok(Token::new(JwtIssuer::hs256(SECRET, ISSUER, AUDIENCE)?.token("teller", &[], lasts)?))
    });
    Session::builder(format!("http://{address}")).credentials(credentials).service::<Client>()
}

/// Waits until the file holds another session than `before`.
async fn change(file: &Path, before: Option<&SavedSession>) -> SavedSession {
    let changing = async {
        loop {
            match SavedSession::load(file).unwrap() {
                Some(saved) if Some(&saved) != before => return saved,
                Some(_) | None => sleep(Duration::from_micros(200)).await,
            }
        }
    };
    timeout(Duration::from_secs(30), changing).await.expect("the file changes")
}

/// The process dies right after it has written a new ticket, before or after that was used.
//= test I23
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_dies_with_a_new_ticket_leaves_one_that_is_valid() {
    let scratch = Scratch::new("ticket");
    let file = scratch.0.join("session");
    let mut server = Process::start(Path::new(env!("CARGO_BIN_EXE_vault")), &scratch.0).await.unwrap();
    for round in 0..4 {
        let process =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let opening = with_short_tokens(server.address()).save_to(&file).open();
        process.spawn(async move {
            let mut client = Client::new(opening.await.unwrap());
            for number in 0.. {
                let id = format!("{round}/{number}");
                client.book(Entry { id, ..Entry::default() }).await.unwrap();
            }
        });
        let opened = change(&file, None).await;
        change(&file, Some(&opened)).await;
        sleep(Duration::from_micros(600 * round)).await;
        tokio::task::spawn_blocking(move || process.shutdown_timeout(Duration::from_secs(30))).await.unwrap();
        if round % 2 == 0 {
            server.kill().await.unwrap();
            server.restart().await.unwrap();
        }
        let saved = SavedSession::load(&file).unwrap().unwrap();
        let resuming = with_short_tokens(server.address()).save_to(&file).resume(saved);
        let session = resuming.await.unwrap_or_else(|error| panic!("round {round}: {error:?}"));
        let mut client = Client::new(session.clone());
        let booked = client.book(Entry { id: round.to_string(), ..Entry::default() }).await.unwrap();
        assert_eq!(booked.into_inner().count, 1);
        session.release().await.unwrap();
    }
}

const LINGER: Duration = Duration::from_millis(300);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_was_away_for_too_long_is_told_so_once_and_clearly() {
    let scratch = Scratch::new("away");
    let file = scratch.0.join("session");
    let mut server = Process::start(Path::new(env!("CARGO_BIN_EXE_vault")), &scratch.0).await.unwrap();
    for kill in [false, true] {
        let builder = caller::builder(server.address(), "teller").unwrap().linger(LINGER).save_to(&file);
        let session = builder.open().await.unwrap();
        Client::new(session.clone()).note(Entry { id: "x".into(), ..Entry::default() }).await.unwrap();
        drop(session);
        if kill {
            server.kill().await.unwrap();
            server.restart().await.unwrap();
        }
        sleep(LINGER * 5).await;
        let saved = SavedSession::load(&file).unwrap().unwrap();
        let number = saved.number();
        let error = caller::builder(server.address(), "teller").unwrap().resume(saved).await.unwrap_err();
        let OpenError::Gone { number: told, reason } = error else { panic!("{error:?}") };
        assert_eq!((told, reason), (number, Reason::SessionUnknown));
    }
}

//= test C-29
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_was_cut_off_for_too_long_is_told_so_by_every_call_with_its_outcome() {
    let scratch = Scratch::new("cut-off");
    let mut server = Process::start(Path::new(env!("CARGO_BIN_EXE_vault")), &scratch.0).await.unwrap();
    let (address, is_cut) = (server.address(), Arc::new(AtomicBool::new(false)));
    let wire = is_cut.clone();
    let connect = move |_| {
        let is_cut = wire.load(Ordering::SeqCst);
        async move {
            if is_cut {
                return Err(io::ErrorKind::NetworkUnreachable.into());
            }
            Ok(Box::new(TcpStream::connect(address).await?) as BoxIo)
        }
    };
    let builder = caller::builder(address, "teller").unwrap().linger(LINGER).connector(connect);
    let session = builder.open().await.unwrap();
    let mut client = Client::new(session.clone());
    let entry = |id: &str, delay_us| Entry { id: id.into(), delay_us, ..Entry::default() };
    client.note(entry("before", 0)).await.unwrap();
    // One call is at the server when it dies, the other is made while nobody can be reached.
    let (mut here, mut there) = (client.clone(), client.clone());
    let at_work = tokio::spawn(async move { there.note(entry("at work", 20_000_000)).await });
    let call = CallId { slot: SlotId(0), sequence: Sequence(2) };
    while !matches!(session.query(call).await.unwrap(), CallState::Running(_)) {
        sleep(Duration::from_millis(5)).await;
    }
    is_cut.store(true, Ordering::SeqCst);
    server.kill().await.unwrap();
    let waiting = tokio::spawn(async move { here.note(entry("waiting", 0)).await });
    server.restart().await.unwrap();
    sleep(LINGER * 5).await;
    is_cut.store(false, Ordering::SeqCst);
    let told = |status: Status| (status.code(), status.reason(), status.outcome());
    let gone = |outcome| (Code::NotFound, Some(Reason::SessionUnknown), Some(outcome));
    let at_work = timeout(Duration::from_secs(30), at_work).await.unwrap().unwrap().unwrap_err();
    assert_eq!(told(at_work), gone(Outcome::Unknown), "it may have run");
    let waiting = timeout(Duration::from_secs(30), waiting).await.unwrap().unwrap().unwrap_err();
    // It is on its way when the other call is answered, or is answered itself.
    let waiting = told(waiting);
    assert!([Outcome::NotExecuted, Outcome::Unknown].map(gone).contains(&waiting), "{waiting:?}");
    assert_eq!(told(client.note(entry("after", 0)).await.unwrap_err()), gone(Outcome::NotExecuted));
}
