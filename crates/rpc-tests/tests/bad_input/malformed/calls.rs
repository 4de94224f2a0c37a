//! `session-call` and `grpc-timeout`.

use super::*;
use crate::scene::TRANSFER;

pub(crate) fn all() -> Vec<Bad> {
    [ids(), timeouts()].into_iter().flatten().collect()
}

fn ids() -> Vec<Bad> {
    let long = [&b"1"[..]; 4_000].concat();
    let values: [&[u8]; 50] = [
        b"",
        b".",
        b"..",
        b"...",
        b"0",
        b"0.1",
        b"0.1.",
        b".1.0",
        b"0..0",
        b"0.1.0.",
        b".0.1.0",
        b"0.1.0.0",
        b"0.0.0",
        b"00.1.0",
        b"0.01.0",
        b"0.1.00",
        b"+0.1.0",
        b"0.+1.0",
        b"0.1.+0",
        b"-1.1.0",
        b"0.-1.0",
        b"0.1.-1",
        b"0,1,0",
        b"0:1:0",
        b"0/1/0",
        b"0-1-0",
        b"0 1 0",
        b"0. 1.0",
        b"0.1 .0",
        b"a.1.0",
        b"0.a.0",
        b"0.1.a",
        b"0x0.1.0",
        b"0.0x1.0",
        b"0.1e0.0",
        b"0.1.0,0.1.1",
        b"0.1.0;",
        b"\"0.1.0\"",
        b"[0,1,0]",
        b"4294967296.1.0",
        b"0.18446744073709551616.0",
        b"0.1.4294967296",
        b"99999999999999999999.1.0",
        b"0000000000000000000000000000000000000.1.0",
        "\u{660}.\u{661}.\u{660}".as_bytes(),
        "0\u{2024}1\u{2024}0".as_bytes(),
        b"\xff.1.0",
        b"null",
        b"0.1.0%00",
        &long,
    ];
    let mut all = Vec::new();
    for value in values {
        all.push(Bad::of(Base::Session, ECHO, "session-call", value, INVALID));
        all.push(Bad::of(Base::Session, TRANSFER, "session-call", value, UNKNOWN));
    }
    all
}

fn timeouts() -> Vec<Bad> {
    let values: [&[u8]; 22] = [
        b"",
        b"1",
        b"S",
        b"1s",
        b"-1S",
        b"+1S",
        b"123456789S",
        b"1.5S",
        b"1,5S",
        b"1 S",
        b"0x1S",
        b"1SS",
        b"S1",
        b"1h",
        b"1D",
        b"1ns",
        b"1ms",
        b"1e1S",
        b"\xff",
        "1\u{b5}".as_bytes(),
        "\u{221e}S".as_bytes(),
        b"never",
    ];
    let mut all = Vec::new();
    for value in values {
        all.push(Bad::of(Base::Session, ECHO, "grpc-timeout", value, INVALID));
        all.push(Bad::of(Base::Call("0.1.0"), TRANSFER, "grpc-timeout", value, NOT_EXECUTED));
    }
    all.push(Bad::of(Base::Call("0.1.1"), TRANSFER, "grpc-timeout", b"1", UNKNOWN));
    all.push(Bad::of(Base::Session, ECHO, "grpc-timeout", b"1S", INVALID).and("grpc-timeout", "1S"));
    all
}
