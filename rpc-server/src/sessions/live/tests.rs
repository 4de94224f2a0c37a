use std::sync::Arc;

use rpc_core::config::{Limits, Terms};
use rpc_core::id::{CallAttempt, ConnectionId, Fingerprint, Nonce};
use rpc_core::negotiate::{self, Offer};
use rpc_core::policy::Cancellation;
use rpc_core::principal::Principal;
use rpc_core::record::SessionRecord;
use rpc_core::session::{Admission, Admit, Authority, Keeping, SessionUnknown};
use rpc_core::store::{MemoryStore, Store, Stored};
use rpc_core::time::Timestamp;

use super::*;
use crate::sessions::ends::{Ends, Hook};
use crate::sessions::{OpenSession, Surroundings};

async fn open(sessions: &Arc<Sessions>) -> Arc<Live> {
    open_as(sessions, 1).await.live
}

async fn open_as(sessions: &Arc<Sessions>, nonce: u8) -> OpenSession {
    let agreement = negotiate::answer(&Offer::default(), &Terms::default(), &[]).unwrap();
    let authority = Authority { until: Timestamp::NEVER, unix_s: None, scopes: Arc::from([]) };
    let alice = Principal::new("issuer", "alice");
    sessions.open(alice, Nonce([nonce; 16]), agreement, authority).await.unwrap()
}

fn sessions() -> Arc<Sessions> {
    sessions_on(Arc::new(MemoryStore::new()), Vec::new())
}

fn sessions_on(store: Arc<MemoryStore>, hooks: Vec<Hook>) -> Arc<Sessions> {
    let ends = Ends::start(hooks).unwrap();
    let (terms, limits) = (Terms::default(), Limits::default());
    Sessions::start(store, terms, limits, Surroundings::default(), ends).unwrap()
}

/// The call is admitted under one lock and says how it is stopped under the next one. A cancel that came between the
/// two found nothing to cancel, and the handler ran to its end.
//= test C-37
#[tokio::test]
async fn a_stop_that_comes_before_the_handler_begins_is_not_lost() {
    let sessions = sessions();
    let live = open(&sessions).await;
    let attempt: CallAttempt = "0.1.0".parse().unwrap();
    let admit = Admit {
        attempt,
        fingerprint: Fingerprint(1),
        streams: false,
        cancellation: Cancellation::Stop,
        keeping: Keeping::Memory,
    };
    assert_eq!(live.with(|session, _| session.admit(admit)), Ok(Admission::Run));
    live.with(|session, _| session.query(attempt.call, false, true, RequestId(9))).unwrap();
    assert!(live.stoppable(attempt.call).is_cancelled());
    live.finished(attempt.call, None, |session| session.abandon(attempt.call));
    assert!(live.lock().stoppable.is_empty());
}

/// A connection remembered each session that it had ever carried, until it closed.
#[tokio::test]
async fn a_connection_forgets_sessions_that_have_ended() {
    let sessions = sessions();
    let connection = ConnectionId(1);
    sessions.connection_open(connection);
    for nonce in 0..=u8::MAX {
        let OpenSession { live, ticket, .. } = open_as(&sessions, nonce).await;
        sessions.present::<SessionUnknown>(live.id(), &ticket, Some(connection), |_, _| Ok(())).unwrap();
        live.request(|session, _, request| session.abort(request)).await.unwrap();
    }
    assert!(sessions.connections.get(&connection).unwrap().len() < 16);
}

/// The store of a server that is gone has an end of which that server may have told nobody, and a session whose time runs
/// out when nobody comes.
//= test L-34
#[tokio::test(start_paused = true)]
async fn a_server_tells_of_the_ends_that_it_finds() {
    let store = Arc::new(MemoryStore::new());
    let before = sessions_on(Arc::clone(&store), Vec::new());
    let (left, aborted) = (open_as(&before, 1).await.live, open_as(&before, 2).await.live);
    aborted.request(|session, _, request| session.abort(request)).await.unwrap();
    let (left, aborted) = (left.id(), aborted.id());
    drop(before);
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let sessions = sessions_on(store, vec![Box::new(move |ended| tell.send(ended.clone()).unwrap())]);
    sessions.adopt(|_| false).unwrap();
    let found = told.recv().await.unwrap();
    assert_eq!((found.number, found.end, found.told_before), (aborted, SessionEnd::Aborted, true));
    let reaper = tokio::spawn(Arc::clone(&sessions).reap());
    let found = told.recv().await.unwrap();
    assert_eq!((found.number, found.end, found.told_before), (left, SessionEnd::Expired, false));
    reaper.abort();
}

/// A server may have a million that nobody uses. The sizes are those of an allocator's blocks, with the counts of an `Arc`:
/// one byte more takes the next one.
#[cfg(target_pointer_width = "64")]
#[tokio::test]
async fn an_idle_session_is_small_and_shares_what_others_have() {
    assert!(size_of::<Live>() + 16 <= 448, "a session has {} bytes", size_of::<Live>());
    assert!(size_of::<SessionRecord>() + 16 <= 128, "its record has {} bytes", size_of::<SessionRecord>());
    let store = Arc::new(MemoryStore::new());
    let sessions = sessions_on(Arc::clone(&store), Vec::new());
    let (one, other) = (open_as(&sessions, 1).await.live, open_as(&sessions, 2).await.live);
    assert!(Arc::ptr_eq(one.agreement(), other.agreement()));
    let Ok(Some(Stored::Live(_, record, _))) = store.load(one.id()) else { panic!("it was opened") };
    assert!(Arc::ptr_eq(&record.agreement, other.agreement()));
    assert_eq!(Arc::strong_count(&record), 3, "the session's, the store's, and this one");
    assert!(one.news.get().is_none() && one.lapse.get().is_none(), "nobody has asked for news");
}
