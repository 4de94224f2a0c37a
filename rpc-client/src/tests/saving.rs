//! The file of a session: written before a ticket is used, and gone with the session.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rpc_proto::pb::session::v1::{OpenResponse, RenewRequest, RenewResponse};

use super::fake::{
    ABORT, Act, Fake, ONCE, OPEN, RELEASE, RENEW, TICKET, as_usual, header_of, opened, seconds,
};
use super::*;
use crate::{End, Life, OpenError, OutcomeExt as _, SavedError, SavedSession};

struct Home {
    directory: tempfile::TempDir,
    file: PathBuf,
}

fn home() -> Home {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("session");
    Home { directory, file }
}

fn load(file: &Path) -> Option<SavedSession> {
    SavedSession::load(file).unwrap()
}

fn ticket(number: usize) -> Vec<u8> {
    vec![u8::try_from(number).unwrap(); 32]
}

/// With which ticket a call came, and which the file held then.
#[derive(Clone)]
struct Note {
    used: String,
    held: Vec<String>,
}

/// A server whose tokens last 100 s. With each call it notes which tickets the file holds, and with which the call came.
fn rotating(file: &Path) -> (Fake, Arc<Mutex<Vec<Note>>>) {
    let noted = Arc::new(Mutex::new(Vec::new()));
    let (notes, file) = (noted.clone(), file.to_owned());
    let fake = Fake::new(move |seen| {
        let authority = seconds(100);
        match seen.path.as_str() {
            OPEN => Some(Act::message(&OpenResponse { authority, lease: seconds(1_000), ..opened() })),
            RENEW => {
                let rotate = seen.parse::<RenewRequest>().rotate_ticket;
                let ticket = if rotate { ticket(seen.earlier).into() } else { bytes::Bytes::new() };
                Some(Act::message(&RenewResponse { authority, lease: seconds(1_000), ticket }))
            }
            _ => {
                let tickets = load(&file).map(|saved| saved.tickets);
                let held = tickets.map(|held| [Some(held.current), held.previous]).into_iter().flatten();
                let held = held.flatten().map(|ticket| header_of(&ticket.0)).collect();
                let used = seen.header("session-ticket").unwrap().to_owned();
                notes.lock().unwrap().push(Note { used, held });
                None
            }
        }
    });
    (fake, noted)
}

//= test I23
#[tokio::test(start_paused = true)]
async fn a_new_ticket_is_in_the_file_before_it_is_used() {
    let home = home();
    let (fake, noted) = rotating(&home.file);
    let session = fake.builder().save_to(&home.file).open().await.unwrap();
    assert_eq!(load(&home.file), Some(session.export()));
    // At whatever moment a call comes.
    for _ in 0..500 {
        call(&session, ONCE).await.unwrap();
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let noted = noted.lock().unwrap().clone();
    let of_calls: Vec<_> = noted.iter().filter(|note| !note.held.is_empty()).collect();
    let used: Vec<_> = of_calls.iter().map(|note| &note.used).collect();
    assert!(used.contains(&&header_of(TICKET)) && used.contains(&&header_of(&ticket(2))), "{used:?}");
    assert!(of_calls.iter().all(|note| note.used == note.held[0]));
    assert_eq!(load(&home.file), Some(session.export()));
}

#[tokio::test(start_paused = true)]
async fn a_ticket_that_cannot_be_saved_is_not_used() {
    let home = home();
    let (fake, _) = rotating(&home.file);
    let session = fake.builder().save_to(&home.file).open().await.unwrap();
    let first = load(&home.file);
    let mut events = session.events();
    let in_the_way = home.directory.path().join("session.new");
    std::fs::create_dir(&in_the_way).unwrap();
    event(&mut events, |event| matches!(event, Event::SaveFailed(why) if why.contains("session.new"))).await;
    event(&mut events, |event| matches!(event, Event::AuthorityRenewed { ticket_rotated: false })).await;
    call(&session, ONCE).await.unwrap();
    assert_eq!(fake.seen(ONCE)[0].header("session-ticket"), Some(header_of(TICKET).as_str()));
    assert_eq!((load(&home.file), first.as_ref()), (first.clone(), Some(&session.export())));
    std::fs::remove_dir(&in_the_way).unwrap();
    event(&mut events, |event| matches!(event, Event::AuthorityRenewed { ticket_rotated: true })).await;
    assert_eq!(load(&home.file), Some(session.export()));
    assert_ne!(load(&home.file), first);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_cannot_be_saved_is_not_opened() {
    let home = home();
    let fake = Fake::new(|_| None);
    let error = fake.builder().save_to(home.directory.path().join("none/session")).open().await.unwrap_err();
    assert!(matches!(error, OpenError::Saved(SavedError::Io { .. })), "{error:?}");
    assert!(fake.seen(OPEN).is_empty());

    std::fs::create_dir(home.directory.path().join("session.new")).unwrap();
    let error = fake.builder().save_to(&home.file).open().await.unwrap_err();
    assert!(matches!(error, OpenError::Saved(SavedError::Io { .. })), "{error:?}");
    assert_eq!(fake.seen(ABORT)[0].header("session"), Some("4711"));
}

/// Two sessions in one file, or one session in two processes: each took the slots of the other.
#[cfg(unix)]
#[tokio::test(start_paused = true)]
async fn a_file_that_another_session_is_kept_in_is_refused() {
    let home = home();
    let fake = Fake::new(|_| None);
    let first = fake.builder().save_to(&home.file).open().await.unwrap();
    let saved = first.export();
    let error = fake.builder().save_to(&home.file).open().await.unwrap_err();
    assert!(matches!(error, OpenError::Saved(SavedError::InUse { .. })), "{error:?}");
    let error = fake.builder().save_to(&home.file).resume(saved).await.unwrap_err();
    assert!(matches!(error, OpenError::Saved(SavedError::InUse { .. })), "{error:?}");
    assert_eq!((fake.seen(OPEN).len(), fake.seen(RENEW).len()), (1, 0), "the server is asked nothing");
    assert_eq!(load(&home.file), Some(first.export()));
    first.release().await.unwrap();
    fake.builder().save_to(&home.file).open().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_file_goes_with_the_session_that_this_side_ends() {
    for abort in [false, true] {
        let home = home();
        let session = Fake::new(|_| None).builder().save_to(&home.file).open().await.unwrap();
        if abort {
            session.abort("done").await.unwrap();
        } else {
            session.release().await.unwrap();
        }
        assert_eq!(load(&home.file), None);
        assert_eq!(std::fs::read_dir(home.directory.path()).unwrap().count(), 0);
    }
}

/// The server has ended the session, and says so to all that comes before its answer to the one who asked for it.
#[tokio::test(start_paused = true)]
async fn an_end_of_this_sides_own_making_is_told_by_its_own_answer() {
    for (end, life) in [(RELEASE, End::Released), (ABORT, End::Aborted)] {
        let home = home();
        let fake = Fake::new(move |seen| match seen.path.as_str() {
            RENEW => Some(refusal(Reason::SessionEnded, Outcome::NotExecuted)),
            path if path == end => Some(Act::After(Duration::from_secs(1), Box::new(as_usual(seen)))),
            _ => None,
        });
        let session = fake.builder().save_to(&home.file).open().await.unwrap();
        let ending = async {
            if end == ABORT {
                session.abort("done").await.map(drop)
            } else {
                session.release().await.map(drop)
            }
        };
        let renewing = async {
            fake.reached(end, 1).await;
            session.core().doubted.notify_one();
            fake.reached(RENEW, 1).await;
        };
        let (ended, ()) = tokio::join!(ending, renewing);
        ended.unwrap();
        assert_eq!(*session.core().life.borrow(), Life::Ended(life));
        assert_eq!(std::fs::read_dir(home.directory.path()).unwrap().count(), 0, "the file stays");
    }
}

#[tokio::test(start_paused = true)]
async fn the_file_of_the_next_session_is_not_removed_by_the_end_of_the_one_before() {
    let home = home();
    let fake = Fake::new(|seen| {
        let number = 4711 + seen.earlier as u64;
        (seen.path == OPEN).then(|| Act::message(&OpenResponse { number, ..opened() }))
    });
    let first = fake.builder().save_to(&home.file).open().await.unwrap();
    // On systems without such locks nothing keeps the second one from it.
    first.core().saving.unlock();
    let second = fake.builder().save_to(&home.file).open().await.unwrap();
    first.release().await.unwrap();
    assert_eq!(load(&home.file), Some(second.export()));
    second.release().await.unwrap();
    assert_eq!(load(&home.file), None);
}

#[tokio::test(start_paused = true)]
async fn the_file_stays_when_the_session_is_dropped_or_was_ended_by_others() {
    let home = home();
    let fake =
        Fake::new(|seen| (seen.path == ONCE).then(|| refusal(Reason::SessionUnknown, Outcome::NotExecuted)));
    let session = fake.builder().save_to(&home.file).open().await.unwrap();
    let status = call(&session, ONCE).await.unwrap_err();
    assert_eq!(
        (status.reason(), status.outcome()),
        (Some(Reason::SessionUnknown), Some(Outcome::NotExecuted))
    );
    assert_eq!(*session.core().life.borrow(), Life::Ended(End::Told(Reason::SessionUnknown)));
    drop(session);
    fake.deserted().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(load(&home.file).is_some());
    fake.builder().save_to(&home.file).open().await.unwrap();
}
