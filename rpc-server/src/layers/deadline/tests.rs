use std::convert::Infallible;

use bytes::Bytes;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use rpc_core::policy::{Delivery, MethodKind, MethodPolicy, Record};
use rpc_proto::status::Details;
use tokio::time::sleep;
use tokio_stream::StreamExt;
use tonic::Code;
use tower::ServiceExt;

use super::*;

const PROTECTED: MethodPolicy = MethodPolicy {
    delivery: Delivery::AtMostOnce,
    record: Record::Memory,
    timeout: Some(Duration::from_secs(5)),
    ..MethodPolicy::plain("/a.B/C", MethodKind::Unary)
};

fn request(timeout: Option<&'static str>) -> Request<Body> {
    let mut request = Request::new(Body::empty());
    if let Some(timeout) = timeout {
        request.headers_mut().insert("grpc-timeout", timeout.parse().unwrap());
    }
    request
}

async fn answer_after(seconds: u64, request: Request<Body>) -> Response<Body> {
    let handler = tower::service_fn(move |_: Request<Body>| async move {
        sleep(Duration::from_secs(seconds)).await;
        Ok::<_, Infallible>(Response::new(Body::empty()))
    });
    DeadlineLayer::new().layer(handler).oneshot(request).await.unwrap()
}

fn status(response: &Response<Body>) -> Option<Status> {
    Status::from_header_map(response.headers())
}

//= test C-43
#[tokio::test(start_paused = true)]
async fn a_call_over_its_time_is_deadline_exceeded() {
    let told = status(&answer_after(3, request(Some("2S"))).await).unwrap();
    assert_eq!(told.code(), Code::DeadlineExceeded);
    assert_eq!(Details::of(&told).reason, Some(Reason::DeadlineExceeded));
    assert_eq!(Details::of(&told).outcome, None, "a plain call has no outcome to tell");
    assert!(status(&answer_after(1, request(Some("2S"))).await).is_none());
    assert!(status(&answer_after(3_600, request(None)).await).is_none());
}

//= test C-41
//= test C-44
#[tokio::test(start_paused = true)]
async fn the_shorter_of_callers_and_methods_time_counts() {
    for (asked, takes, late) in [
        (None, 6, true),
        (None, 4, false),
        (Some("9S"), 6, true),
        (Some("3S"), 4, true),
        (Some("3S"), 2, false),
    ] {
        let mut request = request(asked);
        request.extensions_mut().insert(Seen { policy: Some(&PROTECTED), is_upkeep: false });
        let told = status(&answer_after(takes, request).await);
        assert_eq!(told.is_some(), late, "{asked:?} {takes}");
        if let Some(told) = told {
            assert_eq!(Details::of(&told).outcome, Some(Outcome::Unknown));
        }
    }
}

#[tokio::test]
async fn a_timeout_that_is_none_is_refused() {
    let told = status(&answer_after(0, request(Some("soon"))).await).unwrap();
    assert_eq!(Details::of(&told).reason, Some(Reason::HeaderInvalid));
}

//= test C-46
#[tokio::test(start_paused = true)]
async fn the_handler_learns_its_deadline() {
    let handler = tower::service_fn(|request: Request<Body>| async move {
        let left = request.extensions().get::<Deadline>().unwrap().0 - Instant::now();
        assert_eq!(left, Duration::from_secs(2));
        Ok::<_, Infallible>(Response::new(Body::empty()))
    });
    DeadlineLayer::new().layer(handler).oneshot(request(Some("2S"))).await.unwrap();
}

//= test C-41
#[tokio::test(start_paused = true)]
async fn a_stream_over_its_time_ends_with_the_status_and_without_its_handler() {
    let (alive, ended) = tokio::sync::oneshot::channel::<()>();
    let alive = std::sync::Arc::new(std::sync::Mutex::new(Some(alive)));
    let handler = tower::service_fn(move |_: Request<Body>| {
        let alive = alive.lock().unwrap().take();
        let ticks = tokio_stream::iter(0..100_u32).then(move |_| {
            let _held = &alive;
            let pause = sleep(Duration::from_millis(300));
            async move {
                pause.await;
                Ok::<_, Status>(Frame::data(Bytes::from_static(b"tick")))
            }
        });
        async move { Ok::<_, Infallible>(Response::new(Body::new(StreamBody::new(Box::pin(ticks))))) }
    });
    let response = DeadlineLayer::new().layer(handler).oneshot(request(Some("1S"))).await.unwrap();
    let collected = response.into_body().collect().await.unwrap();
    let told = Status::from_header_map(collected.trailers().unwrap()).unwrap();
    assert_eq!(told.code(), Code::DeadlineExceeded);
    assert_eq!(collected.to_bytes().len(), 3 * 4);
    assert!(ended.await.is_err(), "the stream behind it was dropped");
}
