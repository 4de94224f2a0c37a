use std::sync::Arc;

use rpc_core::config::{Limits, Terms};
use rpc_core::id::{CallAttempt, ConnectionId, Fingerprint, Nonce};
use rpc_core::negotiate::{self, Offer};
use rpc_core::policy::Cancellation;
use rpc_core::principal::Principal;
use rpc_core::session::{Admission, Admit, Authority, Keeping, SessionUnknown};
use rpc_core::store::MemoryStore;
use rpc_core::time::Timestamp;

use super::*;
use crate::sessions::{OpenSession, SystemEntropy};

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
    let store = Arc::new(MemoryStore::new());
    Sessions::start(store, Terms::default(), Limits::default(), Box::new(SystemEntropy)).unwrap()
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
