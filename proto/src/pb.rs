//! The messages and stubs of the session protocol, and the error details of `google.rpc`.
//!
//! `gen/` is written by `cargo run -p rpc-build --bin generate-proto` and checked in, so that no user of this crate
//! needs a protobuf compiler. `Debug` of messages that hold a ticket or what users sent is written here by hand.

use std::fmt;

use session::v1::{OpenResponse, RenewResponse, Reply};

/// `session.v1.*`. Fields that this version does not know are skipped.
//= W-11
pub mod session {
    /// The messages and stubs of `session/v1/{session,options,error}.proto`.
    #[allow(clippy::all, missing_docs, unreachable_pub, rustdoc::all, reason = "generated code")]
    pub mod v1 {
        include!("gen/session.v1.rs");
    }
}

/// `google.*`.
pub mod google {
    /// The part of `google/rpc/{status,error_details}.proto` that the session protocol uses.
    ///
    /// Written by hand: the three messages are fixed for ever, and a crate that brings all the others is not worth it.
    pub mod rpc {
        use std::collections::BTreeMap;

        /// What `grpc-status-details-bin` holds.
        #[derive(Clone, PartialEq, prost::Message)]
        pub struct Status {
            /// gRPC status code.
            #[prost(int32, tag = "1")]
            pub code: i32,
            /// For the developer who reads the error, in English.
            #[prost(string, tag = "2")]
            pub message: String,
            /// Any messages; readers skip those that they do not know.
            #[prost(message, repeated, tag = "3")]
            pub details: Vec<prost_types::Any>,
        }

        /// The cause of an error, for programs.
        #[derive(Clone, PartialEq, Eq, prost::Message)]
        pub struct ErrorInfo {
            /// Upper-case name of the cause, unique within its domain.
            #[prost(string, tag = "1")]
            pub reason: String,
            /// Whose reason it is, such as `session.v1`.
            #[prost(string, tag = "2")]
            pub domain: String,
            /// Details of this occurrence. Ordered, so that the same error always has the same bytes.
            #[prost(btree_map = "string, string", tag = "3")]
            pub metadata: BTreeMap<String, String>,
        }

        /// When the caller may try again.
        #[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
        pub struct RetryInfo {
            /// Time to wait at least.
            #[prost(message, optional, tag = "1")]
            pub retry_delay: Option<prost_types::Duration>,
        }
    }
}

/// The encoded descriptors of `session/v1/*.proto` and their imports, for server reflection and tools.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!("gen/session_v1_descriptor.bin");

/// Stands for bytes that no log may show.
struct Hidden(usize);

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{} bytes>", self.0)
    }
}

impl fmt::Debug for OpenResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Taken apart in full, so that a new field must be placed here before this compiles.
        let Self {
            number,
            ticket,
            epoch,
            version,
            units: _,
            lease,
            linger,
            slots,
            reply_bytes_max,
            window_bytes,
            services,
            first_turn: _,
            authority,
            existing,
        } = self;
        f.debug_struct("OpenResponse")
            .field("number", number)
            .field("ticket", &Hidden(ticket.len()))
            .field("epoch", epoch)
            .field("version", version)
            .field("units", &self.units().collect::<Vec<_>>())
            .field("lease", lease)
            .field("linger", linger)
            .field("slots", slots)
            .field("reply_bytes_max", reply_bytes_max)
            .field("window_bytes", window_bytes)
            .field("services", services)
            .field("first_turn", &self.first_turn())
            .field("authority", authority)
            .field("existing", existing)
            .finish()
    }
}

impl fmt::Debug for RenewResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ticket, lease, authority } = self;
        f.debug_struct("RenewResponse")
            .field("ticket", &Hidden(ticket.len()))
            .field("lease", lease)
            .field("authority", authority)
            .finish()
    }
}

/// The recorded response is the user's own; its length is enough for a log.
impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { code, message, response, dropped } = self;
        f.debug_struct("Reply")
            .field("code", code)
            .field("message", message)
            .field("response", &Hidden(response.len()))
            .field("dropped", dropped)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use prost::Message;

    //= test W-11
    #[test]
    fn a_field_that_nobody_knows_is_ignored() {
        let mut bytes = super::session::v1::QueryRequest { slot: 3, ..Default::default() }.encode_to_vec();
        // Field 2,000 with the varint 7, then a field of bytes.
        bytes.extend_from_slice(&[0x80, 0x7d, 0x07, 0x8a, 0x7d, 0x02, 0xff, 0xff]);
        let read = super::session::v1::QueryRequest::decode(&*bytes).unwrap();
        assert_eq!((read.slot, read.sequence), (3, 0));
    }

    use super::google::rpc;
    use super::session::v1::{QueryResponse, SESSION_SERVICE_POLICY, Unit};
    use super::*;

    const SECRET: &[u8] = b"secret-secret-secret-secret-1234";

    /// The secret as `Debug` prints bytes: as text, and as a list of numbers.
    #[track_caller]
    fn assert_hidden(printed: &str) {
        assert!(!printed.contains("secret"), "{printed}");
        assert!(!printed.contains("115, 101, 99"), "{printed}");
        assert!(printed.contains("<32 bytes>"), "{printed}");
    }

    #[test]
    fn debug_never_prints_a_ticket() {
        let ticket = Bytes::from_static(SECRET);
        let units = vec![Unit::Resume.into()];
        let opened = OpenResponse { number: 7, ticket: ticket.clone(), units, ..Default::default() };
        let renewed = RenewResponse { ticket, ..Default::default() };
        assert_hidden(&format!("{opened:?}"));
        assert_hidden(&format!("{opened:#?}"));
        assert_hidden(&format!("{renewed:?}"));
        assert!(format!("{opened:?}").contains("number: 7"));
        assert!(format!("{opened:?}").contains("units: [Resume]"));
    }

    #[test]
    fn debug_never_prints_a_recorded_response() {
        let reply = Reply { response: Bytes::from_static(SECRET), ..Default::default() };
        assert_hidden(&format!("{reply:?}"));
        assert_hidden(&format!("{:?}", QueryResponse { reply: Some(reply), ..Default::default() }));
    }

    #[test]
    fn details_have_the_bytes_that_google_gives_them() {
        let info = rpc::ErrorInfo {
            reason: "R".into(),
            domain: "d".into(),
            metadata: [("k".into(), "v".into())].into(),
        };
        assert_eq!(info.encode_to_vec(), b"\x0a\x01R\x12\x01d\x1a\x06\x0a\x01k\x12\x01v");
        let retry = rpc::RetryInfo { retry_delay: Some(prost_types::Duration { seconds: 2, nanos: 0 }) };
        assert_eq!(retry.encode_to_vec(), b"\x0a\x02\x08\x02");
        let status = rpc::Status { code: 5, message: "m".into(), details: vec![prost_types::Any::default()] };
        assert_eq!(status.encode_to_vec(), b"\x08\x05\x12\x01m\x1a\x00");
    }

    #[test]
    fn the_session_service_is_plain_and_described() {
        assert_eq!(SESSION_SERVICE_POLICY.name, "session.v1.SessionService");
        assert_eq!(SESSION_SERVICE_POLICY.methods.len(), 6);
        assert!(SESSION_SERVICE_POLICY.methods.iter().all(|method| !method.is_protected()));
        let names = ["session/v1/session.proto", "session/v1/options.proto", "session/v1/error.proto"];
        let set = prost_types::FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap();
        assert!(names.iter().all(|name| set.file.iter().any(|file| file.name() == *name)));
    }
}
