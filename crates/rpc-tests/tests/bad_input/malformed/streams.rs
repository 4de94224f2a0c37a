//! `session-frames`, `session-resume-bin` and `session-activity-bin`, before a stream begins.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use prost::Message as _;
use rpc_proto::pb::session::v1::{Position, Resume, control_frame};

use super::*;

pub(crate) fn all() -> Vec<Bad> {
    [frames(), resumes(), activities()].into_iter().flatten().collect()
}

fn frames() -> Vec<Bad> {
    let values: [&[u8]; 12] = [
        b"",
        b"0",
        b"2",
        b"01",
        b"1.0",
        b"1,1",
        b"11",
        b"on",
        b"yes",
        b"true",
        b"\xff",
        "\u{ff11}".as_bytes(),
    ];
    let bad = |value: &[u8]| Bad::of(Base::Call("0.1.0"), STORE, "session-frames", value, NOT_EXECUTED);
    let mut all: Vec<Bad> = values.map(bad).into();
    let repeated = told(Reason::HeaderRepeated, Some(Outcome::NotExecuted));
    all.push(Bad { told: repeated, ..bad(b"1").and("session-frames", "1") });
    // A later attempt that reads frames says what it has.
    all.push(Bad::of(Base::Call("0.1.1"), STORE, "session-frames", b"1", UNKNOWN));
    all
}

fn received() -> control_frame::Received {
    let position = Some(Position::default());
    control_frame::Received { position, limit: position, next: 1, ..control_frame::Received::default() }
}

fn resumes() -> Vec<Bad> {
    let good = Resume { generation: 0, send_from: Some(Position::default()), received: Some(received()) };
    let no_place = control_frame::Received { position: None, ..received() };
    let no_limit = control_frame::Received { limit: None, ..received() };
    let whole = good.encode_to_vec();
    let parts = [
        Vec::new(),
        Resume { send_from: None, ..good }.encode_to_vec(),
        Resume { received: None, ..good }.encode_to_vec(),
        Resume { received: Some(no_place), ..good }.encode_to_vec(),
        Resume { received: Some(no_limit), ..good }.encode_to_vec(),
        whole[..whole.len() - 1].to_vec(),
        [&whole[..], b"\x1a\x7f"].concat(),
        [&whole[..], b"\x12"].concat(),
        // Groups, a field without a number, a wire type that there is not, a varint without an end.
        [&whole[..], b"\x0b"].concat(),
        [&whole[..], b"\x00"].concat(),
        [&whole[..], b"\x0f"].concat(),
        [&whole[..], &[0xff; 11]].concat(),
        // `send_from` as a number, `generation` as bytes.
        vec![0x10, 0x01],
        vec![0x0a, 0x01, 0x00],
        vec![0xff; 40],
        b"not protobuf at all".to_vec(),
    ];
    let mut values: Vec<Vec<u8>> =
        parts.iter().map(|part| STANDARD_NO_PAD.encode(part).into_bytes()).collect();
    let text = STANDARD_NO_PAD.encode(&whole);
    let strange = [
        "?".to_owned(),
        "A".to_owned(),
        "!!!!".to_owned(),
        "====".to_owned(),
        format!("{text}="),
        format!("{text}==="),
        format!("={text}"),
        format!("{} {}", &text[..4], &text[4..]),
        format!("{text},{text}"),
        URL_SAFE_NO_PAD.encode([0xfb, 0xff, 0xfe]),
        "A".repeat(1_025),
        "A".repeat(8_000),
    ];
    values.extend(strange.map(String::into_bytes));
    let bad = |value: &Vec<u8>| {
        Bad::of(Base::Call("0.1.1"), STORE, "session-resume-bin", value, UNKNOWN).and("session-frames", "1")
    };
    let mut all: Vec<Bad> = values.iter().map(bad).collect();
    let repeated = told(Reason::HeaderRepeated, Some(Outcome::Unknown));
    all.push(Bad { told: repeated, ..bad(&text.clone().into_bytes()).and("session-resume-bin", text) });
    all
}

fn activities() -> Vec<Bad> {
    let values = [
        String::new(),
        "=".to_owned(),
        "a".to_owned(),
        "YR".to_owned(),
        "YQ=".to_owned(),
        "YQ===".to_owned(),
        "Y=Q=".to_owned(),
        "Y Q=".to_owned(),
        "YQ,YQ".to_owned(),
        "_-8".to_owned(),
        "not base64!".to_owned(),
        STANDARD.encode([7; 129]),
        STANDARD_NO_PAD.encode([7; 130]),
        "A".repeat(8_000),
    ];
    let bad = |value: &[u8]| Bad::of(Base::Call("0.1.0"), STORE, "session-activity-bin", value, NOT_EXECUTED);
    let mut all: Vec<Bad> = values.iter().map(|value| bad(value.as_bytes())).collect();
    let repeated = told(Reason::HeaderRepeated, Some(Outcome::NotExecuted));
    all.push(Bad { told: repeated, ..bad(b"YQ").and("session-activity-bin", "YQ") });
    // Where it has no place.
    all.push(Bad::of(Base::Session, ECHO, "session-activity-bin", b"YQ", INVALID));
    all
}
