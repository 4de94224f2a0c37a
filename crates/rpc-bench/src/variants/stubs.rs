//! Handlers and callers over generated code, for payloads that are copied and for such that are not.

/// With `Vec<u8>`.
pub(crate) mod owned {
    use crate::pb::owned as pb;

    type Data = Vec<u8>;

    include!("over/generated.rs");
}

/// With `Bytes`.
pub(crate) mod shared {
    use crate::pb::shared as pb;

    type Data = bytes::Bytes;

    include!("over/generated.rs");
}
