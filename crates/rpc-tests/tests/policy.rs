//! Generated policy tables, as the programs that include them see them.

use std::time::Duration;

use rpc_core::policy::{
    Cancellation, Checkpoint, Delivery, Described, Exclusive, ExclusiveScope, MethodKind, MethodPolicy,
    Record, Secure, ServicePolicy,
};
use rpc_tests::pb::{
    FILE_DESCRIPTOR_SET,
    ledger::v1::{
        TEST_LEDGER_POLICY, test_ledger_client::TestLedgerClient, test_ledger_server::TestLedgerServer,
    },
    shapes::v1::{BARE_SERVICE_POLICY, HTTP_LOG_POLICY},
};

/// What the layers see: a type that stands for a service.
fn policy_of<T: Described>() -> &'static ServicePolicy {
    T::POLICY
}

#[track_caller]
fn method(service: &ServicePolicy, name: &str) -> &'static MethodPolicy {
    service.method(name).unwrap_or_else(|| panic!("{} has no method {name}", service.name))
}

#[test]
fn clients_and_servers_know_the_same_table() {
    assert!(std::ptr::eq(policy_of::<TestLedgerClient<()>>(), &TEST_LEDGER_POLICY));
    assert!(std::ptr::eq(policy_of::<TestLedgerServer<()>>(), &TEST_LEDGER_POLICY));
    assert_eq!(TEST_LEDGER_POLICY.name, "ledger.v1.TestLedger");
    assert_ne!(TEST_LEDGER_POLICY.hash, 0);
    assert_ne!(TEST_LEDGER_POLICY.hash, HTTP_LOG_POLICY.hash);
}

#[test]
fn the_test_ledger_promises_what_its_file_says() {
    let names: Vec<_> = TEST_LEDGER_POLICY.methods.iter().map(MethodPolicy::name).collect();
    let expected =
        ["Transfer", "TransferStoppable", "Balance", "Echo", "Download", "Upload", "Chat", "Admin", "Slow"];
    assert_eq!(names, expected);

    let transfer = method(&TEST_LEDGER_POLICY, "Transfer");
    assert_eq!(transfer.path, "/ledger.v1.TestLedger/Transfer");
    assert_eq!((transfer.delivery, transfer.record), (Delivery::AtMostOnce, Record::Memory));
    assert_eq!(
        (transfer.cancellation, transfer.timeout),
        (Cancellation::Finish, Some(Duration::from_secs(30)))
    );
    assert_eq!(method(&TEST_LEDGER_POLICY, "TransferStoppable").cancellation, Cancellation::Stop);
    assert_eq!(method(&TEST_LEDGER_POLICY, "Balance").delivery, Delivery::AtLeastOnce);
    assert_eq!(method(&TEST_LEDGER_POLICY, "Admin").scopes, ["ledger.admin"]);
    assert_eq!(method(&TEST_LEDGER_POLICY, "Slow").timeout, Some(Duration::from_secs(1)));
    for (name, kind) in [
        ("Echo", MethodKind::Unary),
        ("Download", MethodKind::ServerStreaming),
        ("Upload", MethodKind::ClientStreaming),
        ("Chat", MethodKind::Bidirectional),
    ] {
        let plain = method(&TEST_LEDGER_POLICY, name);
        assert_eq!(*plain, MethodPolicy::plain(plain.path, kind));
    }
}

#[test]
fn every_option_arrives() {
    assert_eq!(HTTP_LOG_POLICY.version, 7);
    let write = method(&HTTP_LOG_POLICY, "Write");
    let expected = MethodPolicy {
        delivery: Delivery::ExactlyOnce,
        record: Record::Durable,
        cancellation: Cancellation::Finish,
        timeout: Some(Duration::from_millis(1500)),
        scopes: &["log", "log.write"],
        reply_bytes_max: Some(1024),
        exclusive: Some(Exclusive { class: "bulk", scope: ExclusiveScope::Principal }),
        ..MethodPolicy::plain("/shapes.v1.HTTPLog/Write", MethodKind::Unary)
    };
    assert_eq!(*write, expected);

    let rotate = method(&HTTP_LOG_POLICY, "Rotate");
    assert!(rotate.idempotent);
    assert_eq!((rotate.record, rotate.scopes), (Record::Durable, &["log.rotate"][..]));

    let upload = Checkpoint {
        every_messages: Some(40),
        every_bytes: Some(65_536),
        every: Some(Duration::from_secs(1)),
        secure: Secure::Automatic,
    };
    assert_eq!(method(&HTTP_LOG_POLICY, "Upload").checkpoint, Some(upload));
    let talk = method(&HTTP_LOG_POLICY, "Talk");
    assert!(talk.half_duplex);
    let explicit =
        Checkpoint { every_messages: Some(1), every_bytes: None, every: None, secure: Secure::Explicit };
    assert_eq!(talk.checkpoint, Some(explicit));
}

#[test]
fn a_service_without_options_is_plain() {
    let plain = MethodPolicy::plain("/shapes.v1.bare_service/type", MethodKind::ServerStreaming);
    assert_eq!(BARE_SERVICE_POLICY.methods, [plain]);
    assert_eq!(BARE_SERVICE_POLICY.name, "shapes.v1.bare_service");
}

#[test]
fn the_descriptor_set_is_included() {
    let holds = |name: &str| FILE_DESCRIPTOR_SET.windows(name.len()).any(|bytes| bytes == name.as_bytes());
    assert!(holds("ledger/v1/test.proto"));
    assert!(holds("session/v1/options.proto"));
    assert!(holds("google/protobuf/descriptor.proto"));
}
