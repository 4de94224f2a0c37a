//! Sessions that another process had: the proof that they live, and slots of which nothing is known.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rpc_core::id::{CallAttempt, Ticket};
use rpc_core::negotiate::ServiceRequest;
use rpc_proto::pb::session::v1::query_response::State;
use rpc_proto::pb::session::v1::{QueryRequest, QueryResponse, RenewRequest, RenewResponse};
use tokio::time::Instant;
use tonic::Code;

use super::fake::{Act, Fake, ONCE, OPEN, QUERY, RENEW, TICKET, header_of, seconds};
use super::*;
use crate::saved::Tickets;
use crate::{Builder, CallInfo, OpenError, OutcomeExt as _, SavedSession};

/// How far a slot is at the server, and whether its last call runs.
#[derive(Clone, Copy, Default)]
struct Place {
    last: u64,
    runs: bool,
    /// The server forgot what was called here.
    forgot: bool,
}

#[derive(Clone)]
struct Places(Arc<Mutex<[Place; 2]>>);

impl Places {
    fn new(places: [Place; 2]) -> Self {
        Self(Arc::new(Mutex::new(places)))
    }

    /// The server that has them.
    fn serve(&self) -> Fake {
        let places = self.clone();
        Fake::new(move |seen| match seen.path.as_str() {
            QUERY => Some(places.query(&seen.parse())),
            ONCE => Some(places.call(seen.call().parse().unwrap())),
            _ => None,
        })
    }

    fn query(&self, query: &QueryRequest) -> Act {
        assert!(!query.cancel, "nobody gave the calls up");
        let mut places = self.0.lock().unwrap();
        let place = &mut places[query.slot as usize];
        let state = if query.sequence < place.last {
            State::Forgotten
        } else if query.sequence == place.last {
            if place.runs { State::Running } else { State::Done }
        } else if place.forgot {
            if query.settle {
                // It knows as little as before.
                place.last = query.sequence;
            }
            State::Unknown
        } else if query.settle && query.sequence == place.last + 1 && !place.runs {
            place.last += 1;
            State::NotExecuted
        } else {
            State::Absent
        };
        Act::message(&QueryResponse { state: state.into(), last_sequence: place.last, ..Default::default() })
    }

    fn call(&self, attempt: CallAttempt) -> Act {
        let place = &mut self.0.lock().unwrap()[attempt.call.slot.0 as usize];
        if attempt.call.sequence.0 != place.last + 1 || place.runs {
            return refusal(Reason::CallMisordered, Outcome::NotExecuted);
        }
        place.last += 1;
        Act::Reply("pong".into())
    }
}

fn at(last: u64) -> Place {
    Place { last, ..Place::default() }
}

fn running(last: u64) -> Place {
    Place { last, runs: true, forgot: false }
}

/// What an opening of the usual server leaves.
async fn saved() -> SavedSession {
    Fake::new(|_| None).session().await.export()
}

async fn resumed(fake: &Fake) -> Session {
    fake.builder().resume(saved().await).await.unwrap()
}

fn questions(fake: &Fake) -> Vec<(u32, u64, bool)> {
    let asked = fake.seen(QUERY).into_iter().map(|seen| seen.parse::<QueryRequest>());
    asked.map(|query| (query.slot, query.sequence, query.settle)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_saved_session_goes_on_without_another_opening() {
    let fake = Places::new([at(7), at(0)]).serve();
    let bytes = saved().await.to_bytes();
    let session = fake.builder().resume(SavedSession::from_bytes(&bytes).unwrap()).await.unwrap();
    assert_eq!((session.number().value(), session.epoch().0, session.agreement().slots), (4711, 1, 2));
    let renewal = &fake.seen(RENEW)[0];
    assert_eq!(renewal.header("session"), Some("4711"));
    assert_eq!(renewal.header("session-ticket"), Some(header_of(TICKET).as_str()));
    assert_eq!(renewal.header("authorization"), Some("Bearer token-canary"));
    assert!(!renewal.parse::<RenewRequest>().rotate_ticket);
    assert_eq!(questions(&fake), [], "no slot is used yet");
    for sequence in ["0.9", "0.10", "0.11"] {
        let reply = call(&session, ONCE).await.unwrap();
        assert_eq!(reply.extensions().get::<CallInfo>().unwrap().call.to_string(), sequence);
    }
    assert_eq!(questions(&fake), [(0, u64::MAX, false), (0, 8, true)], "one slot was enough");
    let (one, two) = tokio::join!(call(&session, ONCE), call(&session, ONCE));
    one.unwrap();
    two.unwrap();
    assert_eq!(questions(&fake)[2..], [(1, u64::MAX, false), (1, 1, true)]);
    assert_eq!((fake.seen(OPEN).len(), fake.calls(ONCE).last().unwrap().as_str()), (0, "1.2.0"));
    session.release().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_gone_is_one_clear_error() {
    for reason in [Reason::SessionUnknown, Reason::SessionEnded, Reason::SessionFenced] {
        let fake = Fake::new(move |seen| (seen.path == RENEW).then(|| refusal(reason, Outcome::NotExecuted)));
        let error = fake.builder().resume(saved().await).await.unwrap_err();
        let OpenError::Gone { number, reason: told } = error else { panic!("{error:?}") };
        assert_eq!((number.value(), told), (4711, reason));
        assert_eq!((fake.seen(RENEW).len(), fake.seen(OPEN).len()), (1, 0));
    }
}

/// The saved ticket was replaced by a late renewal before it was used, and nobody has the one that replaced it.
#[tokio::test(start_paused = true)]
async fn a_ticket_that_the_server_does_not_know_is_followed_by_the_one_before_it() {
    let lost = header_of(&[7; 32]);
    let fake = Fake::new(move |seen| {
        let is_lost = seen.header("session-ticket") == Some(&lost);
        is_lost.then(|| refusal(Reason::SessionUnknown, Outcome::NotExecuted))
    });
    let mut saved = saved().await;
    let previous = Some(saved.tickets.current.clone());
    saved.tickets = Tickets { current: Ticket([7; 32]), previous };
    let session = fake.builder().resume(saved).await.unwrap();
    call(&session, ONCE).await.unwrap();
    assert_eq!(fake.seen(ONCE)[0].header("session-ticket"), Some(header_of(TICKET).as_str()));
    assert_eq!(session.export().tickets, Tickets::first(Ticket(TICKET.try_into().unwrap())));
}

#[tokio::test(start_paused = true)]
async fn a_session_is_taken_to_its_own_server_only() {
    let fake = Fake::new(|_| None);
    let saved = saved().await;
    let target = Session::builder("http://other.test").credentials("token-canary").connector(fake.clone());
    let error = target.resume(saved.clone()).await.unwrap_err();
    let OpenError::Elsewhere { saved: at, target } = error else { panic!("{error:?}") };
    assert_eq!((at.as_str(), target.as_str()), ("http://fake.test:80", "http://other.test:80"));
    assert_eq!(fake.seen(RENEW).len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_program_that_was_built_anew_is_told_what_does_not_fit() {
    let fake = Fake::new(|_| None);
    let refused = async |saved: SavedSession| match fake.builder().resume(saved).await {
        Err(OpenError::Service { service, reason }) => (service, reason),
        other => panic!("{other:?}"),
    };
    let was = saved().await;
    assert_eq!(was.services, [ServiceRequest { name: "b.B".into(), version: 3, policy_hash: 77 }]);
    for (version, policy_hash, reason) in
        [(2, 77, Reason::ServiceVersion), (3, 78, Reason::PolicyMismatch), (0, 1, Reason::PolicyMismatch)]
    {
        let services = vec![ServiceRequest { name: "b.B".into(), version, policy_hash }];
        assert_eq!(refused(SavedSession { services, ..was.clone() }).await, ("b.B".into(), reason));
    }
    let mut without = was.clone();
    without.agreement.services.clear();
    assert_eq!(refused(without).await, ("b.B".into(), Reason::ServiceNotGranted));
    assert_eq!(fake.seen(RENEW).len(), 0, "nothing was asked");
    // Named now for the first time, it is remembered as it is now.
    let unnamed = SavedSession { services: Vec::new(), ..was.clone() };
    assert_eq!(fake.builder().resume(unnamed).await.unwrap().export().services, was.services);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_not_there_yet_is_waited_for() {
    let fake = Fake::new(|seen| match (seen.path.as_str(), seen.earlier) {
        (RENEW, 0) => Some(Act::Cut),
        (RENEW, 1) => Some(Act::Hang),
        (RENEW, 2) => Some(Act::Fail(Status::unavailable("starting"))),
        (RENEW, 3) => {
            let answer = RenewResponse { authority: seconds(100), ..RenewResponse::default() };
            Some(Act::message(&answer))
        }
        _ => None,
    });
    let start = Instant::now();
    let _session = resumed(&fake).await;
    let ready = start.elapsed();
    // The renewal states no lease: it is the agreed one, of 30 s.
    fake.reached(RENEW, 5).await;
    assert!((9..=10).contains(&(start.elapsed() - ready).as_secs()), "{:?}", start.elapsed() - ready);
    let gone = |_| async { Err(std::io::Error::new(std::io::ErrorKind::ConnectionRefused, "nobody there")) };
    let builder: Builder = fake.builder().connector(gone);
    assert!(matches!(builder.resume(saved().await).await, Err(OpenError::Unreachable(_))));
    let refusing = Fake::new(|seen| {
        (seen.path == RENEW).then(|| refusal(Reason::PrincipalMismatch, Outcome::NotExecuted))
    });
    let error = refusing.builder().resume(saved().await).await.unwrap_err();
    assert!(matches!(error, OpenError::Refused { reason: Some(Reason::PrincipalMismatch), .. }), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_slot_in_which_a_call_of_the_other_process_runs_is_left_to_it() {
    let places = Places::new([running(3), at(5)]);
    let fake = places.serve();
    let session = resumed(&fake).await;
    for _ in 0..2 {
        call(&session, ONCE).await.unwrap();
    }
    assert_eq!(fake.calls(ONCE), ["1.7.0", "1.8.0"]);
    // It ends, and its slot comes free behind it.
    places.0.lock().unwrap()[0].runs = false;
    tokio::time::sleep(Duration::from_secs(6)).await;
    let (one, two) = tokio::join!(call(&session, ONCE), call(&session, ONCE));
    one.unwrap();
    two.unwrap();
    assert_eq!(fake.calls(ONCE)[2..], ["0.5.0", "1.9.0"]);
}

//= test C-40
#[tokio::test(start_paused = true)]
async fn a_table_full_of_calls_of_the_other_process_hangs_nobody() {
    let places = Places::new([running(1), running(1)]);
    let fake = places.serve();
    let session = resumed(&fake).await;
    let start = Instant::now();
    let soon = request(&session, ONCE, within(Duration::from_secs(2)));
    let (soon, later) = tokio::join!(soon, call(&session, ONCE));
    for refused in [soon, later] {
        let status = refused.unwrap_err();
        assert_eq!((status.code(), status.outcome()), (Code::ResourceExhausted, Some(Outcome::NotExecuted)));
        assert_eq!(status.reason(), Some(Reason::SlotsExhausted));
        assert!(status.message().contains("2 of another process"), "{}", status.message());
    }
    assert_eq!(start.elapsed(), Duration::from_secs(30));
    assert!(questions(&fake).len() < 80, "{} questions in 30 s", questions(&fake).len());
    let ending = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        places.0.lock().unwrap()[1].runs = false;
    };
    let (called, ()) = tokio::join!(call(&session, ONCE), ending);
    called.unwrap();
    assert_eq!(fake.calls(ONCE), ["1.3.0"]);
}

/// The last request of the other process comes between the two questions.
#[tokio::test(start_paused = true)]
async fn a_request_that_was_on_its_way_is_asked_about_again() {
    let places = Places::new([at(7), at(0)]);
    let asked = places.clone();
    let fake = Fake::new(move |seen| match (seen.path.as_str(), seen.earlier) {
        (QUERY, 1) => {
            asked.call("0.8.0".parse().unwrap());
            Some(asked.query(&seen.parse()))
        }
        (QUERY, _) => Some(asked.query(&seen.parse())),
        (ONCE, _) => Some(asked.call(seen.call().parse().unwrap())),
        _ => None,
    });
    let session = resumed(&fake).await;
    call(&session, ONCE).await.unwrap();
    assert_eq!(questions(&fake), [(0, u64::MAX, false), (0, 8, true), (0, 9, true)]);
    assert_eq!(fake.calls(ONCE), ["0.10.0"]);
}

//= test C-58
#[tokio::test(start_paused = true)]
async fn a_server_that_forgot_is_led_beyond_all_that_was_used() {
    let fake = Places::new([Place { last: 7, runs: false, forgot: true }, at(0)]).serve();
    let session = resumed(&fake).await;
    call(&session, ONCE).await.unwrap();
    let far = 7 + (1 << 44);
    assert_eq!(questions(&fake), [(0, u64::MAX, false), (0, far, true)]);
    assert_eq!(fake.calls(ONCE), [format!("0.{}.0", far + 1)]);
}

#[tokio::test(start_paused = true)]
async fn questions_without_an_answer_are_asked_again() {
    let places = Places::new([at(7), at(0)]);
    let fake = Fake::new(move |seen| match (seen.path.as_str(), seen.earlier) {
        (QUERY, 0 | 3) => Some(Act::Cut),
        (QUERY, 1) => Some(Act::Hang),
        (QUERY, 2) => Some(Act::Fail(Status::internal("a proxy"))),
        (QUERY, _) => Some(places.query(&seen.parse())),
        (ONCE, _) => Some(places.call(seen.call().parse().unwrap())),
        _ => None,
    });
    let session = resumed(&fake).await;
    call(&session, ONCE).await.unwrap();
    assert!(questions(&fake).iter().all(|(slot, ..)| *slot == 0), "{:?}", questions(&fake));
    assert_eq!(fake.calls(ONCE), ["0.9.0"]);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_ends_while_slots_are_resolved_sends_the_waiting_calls_away() {
    let fake =
        Fake::new(|seen| (seen.path == QUERY).then(|| refusal(Reason::SessionUnknown, Outcome::NotExecuted)));
    let session = resumed(&fake).await;
    let status = call(&session, ONCE).await.unwrap_err();
    assert_eq!(
        (status.reason(), status.outcome()),
        (Some(Reason::SessionUnknown), Some(Outcome::NotExecuted))
    );
    assert_eq!(fake.seen(ONCE).len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_slot_without_sequences_left_is_not_used() {
    let fake = Places::new([at(u64::MAX), at(2)]).serve();
    let session = resumed(&fake).await;
    call(&session, ONCE).await.unwrap();
    assert_eq!(fake.calls(ONCE), ["1.4.0"]);
}
