//! Each unit offered, left out and required by name, at both sides; and what is there without it.

use std::num::NonZeroU32;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rpc_client::{OpenError, OutcomeExt as _, Session};
use rpc_core::activity::Key;
use rpc_core::error::{Outcome, Reason};
use rpc_core::id::SessionId;
use rpc_core::negotiate::{Unit, Units};
use rpc_core::record::{ActivityRecord, CallRecord, Change, Write};
use rpc_core::store::{Durability, MemoryStore, Store, StoreError, Stored, WriteError};
use rpc_core::transaction::Versioned;
use rpc_server::Server;
use rpc_tests::pb::vault::v1::vault_client::VaultClient;
use rpc_tests::server::net;
use rpc_tests::session::{TRANSFER, booking};
use rpc_tests::token;

use super::*;

fn client(server: &TestServer) -> rpc_client::Builder {
    Session::builder(format!("http://{}", server.address())).credentials(token::token("alice", &[]))
}

async fn opened(builder: rpc_client::Builder) -> Result<Units, OpenError> {
    let session = soon("the opening", builder.open()).await?;
    let units = session.agreement().units;
    soon("the end", session.abort("that was all")).await.unwrap();
    Ok(units)
}

//= test O-19
//= test O-20
//= test O-23
//= test O-24
//= test O-28
#[tokio::test]
async fn each_unit_is_offered_left_out_and_required_by_name() {
    let (offering, _) = served(|builder| builder.units(Unit::ALL)).await;
    // The store of these servers forgets: the unit is never offered.
    for unit in Unit::ALL.into_iter().filter(|unit| *unit != Unit::Durable) {
        let (refusing, _) = served(|builder| builder.without_unit(unit)).await;
        assert!(opened(client(&offering).unit(unit)).await.unwrap().contains(unit), "{unit}");
        let required = opened(client(&offering).require_unit(unit)).await.unwrap();
        assert!(
            unit.needs().is_none_or(|needed| required.contains(needed)) && required.contains(unit),
            "{unit}"
        );
        let without = client(&offering).service::<VaultClient<Session>>().unit(unit).without_unit(unit);
        assert!(!opened(without).await.unwrap().contains(unit), "{unit}");
        assert!(!opened(client(&refusing).unit(unit)).await.unwrap().contains(unit), "{unit}");
        let refused = opened(client(&refusing).require_unit(unit)).await.unwrap_err();
        assert!(
            matches!(&refused, OpenError::Refused { reason: Some(Reason::UnitUnsupported), message, .. }
                if *message == format!("required unit {unit} is not offered")),
            "{refused:?}"
        );
    }
}

//= test O-20
#[tokio::test]
async fn what_needs_a_unit_falls_with_it_and_cannot_be_required() {
    let (server, _) = served(|builder| builder.without_unit(Unit::MinorSynchronize)).await;
    let service = || client(&server).service::<VaultClient<Session>>();
    let on = opened(service()).await.unwrap();
    assert_eq!(on, Units::from_iter([Unit::ExactlyOnce, Unit::Duplex]), "neither resume nor activity");
    let refused = opened(service().require_unit(Unit::Activity)).await.unwrap_err();
    let OpenError::Refused { message, .. } = refused else { panic!("{refused:?}") };
    assert_eq!(message, "required unit activity needs resume, which is off");
}

//= test O-23
#[tokio::test]
async fn data_separation_is_had_by_who_requires_it_or_leaves_out_activity() {
    let (server, _) = served(|builder| builder).await;
    let service = || client(&server).service::<VaultClient<Session>>();
    let unit = Unit::DataSeparation;
    for (builder, is_on) in [
        (service(), false),
        (service().unit(unit), false),
        (service().require_unit(unit), true),
        (service().unit(unit).without_unit(Unit::Activity), true),
    ] {
        let on = opened(builder).await.unwrap();
        assert_eq!((on.contains(unit), on.contains(Unit::Activity)), (is_on, !is_on));
    }
    let both = opened(service().require_unit(unit).require_unit(Unit::Activity)).await.unwrap_err();
    assert!(matches!(both, OpenError::Refused { reason: Some(Reason::UnitsContradict), .. }), "{both:?}");
}

//= test O-21
#[tokio::test]
async fn a_session_without_protected_calls_has_none() {
    let (server, _) = served(|builder| builder.without_unit(Unit::ExactlyOnce)).await;
    let alice = open(&server.connect().await, "alice").await;
    let refused = alice.transfer("0.1.0", &booking("off")).await;
    assert_eq!(
        (refused.reason(), refused.outcome()),
        (Some(Reason::UnitUnsupported), Some(Outcome::NotExecuted))
    );
    assert_eq!(server.books().entry("off").started, 0);
    let session =
        soon("the opening", client(&server).service::<VaultClient<Session>>().open()).await.unwrap();
    let chunks = tokio_stream::iter([chunk(0, PAYLOAD_BYTES)]);
    let refused = soon("the upload", VaultClient::new(session).store(chunks)).await.unwrap_err();
    assert_eq!(refused.reason(), Some(Reason::UnitUnsupported));
    assert_eq!(refused.outcome(), Some(Outcome::NotExecuted));
}

//= test O-21
#[tokio::test]
async fn a_session_without_resume_has_no_streams_that_go_on() {
    let (server, _) = served(|builder| builder.without_unit(Unit::Resume)).await;
    let alice = open(&server.connect().await, "alice").await;
    let refused = Upload::begin(&alice.channel_for("0.1.0"), STORE).finish().await;
    assert_eq!(
        (refused.reason(), refused.outcome()),
        (Some(Reason::UnitUnsupported), Some(Outcome::NotExecuted))
    );
    // Calls of one message each way are none of its business.
    assert_eq!(alice.transfer("0.1.0", &booking("plain")).await.status().code(), tonic::Code::Ok);
    let named = for_activity(&alice, "1.1.0", "x", None).call(TRANSFER, &booking("named")).await.unwrap();
    assert_eq!(named.reason(), Some(Reason::HeaderInvalid));
    let query = QueryRequest { activity: "x".into(), ..QueryRequest::default() };
    let refused = alice.service().query(query).await.unwrap_err();
    assert_eq!(refused.reason(), Some(Reason::UnitUnsupported));
}

//= test O-21
#[tokio::test]
async fn a_session_without_digests_has_none_at_its_points() {
    let (server, vault) = served(|builder| builder.without_unit(Unit::Digest)).await;
    let mut units = UNITS.to_vec();
    units.push(rpc_proto::pb::session::v1::Unit::Digest);
    let alice = Opened::propose(&server.connect().await, "alice", proposal(&units)).await.unwrap();
    let upload = Upload::begin(&alice.channel_for("0.1.0"), STORE);
    upload.give(0..15).await;
    vault.until("a point", |seen| seen.points == 1).await;
    let answer = alice.query(0, 1).await;
    assert!(secured(&answer).serial > 0 && secured(&answer).blake3.is_empty());
    upload.give(15..20).await;
    assert_eq!(summary(&upload.finish().await), tally(20).summary());
}

/// Memory that says it is a disk, and counts what it is given of streams.
#[derive(Clone, Default)]
struct Disk(Arc<(MemoryStore, AtomicUsize)>);

impl Store for Disk {
    fn durability(&self) -> Durability {
        Durability::Durable
    }

    fn reserve_numbers(&self, count: NonZeroU32) -> Result<Range<u64>, StoreError> {
        self.0.0.reserve_numbers(count)
    }

    fn load(&self, session: SessionId) -> Result<Option<Stored>, StoreError> {
        self.0.0.load(session)
    }

    fn get(&self, key: &[u8]) -> Result<Option<Versioned>, StoreError> {
        self.0.0.get(key)
    }

    fn commit(&self, batch: &[Write]) -> Result<Vec<Result<(), WriteError>>, StoreError> {
        let of_streams = batch.iter().filter(|write| {
            matches!(&write.change, Change::Slot(slot) if matches!(slot.call, CallRecord::Streaming(..)))
        });
        self.0.1.fetch_add(of_streams.count(), Ordering::Relaxed);
        self.0.0.commit(batch)
    }

    fn scan(&self, after: Option<SessionId>, limit: usize) -> Result<Vec<(SessionId, Stored)>, StoreError> {
        self.0.0.scan(after, limit)
    }

    fn scan_activities(&self, after: Option<&Key>, limit: usize) -> Result<Vec<ActivityRecord>, StoreError> {
        self.0.0.scan_activities(after, limit)
    }
}

//= test O-19
//= test O-20
//= test O-21
#[tokio::test]
async fn streams_are_kept_in_a_durable_store_where_that_is_not_left_out() {
    for is_offered in [true, false] {
        let (disk, vault) = (Disk::default(), Vault::default());
        let builder = Server::builder().authenticate(token::authenticator()).store(disk.clone());
        let builder = builder.service(VaultServer::new(vault.clone())).net(net(|_| ()));
        let builder = if is_offered { builder } else { builder.without_unit(Unit::Durable) };
        let server = builder.bind("127.0.0.1:0").await.unwrap();
        let (uri, handle) = (format!("http://{}", server.local_addr()), server.handle());
        let serving = tokio::spawn(server.serve());
        let client = || Session::builder(&uri).credentials(token::token("alice", &[]));
        let required = opened(client().require_unit(Unit::Durable)).await;
        assert_eq!(required.is_ok_and(|units| units.contains(Unit::Durable)), is_offered);

        let session = soon("the opening", client().service::<VaultClient<Session>>().open()).await.unwrap();
        assert_eq!(session.agreement().units.contains(Unit::Durable), is_offered);
        let chunks = tokio_stream::iter((0..25).map(|index| chunk(index, PAYLOAD_BYTES)));
        soon("the upload", VaultClient::new(session.clone()).note(chunks)).await.unwrap();
        assert_eq!(disk.0.1.load(Ordering::Relaxed) > 0, is_offered);
        soon("the release", session.release()).await.unwrap();
        handle.drain(Duration::ZERO);
        soon("the server ends", serving).await.unwrap().unwrap();
    }
}
