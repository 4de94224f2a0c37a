//! The details of an error.

use bytes::Bytes;
use prost::Message as _;
use rpc_core::error::Outcome;
use rpc_proto::frames::{resumption_from_wire, resumption_to_wire};
use rpc_proto::pb::google::rpc;
use rpc_proto::pb::session::v1::Resumption;
use rpc_proto::status::{Details, with_outcome};
use tonic::{Code, Status};

/// Details of any bytes are read without harm, an outcome is added where it can be read again and changes nothing else,
/// and what is no `google.rpc.Status` is left as it is. The same bytes as the place where a stream goes on, which clients
/// read too.
pub fn run(bytes: &[u8]) {
    let status = Status::with_details(Code::Aborted, "fuzzed", Bytes::copy_from_slice(bytes));
    let before = Details::of(&status);
    let told = with_outcome(status.clone(), Outcome::Unknown);
    assert_eq!((told.code(), told.message()), (Code::Aborted, "fuzzed"));
    if rpc::Status::decode(bytes).is_ok() {
        assert_eq!(Details::of(&told), Details { outcome: Some(Outcome::Unknown), ..before });
        assert_eq!(with_outcome(told.clone(), Outcome::Unknown).details(), told.details());
    } else {
        assert_eq!(before, Details::default());
        assert_eq!(told.details(), bytes);
    }
    if let Ok(Ok(at)) = Resumption::decode(bytes).map(|message| resumption_from_wire(Some(message))) {
        assert_eq!(resumption_from_wire(Some(resumption_to_wire(&at))), Ok(at));
    }
}
