//! `session`, `session-ticket`, and headers that come twice or alone.

use super::*;
use crate::scene::TRANSFER;

const GOOD_TICKET: &[u8] = b"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

pub(crate) fn all() -> Vec<Bad> {
    [numbers(), tickets(), twice(), alone()].into_iter().flatten().collect()
}

fn numbers() -> Vec<Bad> {
    let long = [&b"9"[..]; 8_000].concat();
    let values: [&[u8]; 42] = [
        b"",
        b"0",
        b"00",
        b"01",
        b"+1",
        b"-1",
        b"-0",
        b"--1",
        b"0x1",
        b"0b1",
        b"1.0",
        b"1.",
        b".1",
        b"1e3",
        b"one",
        b"1 1",
        b"1,1",
        b"1;1",
        b"1_000",
        b"1'000",
        b"'1'",
        b"\"1\"",
        b"1/1",
        b"1%20",
        b"%31",
        b"1a",
        b"a1",
        b"NaN",
        b"null",
        b"true",
        b"*",
        b"1'--",
        b"1 OR 1=1",
        "\u{ff11}".as_bytes(),
        "\u{661}".as_bytes(),
        b"\xff",
        b"\xc0\xb1",
        b"18446744073709551616",
        b"99999999999999999999",
        b"000000000000000000001",
        b"111111111111111111111",
        &long,
    ];
    values.map(|value| Bad::of(Base::Ticket, ECHO, "session", value, INVALID)).into()
}

fn tickets() -> Vec<Bad> {
    let [good, a42] = [GOOD_TICKET, &GOOD_TICKET[1..]];
    let hex = [&b"0a"[..]; 32].concat();
    let long = [&b"x"[..]; 8_000].concat();
    let joined = |parts: &[&[u8]]| parts.concat();
    let values = [
        Vec::new(),
        a42.to_vec(),
        a42[1..].to_vec(),
        joined(&[good, b"A"]),
        joined(&[good, b"="]),
        joined(&[a42, b"="]),
        joined(&[a42, b"+"]),
        joined(&[a42, b"/"]),
        joined(&[b"+", a42]),
        joined(&[b"/", a42]),
        // Bits beyond the 32 bytes: the same ticket must not have two spellings.
        joined(&[a42, b"B"]),
        joined(&[a42, b"D"]),
        joined(&[a42, b"_"]),
        joined(&[a42, b"."]),
        joined(&[a42, b"%"]),
        joined(&[&a42[1..], b" A"]),
        joined(&[&a42[1..], b"\xc3\xa4"]),
        joined(&[a42, b"\xff"]),
        joined(&[good, b",", good]),
        joined(&[b"\"", &good[2..], b"\""]),
        joined(&[b"Bearer ", good]),
        hex,
        b"null".to_vec(),
        b"0".to_vec(),
        b"{}".to_vec(),
        long,
    ];
    values.iter().map(|value| Bad::of(Base::Number, ECHO, "session-ticket", value, INVALID)).collect()
}

fn twice() -> Vec<Bad> {
    let repeated = told(Reason::HeaderRepeated, None);
    let mut all = Vec::new();
    for value in [&b"1"[..], b"2", b"", b"x"] {
        all.push(Bad::of(Base::Session, ECHO, "session", value, repeated));
    }
    for value in [GOOD_TICKET, b"", b"x"] {
        all.push(Bad::of(Base::Session, ECHO, "session-ticket", value, repeated));
    }
    let repeated = told(Reason::HeaderRepeated, Some(Outcome::Unknown));
    for value in [&b"0.1.0"[..], b"0.1.1", b"1.1.0", b"", b"x"] {
        all.push(Bad::of(Base::Call("0.1.0"), TRANSFER, "session-call", value, repeated));
    }
    all
}

/// Number, ticket and call belong together.
fn alone() -> Vec<Bad> {
    let no_ticket = told(Reason::TicketMissing, None);
    let no_token = told(Reason::TokenMissing, None);
    vec![
        Bad::of(Base::Number, ECHO, "x-note", b"without ticket", no_ticket),
        Bad::of(Base::Number, ECHO, "session-call", b"0.1.0", no_ticket),
        Bad::of(Base::Bare, ECHO, "session", b"999999", no_ticket),
        Bad::of(Base::Bare, ECHO, "session", b"18446744073709551615", no_ticket),
        Bad::of(Base::Ticket, ECHO, "x-note", b"without number", no_token),
        Bad::of(Base::Ticket, ECHO, "session-call", b"0.1.0", no_token),
        Bad::of(Base::Bare, ECHO, "session-call", b"0.1.0", no_token),
        Bad::of(Base::Bare, ECHO, "session-call", b"x", no_token),
    ]
}
