//! The policy table of a service, word for word.

use crate::support::Workspace;

/// The whole text that is appended for a service with every option, as it stands in the generated file.
#[test]
fn every_option_is_in_the_table() {
    let file = r#"
syntax = "proto3";
package bank.v1;
import "session/v1/options.proto";
message M { int32 x = 1; }
service Bank {
  option (session.v1.service) = { version: 3 scopes: ["bank", "bank.use"] };
  rpc Plain(M) returns (M);
  rpc AtLeastOnce(M) returns (M) {
    option (session.v1.method).delivery = AT_LEAST_ONCE;
    option (session.v1.method).timeout = { seconds: 2 nanos: 500000000 };
  }
  rpc AtMostOnce(M) returns (M) {
    option (session.v1.method) = {
      delivery: AT_MOST_ONCE
      record: MEMORY
      cancellation: STOP
      idempotent: true
      scopes: "bank.write"
      reply_bytes_max: 4096
      exclusive: "bulk"
      exclusive_scope: SESSION
      dead_man: true
    };
  }
  rpc Defaults(M) returns (M) { option (session.v1.method) = { delivery: AT_MOST_ONCE exclusive: "bulk" }; }
  rpc ExactlyOnce(M) returns (M) { option (session.v1.method) = { delivery: EXACTLY_ONCE record: DURABLE }; }
  rpc Upload(stream M) returns (M) {
    option (session.v1.method).checkpoint = { every_messages: 40 every_bytes: 65536 every: { seconds: 1 } };
  }
  rpc Chat(stream M) returns (stream M) {
    option (session.v1.method) = { half_duplex: true checkpoint: { every_messages: 1 secure: EXPLICIT } };
  }
  rpc Download(M) returns (stream M);
}
"#;
    let workspace = Workspace::new("tables-all").proto("bank.proto", file);
    let builder =
        workspace.builder().build_client(false).build_server(false).policy_path("::rpc_client::policy");
    builder.compile(workspace.protos(), &[workspace.include()]).unwrap();
    let code = workspace.code("bank.v1.rs");
    let table = &code[code.find("/// What `bank.v1.Bank` promises").unwrap()..];
    let golden = include_str!("golden/bank.rs");
    assert_eq!(table, golden, "if this is as you want it, it is the new tests/it/golden/bank.rs");
}

/// The value of one field in the table of the only method.
#[track_caller]
fn field(name: &str, method: &str, field: &str) -> String {
    field_of("(M) returns (M)", name, method, field)
}

#[track_caller]
fn field_of(signature: &str, name: &str, method: &str, field: &str) -> String {
    let file = format!(
        "syntax = \"proto3\";\npackage bank.v1;\nimport \"session/v1/options.proto\";\nmessage M {{}}\n\
         service Bank {{ option (session.v1.service).scopes = \"bank\"; rpc Call{signature} {{ {method} }} }}\n"
    );
    let workspace = Workspace::new(&format!("tables-{name}")).proto("bank.proto", &file);
    workspace.compile().unwrap();
    let code = workspace.code("bank.v1.rs");
    let line = code.lines().find_map(|line| line.trim().strip_prefix(&format!("{field}: ")));
    line.unwrap().trim_end_matches(',').to_owned()
}

#[test]
fn the_standard_idempotency_level_counts_beside_at_most_once_only() {
    let at_most = "option (session.v1.method).delivery = AT_MOST_ONCE;";
    for (level, method, expected) in [
        ("IDEMPOTENT", at_most, "true"),
        ("NO_SIDE_EFFECTS", at_most, "true"),
        ("IDEMPOTENCY_UNKNOWN", at_most, "false"),
        ("IDEMPOTENT", "", "false"),
        ("IDEMPOTENT", "option (session.v1.method).delivery = AT_LEAST_ONCE;", "false"),
    ] {
        let method = format!("option idempotency_level = {level}; {method}");
        assert_eq!(field("idempotency", &method, "idempotent"), expected, "{method}");
        if !method.contains("delivery") {
            assert_eq!(field("idempotency", &method, "delivery"), "::rpc_core::policy::Delivery::Plain");
        }
    }
}

#[test]
fn those_have_a_dialog_that_stream_both_ways_unless_they_say_otherwise() {
    let (upload, download) = ("(stream M) returns (M)", "(M) returns (stream M)");
    let both = "(stream M) returns (stream M)";
    for (signature, says, expected) in [
        (both, "", "true"),
        (both, "dialog: false", "false"),
        (upload, "", "false"),
        (upload, "dialog: true", "true"),
        (download, "", "false"),
        (download, "dialog: true", "true"),
    ] {
        let method =
            format!("option (session.v1.method) = {{ checkpoint: {{ every_messages: 1 }} {says} }};");
        assert_eq!(field_of(signature, "dialog", &method, "dialog"), expected, "{signature} {says}");
    }
    assert_eq!(field_of(both, "dialog", "", "dialog"), "false", "a plain stream has none");
}

#[test]
fn scopes_of_the_service_apply_where_the_method_names_none() {
    assert_eq!(field("scopes", "", "scopes"), r#"&["bank"]"#);
    let own = r#"option (session.v1.method).scopes = "own";"#;
    assert_eq!(field("scopes", own, "scopes"), r#"&["own"]"#);
}

#[test]
fn both_ways_to_write_an_option_mean_the_same() {
    let dotted =
        "option (session.v1.method).delivery = AT_MOST_ONCE; option (session.v1.method).record = MEMORY;";
    let whole = "option (session.v1.method) = { delivery: AT_MOST_ONCE record: MEMORY };";
    assert_eq!(field("dotted", dotted, "hash"), field("whole", whole, "hash"));
    assert_ne!(field("dotted", dotted, "hash"), field("whole", "", "hash"));
}
