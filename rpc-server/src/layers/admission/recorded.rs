//! The way between responses and recorded replies.
//!
//! A reply is normalised when it is recorded and every answer is made from the record, the first one too: so all
//! answers that are ever given for a call are the same (I2).

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, DATE, HeaderMap, HeaderName, HeaderValue};
use http::response::Parts;
use http::{Response, StatusCode};
use http_body_util::BodyExt;
use prost::Message;
use rpc_core::error::{Code, Outcome, Reason};
use rpc_core::record::Reply;
use rpc_proto::headers::{Answered, SESSION_OUTCOME};
use rpc_proto::status::{Refusal, with_outcome};
use tonic::Status;
use tonic::body::Body;

use super::replay::ReplayBody;
use super::request::FRAME_HEADER_BYTES;

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");

/// Headers or trailers as they are kept. The common ones are kept as no bytes at all.
#[derive(Clone, PartialEq, Message)]
struct Metadata {
    #[prost(message, repeated, tag = "1")]
    fields: Vec<Field>,
}

#[derive(Clone, PartialEq, Message)]
struct Field {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
}

/// Reads a response to its end and makes the reply of it.
pub(super) async fn record(response: Response<Body>) -> Reply {
    match read(response).await {
        Ok(reply) => reply,
        Err(status) => failed(with_outcome(status, Outcome::Done)),
    }
}

/// Reads a response of one message to its end; the error is the handler's own.
pub(super) async fn read(response: Response<Body>) -> Result<Reply, Status> {
    let (head, body) = response.into_parts();
    check_head(&head)?;
    let (message, trailers) = collect(body).await?;
    check_trailers(&trailers)?;
    Ok(Reply {
        code: Code::Ok as u8,
        head: encode(&head.headers),
        message: alone(message),
        trailer: encode(&trailers),
    })
}

/// Whether a response begins as one that is no error.
pub(super) fn check_head(head: &Parts) -> Result<(), Status> {
    if head.status != StatusCode::OK {
        let text = format!("the handler answered with HTTP status {}", head.status.as_u16());
        return Err(Status::new(tonic::Code::Unknown, text));
    }
    match error_of(&head.headers) {
        Some(Err(status)) => Err(status),
        Some(Ok(())) | None => Ok(()),
    }
}

/// Whether a response ended well.
pub(super) fn check_trailers(trailers: &HeaderMap) -> Result<(), Status> {
    // A response without a status is none; whoever reads it takes it for an error too.
    error_of(trailers).unwrap_or_else(|| Err(Status::internal("the handler's response has no status")))
}

/// What the status there says; `None` if there is none. tonic copies all headers to read one, which the common answer is
/// spared.
fn error_of(headers: &HeaderMap) -> Option<Result<(), Status>> {
    if headers.get(Status::GRPC_STATUS)? == "0" {
        return Some(Ok(()));
    }
    let status = Status::from_header_map(headers)?;
    Some(if status.code() == tonic::Code::Ok { Ok(()) } else { Err(status) })
}

/// How a response of many messages ended well. The messages are not part of it.
pub(super) fn ended(trailers: &HeaderMap) -> Reply {
    Reply { code: Code::Ok as u8, head: Bytes::new(), message: Bytes::new(), trailer: encode(trailers) }
}

/// A panic is an outcome like any other.
//= C-15
pub(super) fn panicked() -> Reply {
    failed(panic_status())
}

/// What the caller of a handler that panicked is told.
pub(super) fn panic_status() -> Status {
    Refusal::new(Reason::HandlerPanicked, "the handler panicked").outcome(Outcome::Done).into_status()
}

/// The transactions of the call were refused each time.
pub(super) fn conflicted() -> Reply {
    let text = "other calls changed what this one had read, each time that it was tried";
    let refusal = Refusal::new(Reason::TransactionConflict, text).outcome(Outcome::NotExecuted);
    failed(refusal.into_status())
}

/// An error as it is recorded and told.
//= C-14
//= C-26
pub(super) fn failed(status: Status) -> Reply {
    let mut trailers = HeaderMap::new();
    if status.add_header(&mut trailers).is_err() {
        // Metadata of the handler's that no header can carry: the code is what is left.
        trailers.insert("grpc-status", HeaderValue::from(status.code() as i32));
    }
    let code = u8::try_from(status.code() as i32).unwrap_or(Code::Unknown as u8);
    Reply { code, head: Bytes::new(), message: Bytes::new(), trailer: encode(&trailers) }
}

async fn collect(mut body: Body) -> Result<(Bytes, HeaderMap), Status> {
    let mut message = Bytes::new();
    let mut trailers = HeaderMap::new();
    while let Some(frame) = body.frame().await {
        match frame?.into_data() {
            // tonic gives a message in one piece; only a larger one is put together.
            Ok(data) if message.is_empty() => message = data,
            Ok(data) => {
                let mut whole = BytesMut::from(message);
                whole.extend_from_slice(&data);
                message = whole.freeze();
            }
            Err(frame) => trailers.extend(frame.into_trailers().unwrap_or_default()),
        }
    }
    Ok((message, trailers))
}

/// The buffer that tonic writes a message into has this size, or less than twice the message's.
const BUFFER_BYTES: usize = 8 << 10;

/// A small message in memory of its own: as a slice it would keep the whole buffer, for as long as its slot keeps it.
//= I6
fn alone(message: Bytes) -> Bytes {
    if message.len() < BUFFER_BYTES / 2 { Bytes::copy_from_slice(&message) } else { message }
}

/// The trailers of the answer.
pub(super) fn trailers(reply: &Reply) -> HeaderMap {
    let mut trailers = decode(&reply.trailer);
    trailers.entry("grpc-status").or_insert(HeaderValue::from_static("0"));
    trailers
}

/// The handler's own response headers.
pub(super) fn head(reply: &Reply) -> HeaderMap {
    decode(&reply.head)
}

/// The answer to an attempt.
//= C-8
pub(super) fn respond(reply: Reply, answered: Answered) -> Response<Body> {
    let trailers = trailers(&reply);
    if reply.code != Code::Ok as u8 {
        let mut response = Response::new(Body::empty());
        *response.headers_mut() = trailers;
        response.headers_mut().insert(CONTENT_TYPE, GRPC);
        //= W-10
        response.headers_mut().insert(SESSION_OUTCOME, answered.value());
        return response;
    }
    let mut response = Response::new(Body::new(ReplayBody::new(reply.message.clone(), trailers)));
    *response.headers_mut() = head(&reply);
    response.headers_mut().entry(CONTENT_TYPE).or_insert(GRPC);
    response.headers_mut().insert(SESSION_OUTCOME, answered.value());
    response
}

/// The status of a reply whose message was not kept.
//= C-16
pub(super) fn dropped(reply: &Reply) -> Response<Body> {
    let text = format!(
        "the call ran and ended with code {}; its reply was over the bound and is not known any more",
        reply.code
    );
    let refusal = Refusal::new(Reason::ExecutedReplyDropped, text).outcome(Outcome::Done);
    let mut response = refusal.into_status().into_http();
    response.headers_mut().insert(SESSION_OUTCOME, Answered::Replayed.value());
    response
}

/// What a `Query` tells of a reply: code, message of the status, response.
pub(crate) fn describe(reply: &Reply) -> (u32, String, Bytes) {
    let status = Status::from_header_map(&decode(&reply.trailer));
    let text = status.map(|status| status.message().to_owned()).unwrap_or_default();
    // The five bytes before the message are its frame. A compressed one is left to those who can read it.
    let response = match reply.message.get(..FRAME_HEADER_BYTES) {
        Some([0, ..]) => reply.message.slice(FRAME_HEADER_BYTES..),
        Some(_) | None => Bytes::new(),
    };
    (u32::from(reply.code), text, response)
}

fn encode(headers: &HeaderMap) -> Bytes {
    let fields: Vec<_> = headers
        .iter()
        .filter(|(name, value)| !is_implied(name, value))
        .map(|(name, value)| Field {
            name: name.as_str().into(),
            value: Bytes::copy_from_slice(value.as_bytes()),
        })
        .collect();
    Metadata { fields }.encode_to_vec().into()
}

/// What every response has, or what belongs to the connection and not to the reply.
fn is_implied(name: &HeaderName, value: &HeaderValue) -> bool {
    match name.as_str() {
        "content-type" => *value == GRPC,
        "grpc-status" => value == "0",
        _ => *name == DATE || *name == CONTENT_LENGTH || *name == SESSION_OUTCOME,
    }
}

fn decode(bytes: &Bytes) -> HeaderMap {
    let mut headers = HeaderMap::new();
    // What is read here was written by `encode`; a field that is none is left out rather than ending the call.
    for field in Metadata::decode(bytes.clone()).unwrap_or_default().fields {
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(field.name.as_bytes()), HeaderValue::from_maybe_shared(field.value))
        {
            headers.append(name, value);
        }
    }
    headers
}

#[cfg(test)]
mod tests {
    use rpc_proto::status::Details;

    use super::*;

    fn good() -> Response<Body> {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        let mut response =
            Response::new(Body::new(ReplayBody::new(Bytes::from_static(b"\0\0\0\0\x02hi"), trailers)));
        response.headers_mut().insert(CONTENT_TYPE, GRPC);
        response
    }

    async fn read(response: Response<Body>) -> (HeaderMap, Bytes, HeaderMap) {
        let (mut head, body) = response.into_parts();
        head.headers.remove(SESSION_OUTCOME);
        let body = body.collect().await.unwrap();
        let trailers = body.trailers().cloned().unwrap_or_default();
        (head.headers, body.to_bytes(), trailers)
    }

    #[tokio::test]
    async fn the_common_reply_costs_no_bytes_beside_its_message() {
        let reply = record(good()).await;
        assert_eq!((reply.code, reply.head.len(), reply.trailer.len()), (0, 0, 0));
        assert_eq!(describe(&reply), (0, String::new(), Bytes::from_static(b"hi")));
    }

    //= test C-8
    #[tokio::test]
    //= test W-10
    async fn an_answer_from_the_record_is_what_the_handler_gave() {
        let mut response = good();
        response.headers_mut().append("x-head", HeaderValue::from_static("1"));
        response.headers_mut().append("x-head", HeaderValue::from_static("2"));
        response.headers_mut().insert("x-raw-bin", HeaderValue::from_bytes(b"AP8").unwrap());
        let (headers, message, trailers) = read(good()).await;
        let reply = record(response).await;
        for answered in [Answered::New, Answered::Replayed] {
            let answer = respond(reply.clone(), answered);
            assert_eq!(Answered::parse(answer.headers()), Some(answered));
            let (mut head, body, tail) = read(answer).await;
            let values: Vec<_> = head.get_all("x-head").iter().cloned().collect();
            assert_eq!(values, ["1", "2"]);
            assert_eq!(head.remove("x-raw-bin").unwrap(), "AP8");
            head.remove("x-head");
            assert_eq!((head, body, tail), (headers.clone(), message.clone(), trailers.clone()));
        }
    }

    /// tonic writes each message into a buffer of 8 KiB. A reply that kept its slice kept the buffer, and a session
    /// held far more than its slots times their bound.
    //= test I6
    #[tokio::test]
    async fn a_small_reply_does_not_keep_the_large_buffer_that_it_was_written_in() {
        let buffer = std::sync::Arc::new([0; 8 << 10]);
        struct Owner(std::sync::Arc<[u8; 8 << 10]>);
        impl AsRef<[u8]> for Owner {
            fn as_ref(&self) -> &[u8] {
                &self.0[..]
            }
        }
        let message = Bytes::from_owner(Owner(buffer.clone())).slice(..7);
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        let reply = record(Response::new(Body::new(ReplayBody::new(message, trailers)))).await;
        assert_eq!(reply.message.len(), 7);
        assert_eq!(std::sync::Arc::strong_count(&buffer), 1);
    }

    //= test C-14
    //= test C-26
    #[tokio::test]
    async fn a_handlers_error_is_recorded_as_what_happened() {
        let mut status = Status::not_found("no such account");
        status.metadata_mut().insert("x-hint", "elsewhere".parse().unwrap());
        let reply = record(status.into_http()).await;
        assert_eq!(describe(&reply), (5, "no such account".into(), Bytes::new()));
        let told = Status::from_header_map(respond(reply, Answered::Replayed).headers()).unwrap();
        assert_eq!((told.code(), told.message()), (tonic::Code::NotFound, "no such account"));
        assert_eq!(told.metadata().get("x-hint").unwrap(), "elsewhere");
        assert_eq!(Details::of(&told).outcome, Some(Outcome::Done));
    }

    #[tokio::test]
    async fn a_response_that_is_none_is_an_error() {
        let no_status = Response::new(Body::new(ReplayBody::new(Bytes::from_static(b"x"), HeaderMap::new())));
        assert_eq!(record(no_status).await.code, Code::Internal as u8);
        let mut not_grpc = Response::new(Body::empty());
        *not_grpc.status_mut() = StatusCode::NOT_FOUND;
        assert_eq!(record(not_grpc).await.code, Code::Unknown as u8);
    }
}
