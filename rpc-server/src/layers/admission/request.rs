//! The request of a protected call: read whole before it is admitted, so that the handler does not depend on the
//! connection it came on.

use bytes::{Bytes, BytesMut};
use http::request::Parts;
use http::{Extensions, Request};
use http_body_util::{BodyExt, Full};
use rpc_core::error::Reason;
use rpc_core::id::Fingerprint;
use rpc_proto::status::Refusal;
use tonic::body::Body;
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

/// The flag and the length before each gRPC message.
pub(crate) const FRAME_HEADER_BYTES: usize = 5;

/// A request that is in memory: its handler can be run again. In a box wherever it waits for something: a future that hands
/// it on to the next one has room for it twice.
#[derive(Clone)]
pub(super) struct Whole {
    head: Parts,
    body: Bytes,
}

impl Whole {
    pub(super) fn into_request(self) -> Request<Body> {
        Request::from_parts(self.head, Body::new(Full::new(self.body)))
    }

    pub(super) fn extensions(&self) -> &Extensions {
        &self.head.extensions
    }

    pub(super) fn extensions_mut(&mut self) -> &mut Extensions {
        &mut self.head.extensions
    }
}

/// Reads exactly one message; gives the request, and its fingerprint.
//= C-5
pub(super) async fn read_whole(
    request: Request<Body>,
    message_bytes_max: usize,
) -> Result<(Box<Whole>, Fingerprint), Refusal> {
    let (head, body) = request.into_parts();
    let body = read(body, message_bytes_max).await?;
    let fingerprint = fingerprint(head.uri.path(), &body);
    Ok((Box::new(Whole { head, body }), fingerprint))
}

//= C-47
async fn read(mut body: Body, message_bytes_max: usize) -> Result<Bytes, Refusal> {
    let mut whole = Pieces::default();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| incomplete("the request broke off"))?;
        let Ok(data) = frame.into_data() else { continue };
        whole.push(data);
        if let Some(length) = whole.message_bytes() {
            if length > message_bytes_max {
                let text = format!("the message has {length} bytes, {message_bytes_max} is the bound");
                return Err(Refusal::new(Reason::RequestTooLarge, text));
            }
            if whole.len() > FRAME_HEADER_BYTES + length {
                return Err(incomplete("there is more than one message"));
            }
        }
    }
    match whole.message_bytes() {
        Some(length) if whole.len() == FRAME_HEADER_BYTES + length => Ok(whole.into_bytes()),
        Some(_) => Err(incomplete("the message broke off")),
        None => Err(incomplete("there is no message")),
    }
}

fn incomplete(text: &str) -> Refusal {
    Refusal::new(Reason::RequestIncomplete, text)
}

/// A body in the pieces that it came in. One piece is the common case, and is not copied.
#[derive(Default)]
struct Pieces {
    first: Bytes,
    rest: BytesMut,
}

impl Pieces {
    fn push(&mut self, data: Bytes) {
        if self.first.is_empty() {
            self.first = data;
        } else if !data.is_empty() {
            if self.rest.is_empty() {
                self.rest.extend_from_slice(&self.first);
            }
            self.rest.extend_from_slice(&data);
        }
    }

    fn bytes(&self) -> &[u8] {
        if self.rest.is_empty() { &self.first } else { &self.rest }
    }

    fn len(&self) -> usize {
        self.bytes().len()
    }

    /// The length that the message states, once that is there.
    fn message_bytes(&self) -> Option<usize> {
        let &[_, a, b, c, d] = self.bytes().first_chunk::<FRAME_HEADER_BYTES>()?;
        usize::try_from(u32::from_be_bytes([a, b, c, d])).ok()
    }

    fn into_bytes(self) -> Bytes {
        if self.rest.is_empty() { self.first } else { self.rest.freeze() }
    }
}

/// Up to here a request is put together to be hashed.
const SHORT_BYTES: usize = 240;

/// Tells one request from another: XXH3-128 of path, a byte that no path has, and the body.
//= C-10
pub(super) fn fingerprint(path: &str, body: &[u8]) -> Fingerprint {
    let bytes = path.len() + 1 + body.len();
    if bytes <= SHORT_BYTES {
        // The same in one go, without the kilobyte that hashing in pieces takes.
        let mut whole = [0; SHORT_BYTES];
        whole[..path.len()].copy_from_slice(path.as_bytes());
        whole[path.len() + 1..bytes].copy_from_slice(body);
        return Fingerprint(xxh3_128(&whole[..bytes]));
    }
    let mut hash = Xxh3::new();
    hash.update(path.as_bytes());
    hash.update(&[0]);
    hash.update(body);
    Fingerprint(hash.digest128())
}

#[cfg(test)]
mod tests {
    use http_body::Frame;
    use http_body_util::StreamBody;
    use rpc_proto::status::Details;
    use tonic::Status;

    use super::*;

    async fn read_pieces(pieces: &[&[u8]], max: usize) -> Result<Bytes, Reason> {
        let frames: Vec<_> =
            pieces.iter().map(|piece| Ok::<_, Status>(Frame::data(Bytes::copy_from_slice(piece)))).collect();
        let request = Request::new(Body::new(StreamBody::new(tokio_stream::iter(frames))));
        match read_whole(request, max).await {
            Ok((request, _)) => Ok(request.into_request().into_body().collect().await.unwrap().to_bytes()),
            Err(refusal) => Err(Details::of(&refusal.into_status()).reason.unwrap()),
        }
    }

    //= test C-5
    #[tokio::test]
    async fn one_whole_message_passes_in_whatever_pieces() {
        let message = b"\0\0\0\0\x03abc";
        assert_eq!(read_pieces(&[message], 3).await, Ok(Bytes::from_static(message)));
        for cut in 0..=message.len() {
            let (a, b) = message.split_at(cut);
            assert_eq!(read_pieces(&[a, b], 3).await, Ok(Bytes::from_static(message)), "{cut}");
        }
        let bytes: Vec<_> = message.chunks(1).collect();
        assert_eq!(read_pieces(&bytes, 3).await, Ok(Bytes::from_static(message)));
        assert_eq!(read_pieces(&[b"\0\0\0\0\0"], 3).await, Ok(Bytes::from_static(b"\0\0\0\0\0")));
    }

    //= test C-5
    #[tokio::test]
    async fn anything_else_is_incomplete() {
        let two: [&[u8]; 2] = [b"\0\0\0\0\x01a", b"\0\0\0\0\x01b"];
        let cases: [Vec<&[u8]>; 4] = [vec![], vec![b"\0\0\0"], vec![b"\0\0\0\0\x03ab"], two.to_vec()];
        for pieces in cases {
            assert_eq!(read_pieces(&pieces, 10).await, Err(Reason::RequestIncomplete), "{pieces:?}");
        }
    }

    //= test C-47
    #[tokio::test]
    async fn a_message_over_the_bound_is_refused_by_its_length_alone() {
        assert_eq!(read_pieces(&[b"\0\0\0\0\x04"], 3).await, Err(Reason::RequestTooLarge));
        assert_eq!(read_pieces(&[b"\0\xff\xff\xff\xff"], 3).await, Err(Reason::RequestTooLarge));
    }

    //= test C-10
    #[test]
    fn path_and_body_both_count() {
        let print = fingerprint("/a.B/C", b"x");
        assert_eq!(print, fingerprint("/a.B/C", b"x"));
        assert_ne!(print, fingerprint("/a.B/D", b"x"));
        assert_ne!(print, fingerprint("/a.B/C", b"y"));
        assert_ne!(fingerprint("/a.B/C", b"Dx"), fingerprint("/a.B/CD", b"x"));
    }

    // Records outlive the program: however it is computed, a request has the fingerprint that it had.
    #[test]
    fn short_requests_are_hashed_like_long_ones() {
        for bytes in [0, 1, 16, SHORT_BYTES - 8, SHORT_BYTES - 7, SHORT_BYTES - 6, 2 * SHORT_BYTES] {
            let body: Vec<u8> = (0..=255).cycle().take(bytes).collect();
            let mut pieces = Xxh3::new();
            [b"/a.B/C", &b"\0"[..], &body].iter().for_each(|piece| pieces.update(piece));
            assert_eq!(fingerprint("/a.B/C", &body), Fingerprint(pieces.digest128()), "{bytes}");
        }
    }
}
