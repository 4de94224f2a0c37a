//! A request body that can be sent again from its beginning, as long as little of it has been sent.
//!
//! A plain call is sent twice only if the server provably did not look at it (C-23): a GOAWAY above which its stream
//! lay, or a refused stream. By then its body has mostly begun, and what was read of it would be lost.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tonic::Status;
use tonic::body::Body;

/// What is remembered of a body. A server that refuses a stream does so before it has read much.
const BYTES_MAX: usize = 64 << 10;

/// A body from which attempts are made, one after the other.
pub(super) struct Rewind(Arc<Mutex<Shared>>);

struct Shared {
    body: Body,
    seen: Vec<Bytes>,
    seen_bytes: usize,
    /// Everything that was read is still there.
    whole: bool,
    /// The body has ended, and must not be asked again.
    ended: bool,
    /// Counts attempts. One that was given up may be polled once more before it is dropped, and takes nothing then.
    attempt: u64,
}

impl Rewind {
    pub(super) fn new(body: Body) -> Self {
        let shared = Shared { body, seen: Vec::new(), seen_bytes: 0, whole: true, ended: false, attempt: 0 };
        Self(Arc::new(Mutex::new(shared)))
    }

    /// The body from its beginning; `None` if too much of it is gone. Earlier attempts get nothing more.
    pub(super) fn attempt(&self) -> Option<Body> {
        let (number, whole) = {
            let mut shared = lock(&self.0);
            shared.attempt += 1;
            (shared.attempt, shared.whole)
        };
        // `Body::new` asks the attempt whether it is at its end, which takes the lock.
        whole.then(|| Body::new(Attempt { shared: Arc::clone(&self.0), number, position: 0 }))
    }

    /// There will be no further attempt: nothing more is remembered.
    pub(super) fn commit(self) {
        lock(&self.0).whole = false;
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    // A body that panicked is polled again at worst, and says what it likes.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One attempt at the body.
struct Attempt {
    shared: Arc<Mutex<Shared>>,
    number: u64,
    position: usize,
}

impl HttpBody for Attempt {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Self { shared, number, position } = self.get_mut();
        let mut shared = lock(shared);
        if shared.attempt != *number {
            return Poll::Ready(None);
        }
        let whole = shared.whole;
        if let Some(data) = shared.seen.get_mut(*position) {
            *position += 1;
            // Once there is no further attempt, what was sent need not be kept.
            let data = if whole { data.clone() } else { std::mem::take(data) };
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        if !shared.whole {
            shared.seen = Vec::new();
        }
        if shared.ended {
            return Poll::Ready(None);
        }
        let frame = ready!(Pin::new(&mut shared.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) if shared.whole => shared.remember(frame),
            Some(Ok(_)) => {}
            // Sent again, it would end after what came before the error, as if that were all of it.
            Some(Err(_)) => shared.forget(),
            None => shared.ended = true,
        }
        *position = shared.seen.len();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        let shared = lock(&self.shared);
        shared.attempt != self.number
            || (self.position >= shared.seen.len() && (shared.ended || shared.body.is_end_stream()))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

impl Shared {
    fn remember(&mut self, frame: &Frame<Bytes>) {
        let Some(data) = frame.data_ref() else { return self.forget() };
        self.seen_bytes += data.len();
        if self.seen_bytes > BYTES_MAX {
            self.forget();
        } else {
            self.seen.push(data.clone());
        }
    }

    fn forget(&mut self) {
        self.whole = false;
        self.seen = Vec::new();
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, StreamBody};

    use super::*;

    fn body(pieces: &[&'static [u8]]) -> Rewind {
        let frames: Vec<_> =
            pieces.iter().map(|piece| Ok::<_, Status>(Frame::data(Bytes::from_static(piece)))).collect();
        Rewind::new(Body::new(StreamBody::new(tokio_stream::iter(frames))))
    }

    async fn take(body: &mut Body, frames: usize) -> Vec<u8> {
        let mut taken = Vec::new();
        for _ in 0..frames {
            let Some(frame) = body.frame().await else { break };
            taken.extend_from_slice(&frame.unwrap().into_data().unwrap());
        }
        taken
    }

    #[tokio::test]
    async fn each_attempt_begins_at_the_beginning() {
        let rewind = body(&[b"one", b"two", b"three"]);
        for frames in [0, 2, 1, 3] {
            let mut attempt = rewind.attempt().unwrap();
            assert_eq!(take(&mut attempt, frames).await, b"onetwothree"[..[0, 3, 6, 11][frames]]);
        }
        let whole = rewind.attempt().unwrap().collect().await.unwrap().to_bytes();
        assert_eq!(whole, "onetwothree");
    }

    #[tokio::test]
    async fn an_attempt_that_was_given_up_takes_nothing_from_the_next() {
        let rewind = body(&[b"one", b"two"]);
        let mut old = rewind.attempt().unwrap();
        assert_eq!(take(&mut old, 1).await, b"one");
        let mut new = rewind.attempt().unwrap();
        assert_eq!(take(&mut old, 9).await, b"");
        assert!(old.is_end_stream());
        assert_eq!(take(&mut new, 9).await, b"onetwo");
    }

    #[tokio::test]
    async fn a_body_of_which_much_was_read_cannot_begin_again() {
        static LARGE: [u8; BYTES_MAX] = [7; BYTES_MAX];
        let rewind = body(&[&LARGE, b"more", b"last"]);
        let mut attempt = rewind.attempt().unwrap();
        assert_eq!(take(&mut attempt, 1).await.len(), BYTES_MAX);
        let mut attempt = rewind.attempt().unwrap();
        assert_eq!(take(&mut attempt, 2).await.len(), BYTES_MAX + 4);
        assert_eq!(take(&mut attempt, 9).await, b"last");
        assert!(rewind.attempt().is_none());
    }

    // Its end would come right after the error, and the server would take half of an upload for a whole one.
    #[tokio::test]
    async fn a_body_that_failed_cannot_begin_again() {
        let frames = [Ok(Frame::data(Bytes::from_static(b"one"))), Err(Status::internal("no second one"))];
        let rewind = Rewind::new(Body::new(StreamBody::new(tokio_stream::iter(frames))));
        let mut attempt = rewind.attempt().unwrap();
        assert_eq!(take(&mut attempt, 1).await, b"one");
        assert!(attempt.frame().await.unwrap().is_err());
        assert!(rewind.attempt().is_none());
    }

    #[tokio::test]
    async fn a_body_is_not_asked_again_after_its_end() {
        // Streams may panic then, and this one does.
        let once = futures_util::stream::unfold(true, |first| async move {
            first.then(|| (Ok::<_, Status>(Frame::data(Bytes::from_static(b"one"))), false))
        });
        let rewind = Rewind::new(Body::new(StreamBody::new(once)));
        for _ in 0..2 {
            let mut attempt = rewind.attempt().unwrap();
            assert_eq!(take(&mut attempt, 9).await, b"one");
            assert!(attempt.frame().await.is_none());
        }
    }

    #[tokio::test]
    async fn after_the_commitment_the_attempt_goes_on_and_nothing_is_kept() {
        let rewind = body(&[b"one", b"two", b"three"]);
        let mut first = rewind.attempt().unwrap();
        take(&mut first, 2).await;
        let mut attempt = rewind.attempt().unwrap();
        assert_eq!(take(&mut attempt, 1).await, b"one");
        let shared = Arc::clone(&rewind.0);
        rewind.commit();
        assert_eq!(take(&mut attempt, 9).await, b"twothree");
        assert!(lock(&shared).seen.is_empty());
    }
}
