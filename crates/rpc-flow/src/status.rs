//! How the end of a stream is told to applications and peers.

use bytes::Bytes;
use http::HeaderMap;
use prost::Message as _;
use rpc_core::dialog::{DialogError, Token};
use rpc_core::error::Reason;
use rpc_core::stream::error::{KeepError, PlaceError, StreamError};
use rpc_proto::pb::google::rpc;
use rpc_proto::status::Refusal;
use tonic::{Code, Status};

/// The error as a status with its reason.
pub(crate) fn of(error: &StreamError) -> Status {
    Refusal::new(error.reason(), error.to_string()).into_status()
}

/// The own application asked for what cannot be.
pub(crate) fn misused(error: &dyn std::error::Error) -> Status {
    Status::internal(format!("sync point: {error}"))
}

/// The source cannot be read again in this call.
pub(crate) fn not_read_again(error: &KeepError) -> Status {
    Status::failed_precondition(format!("a source that can be read again: {error}"))
}

/// The call has no checkpoints, and the application needs them.
pub(crate) fn without_checkpoints() -> Status {
    Refusal::new(Reason::CheckpointsRequired, "the call has no checkpoints").into_status()
}

/// A point was asked for when there was no call yet in which it could lie.
pub(crate) fn point_before_call() -> Status {
    let message = "a sync point was asked for before the call had begun";
    Refusal::new(Reason::CheckpointsRequired, message).into_status()
}

/// The application is to secure the points itself, and reads messages only.
pub(crate) fn points_ignored() -> Status {
    let message = "the handler reads past a sync point that it is to secure";
    Refusal::new(Reason::CheckpointsIgnored, message).into_status()
}

/// The handler is to go on from a sync point, and begins from the beginning.
pub(crate) fn resumption_overlooked() -> Status {
    let message =
        "the handler did not ask from where the call goes on, and would begin again at its beginning";
    Refusal::new(Reason::CheckpointsIgnored, message).into_status()
}

/// The call has no dialog, or has not begun.
pub(crate) fn without_dialog() -> Status {
    let message = "the call has no dialog: it needs a method with a `checkpoint` and a `dialog`, a session with the unit \
                   resume and a unit of the dialog, and has to have begun";
    Refusal::new(Reason::DialogRequired, message).into_status()
}

/// The dialog does not permit it.
pub(crate) fn refused(error: &DialogError) -> Status {
    Refusal::new(error.reason(), error.to_string()).into_status()
}

/// The point cannot be placed: the dialog does not permit it, or the application asked for what cannot be.
pub(crate) fn not_placed(error: &PlaceError) -> Status {
    match error {
        PlaceError::Dialog(error) => refused(error),
        PlaceError::Closing => Refusal::new(Reason::DialogUnanswered, error.to_string()).into_status(),
        _ => misused(error),
    }
}

/// It did not come in time.
pub(crate) fn unanswered() -> Status {
    Refusal::new(Reason::DialogUnanswered, "the other side did not answer in time").into_status()
}

/// What was waited for will not come any more.
pub(crate) fn call_ended() -> Status {
    Refusal::new(Reason::DialogUnanswered, "the call has ended").into_status()
}

/// Two sides asked for a resynchronization, and the other one's goes before.
pub(crate) fn collided() -> Status {
    let message = "the other side asks for a resynchronization that goes before this one";
    Refusal::new(Reason::DialogUnanswered, message).into_status()
}

/// The turn is not to be had now.
pub(crate) fn turn_missing() -> Status {
    refused(&DialogError::Missing(Token::Data))
}

/// As many requests for tokens wait as may.
pub(crate) fn asks_exhausted(asks_max: usize) -> Status {
    Status::resource_exhausted(format!("{asks_max} requests for tokens wait already"))
}

/// The point lies in what the stream went back over.
pub(crate) fn point_void() -> Status {
    Status::aborted("the stream was resynchronized: there is no such sync point any more")
}

/// A status that a handler may get from the body that it reads: never CANCELLED.
///
/// tonic takes CANCELLED from a request's body for the end of the request, and its handler a broken upload for a whole
/// one.
pub(crate) fn to_reader(status: Status) -> Status {
    if status.code() != Code::Cancelled {
        return status;
    }
    let details = match rpc::Status::decode(status.details()) {
        Ok(details) if !status.details().is_empty() => {
            rpc::Status { code: Code::Aborted as i32, ..details }.encode_to_vec().into()
        }
        Ok(_) | Err(_) => Bytes::copy_from_slice(status.details()),
    };
    let message = status.message().to_owned();
    Status::with_details_and_metadata(Code::Aborted, message, details, status.metadata().clone())
}

/// The status as the trailers of a response.
pub(crate) fn to_trailers(status: &Status) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    if status.add_header(&mut trailers).is_err() {
        // A message that is no header value even when it is percent-encoded does not exist; the code always fits.
        trailers.insert("grpc-status", (status.code() as i32).into());
    }
    trailers
}

#[cfg(test)]
mod tests {
    use rpc_proto::status::Details;

    use super::*;

    #[test]
    fn a_cancelled_upload_is_aborted_to_its_reader_and_keeps_its_reason() {
        let status = to_reader(of(&StreamError::Cancelled));
        assert_eq!(status.code(), Code::Aborted);
        assert_eq!(Details::of(&status).reason, Some(Reason::CallCancelled));
        let told = to_reader(Status::cancelled("by hand"));
        assert_eq!((told.code(), told.message()), (Code::Aborted, "by hand"));
    }

    #[test]
    fn a_status_makes_the_way_through_trailers() {
        let status = Status::from_header_map(&to_trailers(&of(&StreamError::Cancelled))).unwrap();
        assert_eq!(status.code(), Code::Cancelled);
        assert_eq!(Details::of(&status).reason, Some(Reason::CallCancelled));
    }
}
