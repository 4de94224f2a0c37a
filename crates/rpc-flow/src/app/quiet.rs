//! Whether a body that has nothing ready means it.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use http_body::{Body, Frame};
use tokio::task::coop;

/// What came of polling a body.
pub(super) enum Polled<D, E> {
    Ready(Option<Result<Frame<D>, E>>),
    /// It has nothing, until something happens outside of it.
    Quiet,
    /// It has nothing at this moment, and its task will be polled again at once.
    Soon,
}

/// Polls `body` and looks why it has nothing. A body that yields for the sake of other tasks is not at its end: it has
/// woken itself, or used up its share of the turn.
pub(super) fn poll<B: Body>(body: Pin<&mut B>, cx: &mut Context<'_>) -> Polled<B::Data, B::Error> {
    let task = Arc::new(Watched { task: cx.waker().clone(), woken: AtomicBool::new(false) });
    let waker = Waker::from(Arc::clone(&task));
    match body.poll_frame(&mut Context::from_waker(&waker)) {
        Poll::Ready(next) => Polled::Ready(next),
        Poll::Pending if task.woken.load(Ordering::Acquire) => Polled::Soon,
        Poll::Pending if !coop::has_budget_remaining() => {
            cx.waker().wake_by_ref();
            Polled::Soon
        }
        Poll::Pending => Polled::Quiet,
    }
}

/// A task's waker that remembers its use.
struct Watched {
    task: Waker,
    woken: AtomicBool,
}

impl Wake for Watched {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.task.wake_by_ref();
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::pin::pin;

    use bytes::Bytes;
    use tokio::sync::mpsc;
    use tokio_stream::StreamExt as _;
    use tokio_stream::wrappers::ReceiverStream;
    use tonic::codec::{Codec as _, EncodeBody};
    use tonic_prost::ProstCodec;

    use super::*;

    /// Polls to the first quiet moment; how many times that took, and how many bytes came.
    async fn until_quiet<B: Body<Data = Bytes>>(body: B) -> (usize, usize) {
        let mut body = pin!(body);
        let (mut turns, mut bytes) = (0, 0);
        std::future::poll_fn(|cx| {
            turns += 1;
            loop {
                match poll(body.as_mut(), cx) {
                    Polled::Ready(Some(Ok(frame))) => bytes += frame.data_ref().map_or(0, Bytes::len),
                    Polled::Ready(_) => panic!("it has no end"),
                    Polled::Quiet => return Poll::Ready(()),
                    Polled::Soon => return Poll::Pending,
                }
            }
        })
        .await;
        (turns, bytes)
    }

    /// A channel of tokio's says that it has nothing when the task has had its share.
    #[tokio::test]
    async fn a_full_channel_is_not_quiet_before_it_is_empty() {
        let (to, messages) = mpsc::channel(1_000);
        for _ in 0..1_000 {
            to.send(0_u64).await.unwrap();
        }
        let messages = ReceiverStream::new(messages).map(|_| Ok(String::from("x")));
        let encoder = ProstCodec::<String, String>::new().encoder();
        let (turns, bytes) = until_quiet(EncodeBody::new_client(encoder, messages, None, None)).await;
        assert_eq!(bytes, 1_000 * 8);
        assert!(turns > 1, "the share of a turn has grown: this proves nothing");
    }

    #[tokio::test]
    async fn a_body_that_woke_itself_is_not_quiet() {
        struct Yielding(usize);
        impl Body for Yielding {
            type Data = Bytes;
            type Error = Infallible;

            fn poll_frame(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
            ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
                self.0 += 1;
                match self.0 {
                    3 => return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"x"))))),
                    0..3 => cx.waker().wake_by_ref(),
                    _ => {}
                }
                Poll::Pending
            }
        }
        assert_eq!(until_quiet(Yielding(0)).await, (3, 1));
    }
}
