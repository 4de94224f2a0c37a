//! What a session does by itself: lease, authority, ticket, notices, and its end.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use prost::Message as _;
use rpc_core::id::TicketHash;
use rpc_core::record::TicketHashes;
use rpc_proto::pb::session::v1::attach_response::Event as Notice;
use rpc_proto::pb::session::v1::{AttachResponse, Drain, Ended, OpenResponse, RenewRequest, RenewResponse};
use tokio::time::{Instant, sleep};
use tonic::Code;

use super::fake::{ATTACH, Act, Fake, ONCE, OPEN, RELEASE, RENEW, TICKET, header_of, opened, seconds};
use super::*;
use crate::credentials::{BoxError, Token, from_fn};
use crate::{Credentials, End, Life, OutcomeExt as _};

/// Gives `token-0`, `token-1` and so on.
fn counting() -> impl Credentials {
    let count = Arc::new(AtomicU32::new(0));
    from_fn(move || {
        let number = count.fetch_add(1, Ordering::SeqCst);
        async move { Ok::<_, BoxError>(Token::new(format!("token-{number}"))) }
    })
}

async fn session(fake: &Fake, credentials: impl Credentials) -> Session {
    let target = Session::builder("http://fake.test");
    let builder = target.credentials(credentials).service::<fake::B>().connections(1).connector(fake.clone());
    builder.open().await.unwrap()
}

/// The answers of a server whose tokens last 100 s.
fn with_authority(seen: &fake::Seen) -> Option<Act> {
    let authority = seconds(100);
    match seen.path.as_str() {
        OPEN => Some(Act::message(&OpenResponse { authority, lease: seconds(1_000), ..opened() })),
        RENEW => {
            let ticket =
                if seen.parse::<RenewRequest>().rotate_ticket { ticket(seen.earlier) } else { b"".into() };
            let ticket = bytes::Bytes::from(ticket);
            Some(Act::message(&RenewResponse { authority, lease: seconds(1_000), ticket }))
        }
        _ => None,
    }
}

fn ticket(number: usize) -> Vec<u8> {
    vec![u8::try_from(number).unwrap(); 32]
}

//= test L-9
#[tokio::test(start_paused = true)]
async fn an_idle_session_is_renewed_and_a_busy_one_is_not() {
    let fake = Fake::new(|_| None);
    let session = fake.session().await;
    for _ in 0..20 {
        sleep(Duration::from_secs(5)).await;
        call(&session, ONCE).await.unwrap();
    }
    assert_eq!(fake.seen(RENEW).len(), 0, "every call renews the lease");
    sleep(Duration::from_secs(35)).await;
    let renewals = fake.seen(RENEW);
    assert_eq!(renewals.len(), 3, "every 10 s");
    assert_eq!(renewals[0].header("authorization"), None);
    assert!(!renewals[0].parse::<RenewRequest>().rotate_ticket);
}

//= test L-12
#[tokio::test(start_paused = true)]
async fn the_authority_is_renewed_in_time_with_a_fresh_token_and_a_new_ticket() {
    let fake = Fake::new(with_authority);
    let start = Instant::now();
    let session = session(&fake, counting()).await;
    fake.reached(RENEW, 1).await;
    assert_eq!(start.elapsed().as_secs(), 80);
    call(&session, ONCE).await.unwrap();
    fake.reached(RENEW, 2).await;
    let seen = fake.seen(RENEW);
    assert_eq!(seen[0].header("authorization"), Some("Bearer token-1"));
    assert_eq!(seen[1].header("authorization"), Some("Bearer token-2"));
    assert_eq!(seen[0].header("session-ticket"), Some(header_of(TICKET).as_str()));
    assert_eq!(fake.seen(ONCE)[0].header("session-ticket"), Some(header_of(&ticket(0)).as_str()));
    assert_eq!(seen[1].header("session-ticket"), Some(header_of(&ticket(0)).as_str()));
}

#[tokio::test(start_paused = true)]
async fn the_old_ticket_is_used_until_a_new_one_is_in_hand() {
    let fake = Fake::new(|seen| match (seen.path.as_str(), seen.earlier) {
        (RENEW, 0) => Some(Act::Cut),
        _ => with_authority(seen),
    });
    let session = session(&fake, counting()).await;
    let mut events = session.events();
    event(&mut events, |event| matches!(event, Event::RenewalFailed(_))).await;
    call(&session, ONCE).await.unwrap();
    event(&mut events, |event| matches!(event, Event::AuthorityRenewed { ticket_rotated: true })).await;
    call(&session, ONCE).await.unwrap();
    let used: Vec<_> =
        fake.seen(ONCE).iter().map(|seen| seen.header("session-ticket").unwrap().to_owned()).collect();
    assert_eq!(used, [header_of(TICKET), header_of(&ticket(1))]);
}

// A ticket was rotated while a call was on its way with the old one, which another call then made void.
#[tokio::test(start_paused = true)]
async fn a_call_that_was_overtaken_by_a_new_ticket_is_sent_again() {
    let fake = Fake::new(|seen| match (seen.path.as_str(), seen.earlier) {
        (ONCE, 0) => {
            let refused = refusal(Reason::SessionUnknown, Outcome::NotExecuted);
            Some(Act::After(Duration::from_secs(90), Box::new(refused)))
        }
        _ => with_authority(seen),
    });
    let session = session(&fake, counting()).await;
    call(&session, ONCE).await.unwrap();
    assert_eq!(fake.calls(ONCE), ["0.1.0", "0.1.0"]);
    assert_eq!(fake.seen(ONCE)[1].header("session-ticket"), Some(header_of(&ticket(0)).as_str()));
    assert_eq!(*session.core().life.borrow(), Life::Active);
}

/// A server that keeps tickets as the protocol says. Its first renewal arrives late: when the second was answered, whose
/// ticket is so replaced before it was ever used. `lives` says until when it knows the session.
fn late_renewal(lives: fn(&fake::Seen) -> bool) -> Fake {
    let hash = |ticket: &[u8]| TicketHash(ticket.try_into().unwrap());
    let tickets = Mutex::new(TicketHashes::first(hash(TICKET)));
    let all = [TICKET.to_vec(), ticket(0), ticket(1)];
    Fake::new(move |seen| {
        if seen.path == OPEN {
            return with_authority(seen);
        }
        let mut tickets = tickets.lock().unwrap();
        let shown = seen.header("session-ticket");
        let shown = all.iter().find(|ticket| shown == Some(header_of(ticket).as_str())).unwrap();
        if !lives(seen) || tickets.present(&hash(shown)).is_none() {
            return Some(refusal(Reason::SessionUnknown, Outcome::NotExecuted));
        }
        match (seen.path.as_str(), seen.earlier) {
            (RENEW, 0) => Some(Act::Hang),
            (RENEW, 1) => {
                tickets.issue(hash(&ticket(1)));
                tickets.issue(hash(&ticket(0)));
                with_authority(seen)
            }
            (RENEW, _) => with_authority(seen),
            _ => None,
        }
    })
}

fn tickets_of(fake: &Fake, path: &str) -> Vec<String> {
    fake.seen(path).iter().map(|seen| seen.header("session-ticket").unwrap().to_owned()).collect()
}

// A renewal that was given up was under way for longer than the next one took. The session lived, and the client took it
// for ended.
//= test I23
#[tokio::test(start_paused = true)]
async fn a_late_renewal_that_voids_the_new_ticket_does_not_end_the_session() {
    let fake = late_renewal(|_| true);
    let session = session(&fake, counting()).await;
    let mut events = session.events();
    event(&mut events, |event| matches!(event, Event::AuthorityRenewed { ticket_rotated: true })).await;
    let (one, two) = tokio::join!(call(&session, ONCE), call(&session, ONCE));
    one.unwrap();
    two.unwrap();
    let (new, old) = (header_of(&ticket(1)), header_of(TICKET));
    assert_eq!(tickets_of(&fake, ONCE), [&*new, &*new, &*old, &*old]);
    assert_eq!(*session.core().life.borrow(), Life::Active);
}

#[tokio::test(start_paused = true)]
async fn a_renewal_finds_out_that_the_new_ticket_is_void() {
    let fake = late_renewal(|_| true);
    let session = session(&fake, counting()).await;
    let mut events = session.events();
    event(&mut events, |event| matches!(event, Event::AuthorityRenewed { ticket_rotated: true })).await;
    event(&mut events, |event| matches!(event, Event::AuthorityRenewed { .. })).await;
    let (new, old) = (header_of(&ticket(1)), header_of(TICKET));
    assert_eq!(tickets_of(&fake, RENEW), [&*old, &*old, &*new, &*old]);
}

#[tokio::test(start_paused = true)]
async fn a_release_goes_on_with_the_old_ticket_where_the_new_one_is_void() {
    let fake = late_renewal(|_| true);
    let session = session(&fake, counting()).await;
    let mut events = session.events();
    event(&mut events, |event| matches!(event, Event::AuthorityRenewed { ticket_rotated: true })).await;
    session.release().await.unwrap();
    assert_eq!(tickets_of(&fake, RELEASE), [header_of(&ticket(1)), header_of(TICKET)]);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_neither_ticket_is_known_for_has_ended() {
    let fake = late_renewal(|seen| seen.path != ONCE);
    let session = session(&fake, counting()).await;
    let mut events = session.events();
    event(&mut events, |event| matches!(event, Event::AuthorityRenewed { ticket_rotated: true })).await;
    let status = call(&session, ONCE).await.unwrap_err();
    assert_eq!(
        (status.reason(), status.outcome()),
        (Some(Reason::SessionUnknown), Some(Outcome::NotExecuted))
    );
    assert_eq!(tickets_of(&fake, ONCE), [header_of(&ticket(1)), header_of(TICKET)]);
    assert_eq!(*session.core().life.borrow(), Life::Ended(End::Told(Reason::SessionUnknown)));
}

#[tokio::test(start_paused = true)]
async fn calls_refused_for_an_expired_authority_renew_it_once_and_go_on() {
    let fake = Fake::new(|seen| match (seen.path.as_str(), seen.earlier) {
        (ONCE, 0 | 1) => Some(refusal(Reason::AuthorityExpired, Outcome::NotExecuted)),
        _ => with_authority(seen),
    });
    let session = session(&fake, counting()).await;
    let (one, two) = tokio::join!(call(&session, ONCE), call(&session, ONCE));
    one.unwrap();
    two.unwrap();
    let mut calls = fake.calls(ONCE);
    calls.sort();
    assert_eq!(calls, ["0.1.0", "0.1.0", "1.1.0", "1.1.0"]);
    let renewals = fake.seen(RENEW);
    assert_eq!(renewals.len(), 1);
    assert_eq!(renewals[0].header("authorization"), Some("Bearer token-1"));
}

#[tokio::test(start_paused = true)]
async fn calls_refused_together_share_one_failure_to_renew() {
    let fake = Fake::new(|seen| match seen.path.as_str() {
        ONCE => Some(refusal(Reason::AuthorityExpired, Outcome::NotExecuted)),
        RENEW if seen.header("authorization").is_some() => {
            let refused = refusal(Reason::TokenExpired, Outcome::NotExecuted);
            Some(Act::After(Duration::from_secs(1), Box::new(refused)))
        }
        _ => None,
    });
    let session = fake.session().await;
    let (one, two) = tokio::join!(call(&session, ONCE), call(&session, ONCE));
    for refused in [one, two] {
        assert_eq!(refused.unwrap_err().reason(), Some(Reason::AuthorityExpired));
    }
    let with_token = fake.seen(RENEW).iter().filter(|seen| seen.header("authorization").is_some()).count();
    assert_eq!(with_token, 1);
}

#[tokio::test(start_paused = true)]
async fn an_authority_that_cannot_be_renewed_is_told_with_its_outcome() {
    let fake = Fake::new(|seen| match seen.path.as_str() {
        ONCE => Some(refusal(Reason::AuthorityExpired, Outcome::NotExecuted)),
        RENEW if seen.header("authorization").is_some() => {
            Some(refusal(Reason::TokenExpired, Outcome::NotExecuted))
        }
        _ => None,
    });
    let session = fake.session().await;
    let status = call(&session, ONCE).await.unwrap_err();
    assert_eq!((status.code(), status.reason()), (Code::Unauthenticated, Some(Reason::AuthorityExpired)));
    assert_eq!((status.outcome(), fake.calls(ONCE).len()), (Some(Outcome::NotExecuted), 1));
    assert!(fake.seen(RENEW).len() >= 2, "the lease was renewed without a token");
}

//= test C-29
#[tokio::test(start_paused = true)]
async fn a_session_that_the_server_does_not_know_is_over_for_every_call() {
    let fake = Fake::new(|seen| match (seen.path.as_str(), seen.earlier) {
        (ONCE, 0) => Some(Act::Hang),
        (ONCE, 1) => Some(refusal(Reason::SessionUnknown, Outcome::NotExecuted)),
        _ => None,
    });
    let session = fake.session().await;
    let mut events = session.events();
    let waiting = call(&session, ONCE);
    let telling = async {
        fake.reached(ONCE, 1).await;
        call(&session, ONCE).await
    };
    let (waiting, telling) = tokio::join!(waiting, telling);
    let (waiting, telling) = (waiting.unwrap_err(), telling.unwrap_err());
    assert_eq!((waiting.reason(), waiting.outcome()), (Some(Reason::SessionUnknown), Some(Outcome::Unknown)));
    assert_eq!((telling.code(), telling.outcome()), (Code::NotFound, Some(Outcome::NotExecuted)));
    let later = call(&session, ONCE).await.unwrap_err();
    assert_eq!((later.reason(), later.outcome()), (Some(Reason::SessionUnknown), Some(Outcome::NotExecuted)));
    assert_eq!((fake.seen(ONCE).len(), fake.seen(OPEN).len()), (2, 1), "nothing is opened behind the back");
    event(&mut events, |event| *event == Event::Ended(End::Told(Reason::SessionUnknown))).await;
    let mut state = session.state();
    state.wait_for(|state| state.life == Life::Ended(End::Told(Reason::SessionUnknown))).await.unwrap();
}

fn notice(event: Notice) -> bytes::Bytes {
    AttachResponse { event: Some(event) }.encode_to_vec().into()
}

#[tokio::test(start_paused = true)]
async fn the_servers_notices_are_heard() {
    let fake = Fake::new(|seen| {
        let notices = vec![
            (Duration::from_secs(1), notice(Notice::Drain(Drain { deadline: seconds(7) }))),
            (Duration::from_secs(1), notice(Notice::Ended(Ended { reason: "SESSION_ENDED".into() }))),
        ];
        (seen.path == ATTACH).then_some(Act::Notices(notices))
    });
    let session = fake.session().await;
    let mut events = session.events();
    event(&mut events, |event| *event == Event::Draining(Duration::from_secs(7))).await;
    event(&mut events, |event| *event == Event::Ended(End::Told(Reason::SessionEnded))).await;
    let attach = &fake.seen(ATTACH)[0];
    assert_eq!((attach.header("session"), attach.header("authorization")), (Some("4711"), None));
    let status = call(&session, ONCE).await.unwrap_err();
    assert_eq!((status.reason(), status.outcome()), (Some(Reason::SessionEnded), Some(Outcome::NotExecuted)));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_answers_no_keepalive_is_attached_again() {
    let fake = Fake::new(|seen| (seen.path == ATTACH).then(|| Act::Notices(Vec::new())));
    let _session = fake.session().await;
    fake.reached(ATTACH, 2).await;
    let seen = fake.seen(ATTACH);
    assert!((seen[1].at - seen[0].at).as_secs() >= 30, "20 s of silence and 10 s without an answer");
}

#[tokio::test(start_paused = true)]
async fn every_connection_is_attached() {
    let fake = Fake::new(|seen| match (seen.path.as_str(), seen.earlier) {
        (ATTACH, _) => Some(Act::Notices(Vec::new())),
        (ONCE, 0) => Some(Act::Cut),
        _ => None,
    });
    let session = fake.session().await;
    let mut events = session.events();
    fake.reached(ATTACH, 1).await;
    call(&session, ONCE).await.unwrap();
    fake.reached(ATTACH, 2).await;
    event(&mut events, |event| *event == Event::ConnectionLost).await;
}
