//! Connections come, go, and come again.

use tokio::{
    io::AsyncWriteExt,
    time::{Instant, sleep},
};

use super::*;

#[tokio::test]
async fn a_call_makes_the_connection_and_finds_its_way() {
    let server = Server::start().await;
    let connections = server.connections(Config::default());
    assert!(matches!(*connections.watch().borrow(), State::Idle));
    let response = connections.send(post("/echo"), SendOptions::default()).await.unwrap();
    assert_eq!(response.headers()["origin"], server.uri.to_string().trim_end_matches('/'));
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "/echo");
    assert!(connections.watch().borrow().is_ready());
    assert_eq!(connections.live().borrow().len(), 1, "one call needs one connection");
}

#[tokio::test]
async fn calls_that_overlap_spread_over_more_connections() {
    let server = Server::start().await;
    let connections = server.connections(Config::default().connections(2));
    let mut open = Vec::new();
    for _ in 0..2 {
        open.push(connections.send(post("/open"), SendOptions::default()).await.unwrap());
    }
    server.accepted(2).await;
    let mut live = connections.live();
    timeout(SOON, live.wait_for(|live| live.len() == 2)).await.unwrap().unwrap();
    for _ in 0..4 {
        open.push(connections.send(post("/open"), SendOptions::default()).await.unwrap());
    }
    let loads: Vec<_> = live.borrow().iter().map(Connection::in_flight).collect();
    assert_eq!(loads, [3, 3]);
}

#[tokio::test]
async fn a_cut_connection_is_dialled_again() {
    let server = Server::start().await;
    let connections = server.connections(Config::default().connections(1));
    echo(&connections).await.unwrap();
    let first = connections.live().borrow()[0].clone();
    for round in 2..5 {
        server.cut();
        server.accepted(round).await;
        assert_eq!(echo(&connections).await.unwrap(), "/echo");
    }
    timeout(SOON, first.closed()).await.unwrap();
    assert!(first.is_closed());
    assert_ne!(connections.live().borrow()[0].key(), first.key());
    let error = first.send(post("/echo"), None).await.unwrap_err();
    assert!(matches!(error, SendError::NotSent { cause: NotSent::Closed, .. }), "{error}");
}

#[tokio::test]
async fn goodbye_is_noticed_at_once_and_running_calls_go_on() {
    let server = Server::start().await;
    let connections = server.connections(Config::default().connections(1));
    let waiting = connections.clone();
    let call = tokio::spawn(async move { waiting.send(post("/wait"), SendOptions::default()).await });
    server.started(1).await;
    let first = connections.live().borrow()[0].clone();
    server.goaway();
    // The call stays open and nobody makes another one, yet the connection is replaced.
    timeout(SOON, first.closed()).await.unwrap();
    server.accepted(2).await;
    assert_eq!(first.in_flight(), 1);
    server.shared.go_on.notify_one();
    let body = call.await.unwrap().unwrap().into_body();
    assert_eq!(body.collect().await.unwrap().to_bytes(), "/wait");
    assert_eq!(first.in_flight(), 0);
    server.ended(1).await;
}

#[tokio::test]
async fn connect_tells_the_first_failure() {
    let dials = watch::Sender::new(0);
    let connections = nowhere(Config::default().connector(refusing(&dials)));
    let error = connections.connect().await.unwrap_err();
    let NotSent::Unavailable(cause) = error else { panic!("{error}") };
    assert_eq!(cause.report().to_string(), "cannot reach nowhere.test: nobody there");
    assert!(connections.watch().borrow().to_string().ends_with("nobody there"));
}

#[tokio::test(start_paused = true)]
async fn dials_are_spaced_by_a_growing_and_bounded_pause() {
    let dials = watch::Sender::new(0);
    let connections = nowhere(Config::default().connections(1).connector(refusing(&dials)));
    _ = connections.connect().await;
    let mut dialled = dials.subscribe();
    let mut last = Instant::now();
    let mut delay = 0.050_f64;
    for _ in 0..20 {
        dialled.changed().await.unwrap();
        let pause = last.elapsed().as_secs_f64();
        // The runtime's clock counts in milliseconds.
        assert!(pause >= delay * 0.49 && pause <= delay + 0.002, "{pause} for {delay}");
        delay = (delay * 1.6).min(10.0);
        last = Instant::now();
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_accepts_and_hangs_up_is_not_dialled_in_a_tight_loop() {
    let dials = Arc::new(AtomicUsize::new(0));
    let counted = dials.clone();
    let connections = nowhere(Config::default().connections(1).connector(in_memory(move |far| {
        counted.fetch_add(1, Ordering::SeqCst);
        async move {
            let mut connection = h2::server::handshake(far).await.unwrap();
            // Long enough for the settings to leave.
            _ = timeout(Duration::from_millis(1), connection.accept()).await;
        }
    })));
    _ = connections.connect().await;
    sleep(Duration::from_secs(60)).await;
    let dials = dials.load(Ordering::SeqCst);
    assert!((10..40).contains(&dials), "{dials} dials in a minute");
    let state = connections.watch().borrow().to_string();
    assert!(state.contains("before it answered"), "{state}");
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_and_another_protocol_never_become_a_connection() {
    let silent = in_memory(|far| async move {
        let _kept = far;
        std::future::pending::<()>().await;
    });
    let connections = nowhere(Config::default().connector(silent));
    let error = connections.connect().await.unwrap_err();
    let NotSent::Unavailable(cause) = error else { panic!("{error}") };
    assert!(matches!(*cause, ConnectError::Timeout { step: ConnectStep::Http2, .. }), "{cause}");

    let http1 = in_memory(|mut far| async move {
        far.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        std::future::pending::<()>().await;
    });
    let connections = nowhere(Config::default().connector(http1));
    let error = connections.connect().await.unwrap_err();
    assert!(
        matches!(&error, NotSent::Unavailable(cause) if matches!(**cause, ConnectError::NotHttp2)),
        "{error:?}"
    );
}

#[tokio::test]
async fn shutdown_lets_calls_end_and_takes_no_more() {
    let server = Server::start().await;
    let connections = server.connections(Config::default());
    let waiting = connections.clone();
    let call = tokio::spawn(async move { waiting.send(post("/wait"), SendOptions::default()).await });
    server.started(1).await;
    let closing = connections.clone();
    let shutdown = tokio::spawn(async move { closing.shutdown(SOON).await });
    let mut state = connections.watch();
    timeout(SOON, state.wait_for(|state| matches!(state, State::Shutdown))).await.unwrap().unwrap();
    let error = echo(&connections).await.unwrap_err();
    assert!(matches!(error, SendError::NotSent { cause: NotSent::Shutdown, .. }), "{error}");
    server.shared.go_on.notify_one();
    assert_eq!(call.await.unwrap().unwrap().into_body().collect().await.unwrap().to_bytes(), "/wait");
    assert_eq!(shutdown.await.unwrap(), Drained::Whole);
    server.ended(1).await;
}

#[tokio::test]
async fn shutdown_cuts_what_does_not_end() {
    let server = Server::start().await;
    let connections = server.connections(Config::default());
    let waiting = connections.clone();
    let call = tokio::spawn(async move { waiting.send(post("/wait"), SendOptions::default()).await });
    server.started(1).await;
    let drained = timeout(SOON, connections.shutdown(Duration::from_millis(20))).await.unwrap();
    assert_eq!(drained, Drained::Cut);
    assert!(matches!(call.await.unwrap(), Err(SendError::Lost { .. })));
    assert_eq!(timeout(SOON, connections.shutdown(SOON)).await.unwrap(), Drained::Whole, "twice is harmless");
}

#[tokio::test(start_paused = true)]
async fn shutdown_sends_waiting_calls_away() {
    let dials = watch::Sender::new(0);
    let connections = nowhere(Config::default().connector(refusing(&dials)));
    let waiting = connections.clone();
    let call = tokio::spawn(async move { echo(&waiting).await });
    reaches(&dials, 3).await;
    assert_eq!(connections.shutdown(Duration::from_secs(1)).await, Drained::Whole);
    assert!(matches!(call.await.unwrap(), Err(SendError::NotSent { cause: NotSent::Shutdown, .. })));
}

#[tokio::test]
async fn dropping_the_last_handle_ends_each_connection_with_its_last_call() {
    let server = Server::start().await;
    let connections = server.connections(Config::default());
    let state = connections.watch();
    let call = connections.send(post("/open"), SendOptions::default()).await.unwrap();
    let also_kept = connections.live();
    drop(connections);
    assert!(matches!(*state.borrow(), State::Shutdown));
    assert_eq!(also_kept.borrow().len(), 0);
    assert_eq!(server.dropped(), 0, "the call goes on");
    drop(call);
    server.ended(1).await;
    assert_eq!(server.dropped(), 1);
}

#[test]
fn without_a_runtime_there_is_an_error_and_no_panic() {
    let result = Connections::new(Uri::from_static("http://localhost:1"), Config::default());
    assert!(matches!(result, Err(SetupError::NoRuntime)));
}

// A server that is being drained behind a balancer answers each new connection's first call and says goodbye.
#[tokio::test(start_paused = true)]
async fn a_peer_that_answers_and_leaves_at_once_is_not_dialled_in_a_tight_loop() {
    let dials = watch::Sender::new(0_usize);
    let dialled = dials.clone();
    let config = Config::default().connections(1).connector(in_memory(move |io| {
        dialled.send_modify(|count| *count += 1);
        async {
            let service =
                service_fn(|_| async { Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())) });
            let connection =
                http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(io), service);
            let mut connection = std::pin::pin!(connection);
            // Long enough for one answer, in a time that stands still while anybody is busy.
            tokio::select! {
                _ = connection.as_mut() => return,
                () = sleep(Duration::from_millis(1)) => connection.as_mut().graceful_shutdown(),
            }
            _ = connection.await;
        }
    }));
    let connections = nowhere(config);
    let end = Instant::now() + Duration::from_secs(10);
    while Instant::now() < end {
        _ = connections.send_with(|| post("/echo"), within(Duration::from_secs(5))).await;
        sleep(Duration::from_millis(2)).await;
    }
    let dials = *dials.borrow();
    assert!((20..=400).contains(&dials), "{dials} dials in 10 s");
}
