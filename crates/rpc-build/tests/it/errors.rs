//! Every mistake fails the build, at its place and with a sentence that names the option and the method.

use crate::support::Workspace;

/// Lines before the body of the method under test.
const HEAD: &str = r#"syntax = "proto3";
package bank.v1;
import "session/v1/options.proto";
message M { int32 x = 1; }
service Ledger {
"#;

/// A file whose only method has the signature and the options given; `options` begins at line 7, column 5.
fn method(signature: &str, options: &str) -> String {
    format!("{HEAD}  rpc Call({signature} {{\n    {options}\n  }}\n}}\n")
}

const UNARY: &str = "M) returns (M)";
const UPLOAD: &str = "stream M) returns (M)";
const DOWNLOAD: &str = "M) returns (stream M)";
const CHAT: &str = "stream M) returns (stream M)";

/// The mistake in one method, told at the line of its option.
#[track_caller]
fn assert_method_error(name: &str, signature: &str, options: &str, sentence: &str) {
    assert_error(
        name,
        &method(signature, options),
        &format!("bank.proto:7:5: bank.v1.Ledger.Call: {sentence}"),
    );
}

#[track_caller]
fn assert_error(name: &str, file: &str, expected: &str) {
    assert_eq!(Workspace::new(&format!("errors-{name}")).proto("bank.proto", file).error(), expected);
}

#[test]
fn misspelt_options_are_told_with_their_name() {
    assert_error(
        "misspelt-field",
        &method(UNARY, "option (session.v1.method) = { delivry: AT_MOST_ONCE };"),
        "bank.proto:7:5: invalid value of type 'session.v1.MethodOptions' for option '(session.v1.method)': \
         field 'delivry' not found for message 'session.v1.MethodOptions'",
    );
    assert_error(
        "misspelt-dotted",
        &method(UNARY, "option (session.v1.method).delivry = AT_MOST_ONCE;"),
        "bank.proto:7:5: option field '(session.v1.method).delivry' is not defined",
    );
    assert_error(
        "misspelt-value",
        &method(UNARY, "option (session.v1.method) = { delivery: TWICE };"),
        "bank.proto:7:5: invalid value of type 'session.v1.MethodOptions' for option '(session.v1.method)': \
         value 'TWICE' was not found for enum 'session.v1.MethodOptions.Delivery'",
    );
    assert_error(
        "misspelt-extension",
        &method(UNARY, "option (session.v1.metod).delivery = AT_MOST_ONCE;"),
        "bank.proto:7:5: 'session.v1.metod' resolves to 'session.v1.metod', which is not defined",
    );
    assert_error(
        "not-imported",
        "syntax = \"proto3\";\nmessage M {}\nservice S { rpc C(M) returns (M) {\n  option (session.v1.method) = {};\n} }\n",
        "bank.proto:4:3: name 'session.v1.method' is not defined",
    );
    assert_error(
        "wrong-element",
        &method(UNARY, "option (session.v1.service) = { version: 1 };"),
        "bank.proto:7:5: expected an extension to type 'google.protobuf.MethodOptions', but 'session.v1.service' \
         extends 'google.protobuf.ServiceOptions'",
    );
}

#[test]
fn unknown_values_of_open_enums_are_refused() {
    let options = "option (session.v1.method) = { delivery: 7 };";
    assert_method_error("open-delivery", UNARY, options, "`delivery` has no value 7");
    let options = "option (session.v1.method) = { delivery: AT_MOST_ONCE record: 9 };";
    assert_method_error("open-record", UNARY, options, "`record` has no value 9");
    let options = "option (session.v1.method) = { cancellation: -1 };";
    assert_method_error("open-cancellation", UNARY, options, "`cancellation` has no value -1");
    let options = "option (session.v1.method) = { checkpoint: { every_messages: 1 secure: 3 } };";
    assert_method_error("open-secure", CHAT, options, "`checkpoint.secure` has no value 3");
    let options = r#"option (session.v1.method) = { exclusive: "bulk" exclusive_scope: 3 };"#;
    assert_method_error("open-scope", UNARY, options, "`exclusive_scope` has no value 3");
}

#[test]
fn a_promise_that_a_stream_cannot_keep_is_refused() {
    let exactly = "`delivery: EXACTLY_ONCE` is for methods that do not stream: \
                   effect and reply commit in one transaction";
    let options =
        "option (session.v1.method) = { delivery: EXACTLY_ONCE checkpoint: { every_messages: 1 } };";
    for (name, signature) in [("up", UPLOAD), ("down", DOWNLOAD), ("chat", CHAT)] {
        assert_method_error(&format!("exactly-once-{name}"), signature, options, exactly);
    }

    let at_most = "`delivery: AT_MOST_ONCE` on a method that streams needs `checkpoint`: \
                   without sync points a stream does not survive the loss of its connection";
    let options = "option (session.v1.method).delivery = AT_MOST_ONCE;";
    for (name, signature) in [("up", UPLOAD), ("down", DOWNLOAD), ("chat", CHAT)] {
        assert_method_error(&format!("at-most-once-{name}"), signature, options, at_most);
    }

    let at_least = "`delivery: AT_LEAST_ONCE` on a method whose requests stream needs `checkpoint`: \
                    without sync points nothing keeps the requests to send them again";
    let options = "option (session.v1.method).delivery = AT_LEAST_ONCE;";
    for (name, signature) in [("up", UPLOAD), ("chat", CHAT)] {
        assert_method_error(&format!("at-least-once-{name}"), signature, options, at_least);
    }
}

#[test]
fn promises_that_streams_can_keep_are_taken() {
    for (name, signature, delivery) in
        [("a", DOWNLOAD, "AT_LEAST_ONCE"), ("b", UPLOAD, "AT_LEAST_ONCE"), ("c", CHAT, "AT_MOST_ONCE")]
    {
        let checkpoint = if signature == DOWNLOAD { "" } else { "checkpoint: { every_bytes: 1 }" };
        let options = format!("option (session.v1.method) = {{ delivery: {delivery} {checkpoint} }};");
        let workspace = Workspace::new(&format!("errors-good-{name}"));
        workspace.proto("bank.proto", &method(signature, &options)).compile().unwrap();
    }
}

#[test]
fn options_that_contradict_the_delivery_are_refused() {
    let record = "`record` needs `delivery: AT_MOST_ONCE`: of other calls there is no record to place";
    for (name, options) in [
        ("record-plain", "option (session.v1.method) = { record: DURABLE };"),
        ("record-least", "option (session.v1.method) = { delivery: AT_LEAST_ONCE record: MEMORY };"),
    ] {
        assert_method_error(name, UNARY, options, record);
    }
    assert_method_error(
        "record-exactly",
        UNARY,
        "option (session.v1.method) = { delivery: EXACTLY_ONCE record: MEMORY };",
        "`record: MEMORY` contradicts `delivery: EXACTLY_ONCE`, \
         whose record commits in the store together with the effect",
    );

    let idempotent =
        "`idempotent` needs `delivery: AT_MOST_ONCE`: of other calls none is left in doubt by a crash";
    for (name, delivery) in
        [("plain", ""), ("least", "delivery: AT_LEAST_ONCE"), ("ex", "delivery: EXACTLY_ONCE")]
    {
        let options = format!("option (session.v1.method) = {{ idempotent: true {delivery} }};");
        assert_method_error(&format!("idempotent-{name}"), UNARY, &options, idempotent);
    }

    assert_method_error(
        "stop-exactly",
        UNARY,
        "option (session.v1.method) = { delivery: EXACTLY_ONCE cancellation: STOP };",
        "`cancellation: STOP` contradicts `delivery: EXACTLY_ONCE`: \
         the outcome of a handler that is stopped is unknown",
    );
    assert_method_error(
        "finish-plain",
        UNARY,
        "option (session.v1.method).cancellation = FINISH;",
        "`cancellation: FINISH` needs `delivery: AT_MOST_ONCE` or `EXACTLY_ONCE`: \
         of other calls no reply is recorded",
    );
    assert_method_error(
        "reply-bytes-plain",
        UNARY,
        "option (session.v1.method).reply_bytes_max = 9;",
        "`reply_bytes_max` needs `delivery: AT_MOST_ONCE` or `EXACTLY_ONCE`: of other calls no reply is kept",
    );
    for (name, delivery) in [("plain", ""), ("least", "delivery: AT_LEAST_ONCE")] {
        assert_method_error(
            &format!("dead-man-{name}"),
            UNARY,
            &format!("option (session.v1.method) = {{ dead_man: true {delivery} }};"),
            "`dead_man` needs `delivery: AT_MOST_ONCE` or `EXACTLY_ONCE`: \
             the handlers of other calls end with their session in any case",
        );
    }
}

#[test]
fn options_on_the_wrong_kind_of_method_are_refused() {
    assert_method_error(
        "checkpoint-unary",
        UNARY,
        "option (session.v1.method).checkpoint = { every_messages: 40 };",
        "`checkpoint` is for methods that stream: a single message has no place for a sync point",
    );
    for (name, signature) in [("unary", UNARY), ("up", UPLOAD), ("down", DOWNLOAD)] {
        assert_method_error(
            &format!("half-duplex-{name}"),
            signature,
            "option (session.v1.method).half_duplex = true;",
            "`half_duplex` is for methods that stream both ways: in others only one side speaks",
        );
    }
}

#[test]
fn a_dialog_needs_sync_points_and_turns_need_a_dialog() {
    assert_method_error(
        "dialog-checkpoint",
        UPLOAD,
        "option (session.v1.method).dialog = true;",
        "`dialog` needs `checkpoint`: what is said beside the messages has its place among sync points",
    );
    assert_method_error(
        "dialog-half-duplex",
        CHAT,
        "option (session.v1.method) = { dialog: false half_duplex: true checkpoint: { every_messages: 1 } };",
        "`dialog: false` contradicts `half_duplex`: turns are passed in the dialog of a stream",
    );
}

#[test]
fn half_duplex_needs_the_sync_points_of_a_dialog() {
    assert_method_error(
        "half-duplex-checkpoint",
        CHAT,
        "option (session.v1.method).half_duplex = true;",
        "`half_duplex` needs `checkpoint`: \
         turns are passed in the dialog of a stream, and without sync points it has none",
    );
}

#[test]
fn checkpoints_need_a_measure() {
    let sentence = "`checkpoint` needs at least one of `every_messages`, `every_bytes` and `every`";
    assert_method_error("checkpoint-empty", UPLOAD, "option (session.v1.method).checkpoint = {};", sentence);
    let options = "option (session.v1.method).checkpoint = { secure: EXPLICIT };";
    assert_method_error("checkpoint-secure", UPLOAD, options, sentence);
    let options = "option (session.v1.method).checkpoint = { every: { seconds: 0 } };";
    assert_method_error("checkpoint-every", UPLOAD, options, "`checkpoint.every` must be more than zero");
}

#[test]
fn timeouts_are_positive_and_bounded() {
    let timeout = |text: &str| format!("option (session.v1.method).timeout = {{ {text} }};");
    for (name, text) in [("zero", ""), ("negative", "seconds: -1"), ("nanos", "nanos: -1")] {
        let sentence = "`timeout` must be more than zero";
        assert_method_error(&format!("timeout-{name}"), UNARY, &timeout(text), sentence);
    }
    let sentence = "`timeout` is 31536001 s, at most 31536000 s";
    assert_method_error("timeout-long", UNARY, &timeout("seconds: 31536001"), sentence);
}

#[test]
fn scopes_and_classes_are_checked() {
    let options = r#"option (session.v1.method) = { scopes: ["a", ""] };"#;
    assert_method_error("scope-empty", UNARY, options, "`scopes` has an empty entry");
    let options = r#"option (session.v1.method).scopes = "ledger write";"#;
    let sentence =
        r#"`scopes` may hold printable ASCII without spaces, quotes and backslashes, not "ledger write""#;
    assert_method_error("scope-space", UNARY, options, sentence);
    let options = r#"option (session.v1.method) = { scopes: ["a", "b", "a"] };"#;
    assert_method_error("scope-twice", UNARY, options, "`scopes` names \"a\" twice");

    let options = format!("option (session.v1.method).exclusive = \"{}\";", "c".repeat(65));
    assert_method_error("class-long", UNARY, &options, "`exclusive` has 65 bytes, at most 64");
    let options = r#"option (session.v1.method).exclusive = " ";"#;
    let sentence = "`exclusive` may hold printable ASCII without spaces, not \" \"";
    assert_method_error("class-space", UNARY, options, sentence);
    for scope in ["PRINCIPAL", "SESSION"] {
        assert_method_error(
            &format!("scope-alone-{scope}"),
            UNARY,
            &format!("option (session.v1.method).exclusive_scope = {scope};"),
            "`exclusive_scope` needs `exclusive`: without a class no calls exclude each other",
        );
    }
}

#[test]
fn scopes_of_a_service_are_checked_at_their_place() {
    let file = format!(
        "{HEAD}  rpc Call(M) returns (M);\n  option (session.v1.service).version = 1;\n  option (session.v1.service).scopes = \"ä\";\n}}\n"
    );
    assert_error(
        "service-scope",
        &file,
        "bank.proto:8:3: bank.v1.Ledger: `scopes` may hold printable ASCII without spaces, quotes and backslashes, \
         not \"ä\"",
    );
}

#[test]
fn an_option_set_by_itself_is_told_at_its_own_line() {
    let options = "option (session.v1.method).delivery = AT_LEAST_ONCE;\n\n    option (session.v1.method).timeout = { seconds: 1 };\n      option (session.v1.method).record = MEMORY;";
    assert_error(
        "own-line",
        &method(UNARY, options),
        "bank.proto:10:7: bank.v1.Ledger.Call: `record` needs `delivery: AT_MOST_ONCE`: \
         of other calls there is no record to place",
    );
}

#[test]
fn all_mistakes_are_told_at_once() {
    let file = format!(
        "{HEAD}  rpc A(M) returns (M) {{ option (session.v1.method).half_duplex = true; }}\n  rpc B(M) returns (M);\n  rpc C(M) returns (M) {{ option (session.v1.method).record = MEMORY; }}\n}}\n"
    );
    assert_error(
        "all",
        &file,
        "bank.proto:6:26: bank.v1.Ledger.A: `half_duplex` is for methods that stream both ways: \
         in others only one side speaks\n\
         bank.proto:8:26: bank.v1.Ledger.C: `record` needs `delivery: AT_MOST_ONCE`: \
         of other calls there is no record to place",
    );
}

#[test]
//= test W-16
fn requests_and_responses_leave_the_session_its_field_number() {
    let file = "syntax = \"proto3\";\npackage bank.v1;\nmessage M {\n  int32 x = 1;\n  bytes frame = 536870911;\n}\nmessage N { M inner = 1; }\nservice Ledger { rpc Call(N) returns (M); rpc Again(M) returns (N); }\n";
    let sentence = "bank.v1.M: field number 536870911 of `frame` belongs to the session, and bank.v1.Ledger.Call uses the message";
    assert_error("frame-own", file, &format!("bank.proto:5:3: {sentence}"));

    let imported = "syntax = \"proto3\";\npackage bank.v1;\nmessage M { bytes frame = 536870911; }\n";
    let user = "syntax = \"proto3\";\npackage bank.v1;\nimport \"m.proto\";\nservice Ledger { rpc Call(M) returns (M); }\n";
    let workspace =
        Workspace::new("errors-frame-imported").import("m.proto", imported).proto("bank.proto", user);
    assert_eq!(workspace.error(), format!("m.proto:3:13: {sentence}"));

    let extended = "syntax = \"proto2\";\npackage bank.v1;\nmessage M { extensions 100 to max; }\nextend M { optional int32 late = 536870911; }\nservice Ledger { rpc Call(M) returns (M); }\n";
    let sentence = sentence.replace("`frame`", "`bank.v1.late`");
    assert_error("frame-extension", extended, &format!("bank.proto:4:12: {sentence}"));
}

#[test]
fn messages_inside_others_may_use_the_number() {
    let file = "syntax = \"proto3\";\npackage bank.v1;\nmessage In { bytes last = 536870911; }\nmessage M { In inner = 1; }\nservice Ledger { rpc Call(M) returns (M); }\n";
    Workspace::new("errors-frame-inner").proto("bank.proto", file).compile().unwrap();
}

#[test]
fn files_that_do_not_parse_or_link_are_told_with_their_place() {
    assert_error(
        "syntax",
        "syntax = \"proto3\";\nmessage {\n",
        "bank.proto:2:9: expected an identifier, but found '{'",
    );
    assert_error(
        "import",
        "syntax = \"proto3\";\nimport \"x.proto\";\n",
        "bank.proto:2:1: import 'x.proto' not found",
    );
    let error = Workspace::new("errors-missing").builder().compile(&["nowhere.proto"], &["."]).unwrap_err();
    assert_eq!(error.to_string(), "file 'nowhere.proto' is not in any include path");
}

#[test]
fn another_version_of_the_options_is_refused() {
    let options = include_str!("../../src/embedded/session/v1/options.proto");
    let newer = options.replace("bool dead_man = 12;", "bool dead_man = 12;\n  bool later = 99;");
    let user = method(UNARY, "option (session.v1.method).delivery = AT_LEAST_ONCE;");
    let workspace = Workspace::new("errors-newer-options").import("session/v1/options.proto", &newer);
    assert_eq!(
        workspace.proto("bank.proto", &user).error(),
        "session/v1/options.proto: this copy differs from the file that this version of rpc-build knows; \
         remove it, the file is served from memory",
    );

    let commented = format!("// A copy.\n{options}");
    let workspace = Workspace::new("errors-same-options").import("session/v1/options.proto", &commented);
    workspace.proto("bank.proto", &user).compile().unwrap();
}

#[test]
fn a_directory_that_is_not_there_is_named() {
    let workspace = Workspace::new("errors-no-dir").proto("bank.proto", &method(UNARY, ""));
    let builder = workspace.builder().out_dir("/dev/null/nowhere");
    let error = builder.compile(workspace.protos(), &[workspace.include()]).unwrap_err();
    assert!(
        format!("{error:?}").starts_with("cannot write /dev/null/nowhere/session_descriptor.bin: "),
        "{error:?}"
    );

    let builder = workspace.builder().extern_path("no dot", "::x");
    let error = builder.compile(workspace.protos(), &[workspace.include()]).unwrap_err();
    assert!(
        format!("{error:?}").starts_with(&format!("cannot generate code in {}: ", workspace.out().display()))
    );
}
