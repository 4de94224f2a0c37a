//! The tables of the protocol text, rendered from the code.

use crate::dialog::phase::{Event, State};
use crate::dialog::{Action, Collision, Crossing, ResyncKind, Serials, Token, TokenSet, Turn, Verdict};
use crate::frame::dialog::Primitive;
use crate::stream::flow::Side;
use crate::stream::position::Serial;

#[track_caller]
fn is_in_the_text(name: &str, table: &str) {
    let text = include_str!("../../../../docs/protocol.md");
    let begin = format!("<!-- {name}:begin -->\n");
    let (_, rest) = text.split_once(&begin).expect("the table begins");
    let (written, _) = rest.split_once(&format!("<!-- {name}:end -->")).expect("the table ends");
    assert_eq!(written, table);
}

fn tokens(set: TokenSet) -> String {
    let names: Vec<String> = set.iter().map(|token| format!("*{token}*")).collect();
    if names.is_empty() { "-".into() } else { names.join(", ") }
}

//= test D-1, D-8
#[test]
fn the_tokens_of_each_action_are_those_of_the_protocol_text() {
    let mut table = String::from("| to do this | own | not own | unit |\n| --- | --- | --- | --- |\n");
    for action in Action::ALL {
        let what = match action {
            Action::Data => "send data",
            Action::Minor => "place a minor point",
            Action::Major => "place a major point",
            Action::Exception => "report an exception",
            Action::Please(_) => "ask for a token, as for *data*",
            Action::Give(_) => "hand a token over, as *data*",
            Action::Typed => "send typed data",
            Action::Expedited => "send expedited data",
            Action::Resynchronize => "ask for a resynchronization",
        };
        let bars = action.bars().map_or(TokenSet::NONE, TokenSet::of);
        let unit = action.unit().map_or_else(|| "-".into(), |unit| format!("{unit:?}"));
        table.push_str(&format!("| {what} | {} | {} | {unit} |\n", tokens(action.needs()), tokens(bars)));
    }
    is_in_the_text("dialog-tokens", &table);
}

//= test D-12, D-13, D-14, I12
#[test]
fn the_serial_arithmetic_is_that_of_the_protocol_text() {
    let before = Serials { next: Serial(9), unconfirmed: Serial(6), restart: Serial(4) };
    let mut table =
        String::from("| kind | lowest | highest | V(M), V(A) after 7, or what is agreed | V(R) after |\n");
    table.push_str("| --- | --- | --- | --- | --- |\n");
    for kind in ResyncKind::ALL {
        let (least, most) = before.range(kind, Serial(12));
        let most = if most > Serial(1 << 40) { "none".into() } else { most.to_string() };
        let after = before.after(kind, before.agree(kind, Serial(7), Serial(12)));
        assert_eq!(after.next, after.unconfirmed);
        table.push_str(&format!("| {kind:?} | {least} | {most} | {} | {} |\n", after.next, after.restart));
    }
    is_in_the_text("dialog-serials", &table);
    assert_eq!(before.agree(ResyncKind::Restart, Serial(2), Serial(12)), Serial(4), "never behind V(R)");
}

//= test D-15, I20
#[test]
fn the_collision_order_is_that_of_the_protocol_text() {
    let mut table = String::from("| client \\ server | Restart to 3 | Restart to 5 | Set | Abandon |\n");
    table.push_str("| --- | --- | --- | --- | --- |\n");
    let of = |kind, serial| Crossing { kind, requests: Some(Serial(serial)), responses: None };
    let asked = [
        ("Restart to 3", of(ResyncKind::Restart, 3)),
        ("Restart to 5", of(ResyncKind::Restart, 5)),
        ("Set", of(ResyncKind::Set, 9)),
        ("Abandon", of(ResyncKind::Abandon, 9)),
    ];
    for (name, client) in asked {
        table.push_str(&format!("| {name} |"));
        for (_, server) in asked {
            let winner = match Crossing::winner(client, server) {
                Side::Client => "client",
                Side::Server => "server",
            };
            table.push_str(&format!(" {winner} |"));
        }
        table.push('\n');
    }
    is_in_the_text("dialog-collisions", &table);
    assert!(Collision::ALL.is_sorted());
}

#[test]
fn of_two_restarts_the_responses_count_where_the_requests_are_equal() {
    let of = |requests: Option<u64>, responses: Option<u64>| Crossing {
        kind: ResyncKind::Restart,
        requests: requests.map(Serial),
        responses: responses.map(Serial),
    };
    for (client, server, winner) in [
        (of(Some(3), Some(3)), of(Some(3), Some(2)), Side::Server),
        (of(Some(3), Some(2)), of(Some(3), Some(3)), Side::Client),
        (of(Some(3), Some(3)), of(Some(3), Some(3)), Side::Client),
        (of(Some(3), None), of(None, Some(1)), Side::Client),
        (of(None, Some(5)), of(Some(1), Some(4)), Side::Server),
    ] {
        assert_eq!(Crossing::winner(client, server), winner, "{client:?} {server:?}");
    }
}

//= test D-16, I16, D-15
#[test]
fn every_event_in_every_state_is_decided_as_in_the_protocol_text() {
    let mut table = String::from("| |");
    for state in State::ALL {
        table.push_str(&format!(" {state} |"));
    }
    table.push_str("\n| --- |");
    table.push_str(&" --- |".repeat(State::ALL.len()));
    table.push('\n');
    for event in Event::ALL {
        table.push_str(&format!("| {event} |"));
        for state in State::ALL {
            let verdict = state.on(event);
            let cell = if verdict == Verdict::Next(state) { "=".into() } else { verdict.to_string() };
            table.push_str(&format!(" {cell} |"));
        }
        table.push('\n');
    }
    is_in_the_text("dialog-states", &table);
    assert!(State::ALL.iter().any(|state| state.turn == Turn::Both));
}

#[test]
fn debug_shows_no_payload() {
    let shown = format!("{:?}", Primitive::Typed(bytes::Bytes::from_static(b"secret")));
    assert!(!shown.contains("secret") && shown.contains('6'), "{shown}");
    assert_eq!(Token::ALL.len(), 4);
}
