//! A response taken whole, so that one cut in the middle can be asked for again.

use std::pin::Pin;
use std::task::{Context, Poll};

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Response, StatusCode, response};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt as _;
use tonic::body::Body;
use tonic::{Code, Status};

use crate::net::ResponseBody;

/// Compressed flag and length before a gRPC message.
const PREFIX_BYTES: usize = 5;

/// A whole response.
pub(super) struct Reply {
    pub(super) head: response::Parts,
    message: Bytes,
    trailers: Option<HeaderMap>,
}

/// Why a response was not taken whole.
pub(super) enum Broken {
    /// The connection or the stream ended first.
    Lost(h2::Error),
    /// It is larger than this many bytes.
    TooLarge(usize),
}

/// What a whole response says.
pub(super) enum Verdict {
    /// The call succeeded and here is its message.
    Success,
    /// The call failed, or was refused.
    Failure(Box<Status>),
    /// It is not a gRPC response: something between the two sides answered.
    NotGrpc(Box<Status>),
}

impl Reply {
    /// Reads a response to its end, up to `bytes_max` of body.
    pub(super) async fn read(response: Response<ResponseBody>, bytes_max: usize) -> Result<Self, Broken> {
        let (mut head, mut body) = response.into_parts();
        if head.status != StatusCode::OK {
            // Not of gRPC: what follows is a page for people, and its size says nothing of the call.
            repair_details(&mut head.headers);
            return Ok(Self { head, message: Bytes::new(), trailers: None });
        }
        let mut message = Whole::Nothing;
        let mut trailers = None;
        while let Some(frame) = body.frame().await {
            match frame.map_err(Broken::Lost)?.into_data() {
                Ok(data) => message.add(data, bytes_max)?,
                Err(frame) => trailers = frame.into_trailers().ok(),
            }
        }
        repair_details(&mut head.headers);
        trailers.as_mut().map(repair_details);
        Ok(Self { head, message: message.into_bytes(), trailers })
    }

    /// Judges the response.
    pub(super) fn verdict(&self) -> Verdict {
        let trailers = self.trailers.as_ref();
        let Some(map) = [trailers, Some(&self.head.headers)]
            .into_iter()
            .flatten()
            .find(|map| map.contains_key(Status::GRPC_STATUS))
        else {
            return Verdict::NotGrpc(Box::new(without_status(self.head.status)));
        };
        if map.get(Status::GRPC_STATUS).is_some_and(|code| code == "0") {
            return if is_one_message(&self.message) {
                Verdict::Success
            } else {
                Verdict::NotGrpc(Box::new(Status::internal("the reply is not one whole message")))
            };
        }
        match Status::from_header_map(map) {
            Some(status) if status.code() != Code::Ok => Verdict::Failure(Box::new(status)),
            Some(_) | None => Verdict::NotGrpc(Box::new(Status::internal("the reply has no gRPC status"))),
        }
    }

    /// The response for the stub.
    pub(super) fn into_response(self) -> Response<Body> {
        let message = (!self.message.is_empty()).then_some(self.message);
        Response::from_parts(self.head, Body::new(WholeBody { message, trailers: self.trailers }))
    }
}

/// gRPC's mapping of HTTP statuses, for answers that carry no gRPC status.
pub(super) fn without_status(http: StatusCode) -> Status {
    let code = match http {
        StatusCode::BAD_REQUEST => Code::Internal,
        StatusCode::UNAUTHORIZED => Code::Unauthenticated,
        StatusCode::FORBIDDEN => Code::PermissionDenied,
        StatusCode::NOT_FOUND => Code::Unimplemented,
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => Code::Unavailable,
        _ => Code::Unknown,
    };
    Status::new(code, format!("answer without a gRPC status, HTTP status {http}"))
}

fn is_one_message(bytes: &[u8]) -> bool {
    let Some((prefix, message)) = bytes.split_at_checked(PREFIX_BYTES) else { return false };
    let mut length = [0; 4];
    length.copy_from_slice(&prefix[1..]);
    usize::try_from(u32::from_be_bytes(length)) == Ok(message.len())
}

const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Takes details out that are not base64: tonic panics on them, and a peer must not be able to do that.
pub(crate) fn repair_details(headers: &mut HeaderMap) {
    let damaged = |value: &HeaderValue| LENIENT.decode(value.as_bytes()).is_err();
    if headers.get(Status::GRPC_STATUS_DETAILS).is_some_and(damaged) {
        headers.remove(Status::GRPC_STATUS_DETAILS);
    }
}

/// Bytes of a body. A small reply is one frame and is not copied.
enum Whole {
    Nothing,
    One(Bytes),
    Many(BytesMut),
}

impl Whole {
    fn add(&mut self, data: Bytes, bytes_max: usize) -> Result<(), Broken> {
        if self.len() + data.len() > bytes_max {
            return Err(Broken::TooLarge(bytes_max));
        }
        *self = match std::mem::replace(self, Self::Nothing) {
            Self::Nothing => Self::One(data),
            Self::One(first) => {
                let mut many = BytesMut::with_capacity((first.len() + data.len()) * 2);
                many.extend_from_slice(&first);
                many.extend_from_slice(&data);
                Self::Many(many)
            }
            Self::Many(mut many) => {
                many.extend_from_slice(&data);
                Self::Many(many)
            }
        };
        Ok(())
    }

    fn len(&self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::One(bytes) => bytes.len(),
            Self::Many(bytes) => bytes.len(),
        }
    }

    fn into_bytes(self) -> Bytes {
        match self {
            Self::Nothing => Bytes::new(),
            Self::One(bytes) => bytes,
            Self::Many(bytes) => bytes.freeze(),
        }
    }
}

/// One message and its trailers, both there already.
struct WholeBody {
    message: Option<Bytes>,
    trailers: Option<HeaderMap>,
}

impl http_body::Body for WholeBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let message = self.message.take().map(Frame::data);
        Poll::Ready(message.or_else(|| self.trailers.take().map(Frame::trailers)).map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.message.is_none() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.message.as_ref().map_or(0, |message| message.len() as u64))
    }
}

/// A request's message taken whole, so that it can be sent again.
///
/// # Errors
///
/// The bytes are more than `bytes_max`, or what gives them failed.
pub(super) async fn read_request(mut body: Body, bytes_max: usize) -> Result<Bytes, Box<Status>> {
    let mut whole = Whole::Nothing;
    while !body.is_end_stream() {
        let Some(frame) = body.frame().await else { break };
        let Ok(data) = frame?.into_data() else { continue };
        whole.add(data, bytes_max).map_err(|_| {
            Box::new(crate::error::refusal(
                rpc_core::error::Reason::RequestTooLarge,
                format!("the request is larger than {bytes_max} bytes"),
                Some(rpc_core::error::Outcome::NotExecuted),
            ))
        })?;
    }
    Ok(whole.into_bytes())
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;

    use super::*;

    fn reply(message: &'static [u8], head: &[(&'static str, &'static str)]) -> Reply {
        let mut response = Response::new(());
        for (name, value) in head {
            response.headers_mut().insert(*name, HeaderValue::from_static(value));
        }
        Reply { head: response.into_parts().0, message: Bytes::from_static(message), trailers: None }
    }

    #[test]
    fn a_success_is_one_whole_message() {
        let ok = &[("grpc-status", "0")][..];
        assert!(matches!(reply(b"\0\0\0\0\x02hi", ok).verdict(), Verdict::Success));
        assert!(matches!(reply(b"\0\0\0\0\0", ok).verdict(), Verdict::Success));
        for broken in [&b""[..], b"\0\0\0", b"\0\0\0\0\x03hi", b"\0\0\0\0\x01hi"] {
            assert!(matches!(reply(broken, ok).verdict(), Verdict::NotGrpc(_)), "{broken:?}");
        }
        assert!(matches!(reply(b"\0\0\0\0\x02hi", &[]).verdict(), Verdict::NotGrpc(_)));
    }

    #[test]
    fn a_proxys_answer_is_no_answer() {
        let mut bad_gateway = reply(b"", &[]);
        bad_gateway.head.status = StatusCode::BAD_GATEWAY;
        let Verdict::NotGrpc(status) = bad_gateway.verdict() else { panic!("taken for gRPC") };
        assert_eq!(status.code(), Code::Unavailable);
    }

    // tonic decodes the details with `expect`: a server could end its callers' tasks with one character.
    #[test]
    fn damaged_details_are_taken_out_before_tonic_reads_them() {
        let mut damaged = reply(b"", &[("grpc-status", "5"), ("grpc-status-details-bin", "!")]);
        repair_details(&mut damaged.head.headers);
        let Verdict::Failure(status) = damaged.verdict() else { panic!("not a failure") };
        assert_eq!((status.code(), status.details()), (Code::NotFound, &b""[..]));
        let mut whole = reply(b"", &[("grpc-status", "5"), ("grpc-status-details-bin", "AAA")]);
        repair_details(&mut whole.head.headers);
        let Verdict::Failure(status) = whole.verdict() else { panic!("not a failure") };
        assert_eq!(status.details(), [0, 0]);
    }

    #[tokio::test]
    async fn a_request_is_taken_whole_up_to_its_bound() {
        let body = || Body::new(Full::new(Bytes::from_static(b"0123456789")));
        assert_eq!(read_request(body(), 10).await.unwrap(), "0123456789");
        assert_eq!(read_request(body(), 9).await.unwrap_err().code(), Code::ResourceExhausted);
        assert_eq!(read_request(Body::empty(), 9).await.unwrap(), "");
    }
}
