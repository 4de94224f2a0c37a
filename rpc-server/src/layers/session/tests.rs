use rpc_core::config::Terms;
use rpc_core::id::{Nonce, SessionId, TicketHash};
use rpc_core::negotiate::{self, Offer};
use rpc_core::principal::Principal;
use rpc_core::session::{Authority, Opening, RequestId};

use super::*;

fn session_of(principal: Principal) -> Core {
    let opening = Opening {
        principal,
        nonce: Nonce([1; 16]),
        agreement: Arc::new(negotiate::answer(&Offer::default(), &Terms::default(), &[]).unwrap()),
        ticket: TicketHash([1; 32]),
        authority: Authority { until: Timestamp::NEVER, unix_s: None, scopes: Arc::from([]) },
    };
    Core::open(Timestamp::ORIGIN, SessionId::new(1).unwrap(), opening, RequestId(0))
}

//= test A-13
//= test I22
#[test]
fn the_ticket_is_of_no_use_with_the_token_of_another_principal() {
    let [alice, bob] = ["alice", "bob"].map(|subject| Principal::new("issuer", subject));
    let session = session_of(alice.clone());
    let asked = |principal: &Principal, verb| {
        let identity = Identity::new(principal.clone());
        judge(&session, Timestamp::ORIGIN, Some(&identity), &Target::SessionService(verb))
    };
    assert!(asked(&alice, Verb::Other).is_ok());
    assert!(matches!(asked(&bob, Verb::Other), Err(Refused::Unknown)), "as if there was no such session");
    assert!(matches!(asked(&bob, Verb::Renew), Err(Refused::Principal)));
}
