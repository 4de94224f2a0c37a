//! What surrounds the tables: tonic's stubs, packages, imports, the descriptor set.

use std::fs;

use prost_reflect::{DescriptorPool, Value};

use crate::support::Workspace;

const BANK: &str = r#"
syntax = "proto3";
// The bank.
package bank.v1;
import "session/v1/options.proto";
import "money.proto";
// Comments stay.
service Ledger {
  // Moves money.
  rpc Transfer(money.types.Amount) returns (Receipt) {
    option (session.v1.method).delivery = AT_MOST_ONCE;
  }
  rpc Watch(Receipt) returns (stream Receipt);
}
message Receipt { money.types.Amount amount = 1; }
"#;

const MONEY: &str = r#"
syntax = "proto2";
package money.types;
message Amount { optional int64 cents = 1 [default = 5]; }
"#;

fn bank(name: &str) -> Workspace {
    Workspace::new(name).import("money.proto", MONEY).proto("bank.proto", BANK)
}

#[test]
fn tonics_own_code_is_untouched_around_ours() {
    let workspace = bank("stubs-tonic");
    workspace.compile().unwrap();
    let ours = workspace.code("bank.v1.rs");

    let mut compiler = protox::Compiler::new([workspace.include()]).unwrap();
    compiler.include_imports(true).include_source_info(true);
    let options = include_str!("../../src/embedded/session/v1/options.proto");
    fs::create_dir_all(workspace.include().join("session/v1")).unwrap();
    fs::write(workspace.include().join("session/v1/options.proto"), options).unwrap();
    compiler.open_file("bank.proto").unwrap();
    let stock = workspace.out().join("stock");
    fs::create_dir_all(&stock).unwrap();
    let tonic = tonic_prost_build::configure().build_transport(false).out_dir(&stock);
    tonic.compile_fds(compiler.file_descriptor_set()).unwrap();
    let tonics = fs::read_to_string(stock.join("bank.v1.rs")).unwrap();

    let added = ours.strip_prefix(&tonics).expect("our file begins with tonic's whole file");
    assert!(added.starts_with("/// What `bank.v1.Ledger` promises"));
    assert!(ours.contains("/// Moves money."));
    assert!(!ours.contains("tonic::transport"));
}

#[test]
fn packages_import_each_other_and_the_session_is_not_generated() {
    let workspace = bank("stubs-packages").proto(
        "other.proto",
        "syntax = \"proto3\"; package bank.other; import \"bank.proto\"; import \"session/v1/session.proto\";\n\
         message Seen { session.v1.Unit unit = 1; }\n\
         service Audit { rpc Look(bank.v1.Receipt) returns (Seen); }\n",
    );
    workspace.compile().unwrap();
    let mut files: Vec<_> = fs::read_dir(workspace.out())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    assert_eq!(files, ["bank.other.rs", "bank.v1.rs", "money.types.rs", "session_descriptor.bin"]);
    let other = workspace.code("bank.other.rs");
    assert!(other.contains("pub static AUDIT_POLICY: "));
    assert!(other.contains("for audit_client::AuditClient<T>"));
    assert!(other.contains("::rpc_proto::pb::session::v1::Unit"));
    assert!(other.contains("super::v1::Receipt"));
}

#[test]
fn only_what_is_built_is_described() {
    for (client, server) in [(true, false), (false, true), (false, false)] {
        let workspace = bank("stubs-sides");
        let builder = workspace.builder().build_client(client).build_server(server);
        builder.compile(workspace.protos(), &[workspace.include()]).unwrap();
        let code = workspace.code("bank.v1.rs");
        assert_eq!(code.contains("for ledger_client::LedgerClient<T>"), client);
        assert_eq!(code.contains("for ledger_server::LedgerServer<T>"), server);
        assert!(code.contains("pub static LEDGER_POLICY: ::rpc_core::policy::ServicePolicy"));
    }
}

#[test]
fn files_without_a_package_or_options_get_plain_tables() {
    let file = "syntax = \"proto3\"; message M {} service Bare { rpc Call(M) returns (M); }";
    let workspace = Workspace::new("stubs-bare").proto("bare.proto", file);
    workspace.compile().unwrap();
    let code = workspace.code("_.rs");
    assert!(code.contains("name: \"Bare\""));
    assert!(code.contains("path: \"/Bare/Call\""));
    assert!(code.contains("delivery: ::rpc_core::policy::Delivery::Plain"));
}

#[test]
fn extern_paths_win_over_the_default() {
    let workspace = Workspace::new("stubs-extern").proto(
        "a.proto",
        "syntax = \"proto3\"; package a.v1; import \"session/v1/session.proto\"; message M { session.v1.Unit u = 1; }",
    );
    let builder = workspace.builder().extern_path(".session.v1", "crate::own");
    builder.compile(workspace.protos(), &[workspace.include()]).unwrap();
    assert!(workspace.code("a.v1.rs").contains("crate::own::Unit"));
}

#[test]
fn the_descriptor_set_keeps_options_and_imports_and_drops_comments() {
    let workspace = bank("stubs-descriptors");
    let path = workspace.out().join("elsewhere.bin");
    let builder = workspace.builder().file_descriptor_set_path(&path);
    builder.compile(workspace.protos(), &[workspace.include()]).unwrap();
    let bytes = fs::read(path).unwrap();
    let pool = DescriptorPool::decode(bytes.as_slice()).unwrap();

    let extension = pool.get_extension_by_name("session.v1.method").unwrap();
    let service = pool.get_service_by_name("bank.v1.Ledger").unwrap();
    let transfer = service.methods().find(|method| method.name() == "Transfer").unwrap();
    let options = transfer.options();
    let policy = options.get_extension(&extension);
    let delivery = policy.as_message().unwrap().get_field_by_name("delivery").unwrap();
    assert_eq!(*delivery, Value::EnumNumber(2));
    assert!(pool.get_message_by_name("money.types.Amount").is_some());
    assert!(pool.files().all(|file| file.file_descriptor_proto().source_code_info.is_none()));
}

#[test]
fn the_same_files_give_the_same_bytes() {
    let read = |name: &str| {
        let workspace = bank(name);
        workspace.compile().unwrap();
        (workspace.code("bank.v1.rs"), fs::read(workspace.out().join("session_descriptor.bin")).unwrap())
    };
    assert_eq!(read("stubs-same-1"), read("stubs-same-2"));
}
