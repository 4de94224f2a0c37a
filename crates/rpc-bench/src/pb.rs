//! Generated from `proto/`: the same messages and stubs twice.

/// With `Vec<u8>`, as users get them.
pub(crate) mod owned {
    #![allow(missing_docs, unreachable_pub, clippy::all, dead_code, reason = "generated code")]

    include!(concat!(env!("OUT_DIR"), "/owned/bench.v1.rs"));
}

/// With `Bytes`: payloads are not copied into messages and out of them.
pub(crate) mod shared {
    #![allow(missing_docs, unreachable_pub, clippy::all, dead_code, reason = "generated code")]

    include!(concat!(env!("OUT_DIR"), "/shared/bench.v1.rs"));
}
