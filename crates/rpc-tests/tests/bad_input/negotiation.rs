//! Proposals that cannot be met.

use std::time::Duration;

use rpc_core::error::Reason;
use rpc_proto::pb::session::v1::{OpenRequest, ServiceRequest, Unit};
use rpc_proto::status::Details;
use rpc_tests::pb::ledger::v1::TEST_LEDGER_POLICY;
use rpc_tests::session::{Opened, duration, proposal};
use rpc_tests::{server, token};
use tonic::Code;

use crate::scene::{OPEN, Scene};

type Change = Box<dyn Fn(&mut OpenRequest)>;

fn row(reason: Reason, change: impl Fn(&mut OpenRequest) + 'static) -> (Reason, Change) {
    (reason, Box::new(change))
}

//= test O-7
//= test O-9
//= test O-10
//= test O-20
//= test O-23
//= test O-26
#[tokio::test]
async fn a_proposal_below_the_minimum_is_refused_with_the_servers_limits() {
    let scene = Scene::set_with(|builder| {
        builder.terms(server::terms(|terms| {
            terms.slots.max = 128;
            terms.linger.max = Duration::from_secs(3_600);
        }))
    })
    .await;
    let long = |seconds| Some(duration(Duration::from_secs(seconds)));
    let both = [Unit::DataSeparation, Unit::Activity].map(i32::from);
    let rows = [
        row(Reason::VersionUnsupported, |open| open.versions = vec![2, 3]),
        row(Reason::UnitUnsupported, |open| {
            open.units.push(Unit::Durable.into());
            open.required_units = vec![Unit::Durable.into()];
        }),
        row(Reason::UnitsContradict, |open| open.required_units = vec![Unit::Duplex.into()]),
        row(Reason::UnitUnsupported, |open| {
            open.units.push(Unit::Exceptions.into());
            open.required_units = vec![Unit::Exceptions.into()];
        }),
        row(Reason::UnitsContradict, move |open| {
            open.units.extend(both);
            open.required_units = both.to_vec();
        }),
        row(Reason::BelowMinimum, |open| open.slots_min = 129),
        row(Reason::BelowMinimum, |open| (open.slots, open.slots_min) = (2, 3)),
        row(Reason::BelowMinimum, move |open| open.lease_min = long(3_601)),
        row(Reason::BelowMinimum, move |open| open.linger_min = long(3_601)),
    ];
    let channel = scene.bare().bearer(&token::token("alice", &[]));
    for (index, (reason, change)) in rows.iter().enumerate() {
        let mut open = proposal();
        change(&mut open);
        let code = match reason {
            Reason::UnitsContradict => Code::InvalidArgument,
            _ => Code::FailedPrecondition,
        };
        scene.refuses(&format!("row {index}"), &channel, OPEN, &open, (code, *reason, None)).await;
        let answer = channel.call(OPEN, &open).await.unwrap();
        let limits = Details::of(&answer.status()).limits.expect("a refusal shows the server's own limits");
        assert_eq!((limits.slots_max, limits.versions), (128, vec![1]), "row {index}");
        assert_eq!((limits.linger_max, limits.lease_max), (long(3_600), long(3_600)), "row {index}");
        // Nothing of the refused opening remains: its nonce is free.
        let again = OpenRequest { nonce: open.nonce, ..proposal() };
        let opened = Opened::propose(scene.bare(), "alice", again).await.unwrap();
        assert!(!opened.response.existing, "row {index}");
    }
}

//= test O-1
//= test O-11
#[tokio::test]
async fn a_proposal_that_is_not_well_formed_is_refused() {
    let scene = Scene::set().await;
    let rows = [
        row(Reason::FieldInvalid, |open| open.nonce = vec![1; 15].into()),
        row(Reason::FieldInvalid, |open| open.nonce = vec![1; 17].into()),
        row(Reason::FieldInvalid, |open| open.nonce = Vec::new().into()),
        row(Reason::FieldInvalid, |open| open.client = "x".repeat(129)),
        row(Reason::FieldInvalid, |open| open.lease = Some(prost_types::Duration { seconds: -1, nanos: 0 })),
        row(Reason::FieldInvalid, |open| open.versions = vec![1; 65]),
        row(Reason::FieldInvalid, |open| open.units = vec![1; 65]),
        row(Reason::FieldInvalid, |open| open.services = vec![ServiceRequest::default()]),
    ];
    let channel = scene.bare().bearer(&token::token("alice", &[]));
    for (index, (reason, change)) in rows.iter().enumerate() {
        let mut open = proposal();
        change(&mut open);
        let told = (Code::InvalidArgument, *reason, None);
        scene.refuses(&format!("row {index}"), &channel, OPEN, &open, told).await;
    }
    // Bytes that are no message are tonic's to refuse.
    let garbage = bytes::Bytes::from_static(b"\0\0\0\0\x02\xff\xff");
    let answer = channel.call_bytes(OPEN, garbage).await.unwrap();
    assert_ne!(answer.status().code(), Code::Ok);
}

//= test O-13
//= test O-12
#[tokio::test]
async fn each_service_is_granted_or_refused_with_its_reason() {
    let scene = Scene::set().await;
    let service =
        |name: &str, version, policy_hash| ServiceRequest { name: name.into(), version, policy_hash };
    let ledger = TEST_LEDGER_POLICY.name;
    let hash = TEST_LEDGER_POLICY.hash;
    let rows = [
        (service(ledger, 0, 0), ""),
        (service(ledger, 0, hash), ""),
        (service(ledger, 0, hash ^ 1), "POLICY_MISMATCH"),
        (service(ledger, TEST_LEDGER_POLICY.version, 0), ""),
        (service("no.Such", 0, 0), "SERVICE_UNKNOWN"),
        (service("session.v1.SessionService", 0, 0), "SERVICE_UNKNOWN"),
        (service("grpc.health.v1.Health", 0, 0), "SERVICE_UNKNOWN"),
    ];
    for (request, reason) in rows {
        let open = OpenRequest { services: vec![request.clone()], ..proposal() };
        let opened = Opened::propose(scene.bare(), "alice", open).await.unwrap();
        let [grant] = &opened.response.services[..] else { panic!("one service asked for, one answered") };
        let expected = (request.name.as_str(), reason.is_empty(), reason);
        assert_eq!((grant.name.as_str(), grant.granted, grant.reason.as_str()), expected, "{request:?}");
        opened.abort().await;
    }
    let names = ["no.Such", ledger];
    let services = names.map(|name| service(name, 0, 0)).to_vec();
    let opened =
        Opened::propose(scene.bare(), "alice", OpenRequest { services, ..proposal() }).await.unwrap();
    let answered: Vec<_> = opened.response.services.iter().map(|grant| grant.name.as_str()).collect();
    assert_eq!(answered, names, "in the order of the proposal");
}
