//! What is confirmed when it is stored.

use bytes::Bytes;

use super::crash::{Call, acks, at, part, read};
use crate::error::Reason;
use crate::stream::error::StreamError;
use crate::stream::position::Serial;
use crate::stream::secured::{Resumption, Secured};

/// The client sends messages and a point, which the server's application secures.
fn upload(call: &mut Call, messages: Bytes, state: &'static str) {
    call.client.app_sends(messages);
    call.client.app_syncs("sent".into()).unwrap();
    call.up();
    read(&mut call.server);
    let serial = Serial(call.server.mark().declared.0 + 1);
    call.server.secure(serial, state.into()).unwrap();
}

//= test S-3
#[test]
fn a_point_is_confirmed_when_it_is_stored() {
    let mut call = Call::new();
    assert_eq!(call.server.unstored(), None);
    upload(&mut call, part(0, 2), "one");
    let first = call.server.unstored().unwrap();
    assert_eq!(first.requests.as_ref().unwrap().receiver_state, "one");
    assert_eq!(acks(&call.down()), [], "not stored");
    assert_eq!((call.server.resumption(), call.server.progress().received_secured), Default::default());

    upload(&mut call, part(2, 4), "two");
    upload(&mut call, part(4, 6), "three");
    call.server.stored(&first);
    assert_eq!(acks(&call.down()), [Serial(1)], "what was stored, and no more");
    let second = call.server.unstored().unwrap();
    assert_eq!(second.requests.as_ref().unwrap().serial, Serial(3), "one for both");
    call.reconnect();
    assert_eq!(acks(&call.down()), [Serial(1)], "again, and no more");
    call.server.stored(&second);
    call.server.stored(&first);
    assert_eq!(acks(&call.down()), [Serial(3)]);
    assert_eq!((call.server.unstored(), call.server.resumption()), (None, second.clone()));
    assert_eq!(call.client.resumption().requests, second.requests);

    let beyond = Resumption {
        requests: second.requests.map(|point| Secured { serial: Serial(4), ..point }),
        responses: None,
    };
    call.server.stored(&beyond);
    assert_eq!(acks(&call.down()), [], "nobody declared that one secured");
}

#[test]
fn confirmations_of_the_peer_are_to_be_stored_and_hold_nothing_back() {
    let mut call = Call::new();
    call.server.app_sends(part(0, 2));
    call.server.app_syncs("here".into()).unwrap();
    call.down();
    read(&mut call.client);
    call.client.secure(Serial(1), "there".into()).unwrap();
    assert_eq!(acks(&call.up()), [Serial(1)]);
    assert_eq!(call.server.progress().sent_secured, at(2));
    let resumption = call.server.unstored().unwrap();
    assert_eq!(resumption, call.server.resumption());
    call.server.stored(&resumption);
    assert_eq!((call.server.unstored(), call.client.unstored()), (None, None));
}

//= test C-59
#[test]
fn a_failed_store_ends_the_stream_and_confirms_nothing() {
    let mut call = Call::new();
    upload(&mut call, part(0, 2), "one");
    call.server.store_failed();
    let error = call.server.failed().unwrap();
    assert_eq!((error, error.reason()), (StreamError::Unstored, Reason::StoreUnavailable));
    assert_eq!((call.down(), call.server.unstored()), (Vec::new(), None));
}
