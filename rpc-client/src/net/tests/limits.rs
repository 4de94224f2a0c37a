//! Bounds hold, and those who wait at them wait on our side.

use super::*;

/// Gives tasks that could run the time to do so.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

fn one_connection() -> Config {
    Config::default().connections(1)
}

#[tokio::test]
async fn calls_beyond_the_peers_limit_wait_where_they_can_be_taken_back() {
    let server = Server::start_with(Shared { streams_max: Some(2), ..Shared::default() }).await;
    let connections = server.connections(one_connection());
    echo(&connections).await.unwrap();
    let mut open = Vec::new();
    for _ in 0..2 {
        open.push(connections.send(post("/open"), SendOptions::default()).await.unwrap());
    }
    let error = connections.send(post("/echo"), within(Duration::from_millis(20))).await.unwrap_err();
    assert!(matches!(error, SendError::NotSent { cause: NotSent::Deadline(None), .. }), "{error}");
    assert_eq!(*server.shared.started.borrow(), 3, "the third call never came");

    let waiting = connections.clone();
    let third = tokio::spawn(async move { echo(&waiting).await });
    settle().await;
    assert_eq!(connections.live().borrow()[0].in_flight(), 3);
    open.pop();
    assert_eq!(timeout(SOON, third).await.unwrap().unwrap().unwrap(), "/echo");
}

#[tokio::test]
async fn our_own_limit_holds_where_the_peer_has_none() {
    let server = Server::start().await;
    let connections = server.connections(one_connection().calls_open_max(1));
    let open = connections.send(post("/open"), SendOptions::default()).await.unwrap();
    let error = connections.send(post("/echo"), within(Duration::from_millis(20))).await.unwrap_err();
    assert!(matches!(error, SendError::NotSent { cause: NotSent::Deadline(None), .. }), "{error}");
    drop(open);
    assert_eq!(timeout(SOON, echo(&connections)).await.unwrap().unwrap(), "/echo");
}

#[tokio::test]
async fn one_more_waiting_call_than_allowed_is_sent_away() {
    let server = Server::start().await;
    let connections = server.connections(one_connection().calls_open_max(1).calls_waiting_max(1));
    let _open = connections.send(post("/open"), SendOptions::default()).await.unwrap();
    let waiting = connections.clone();
    let waiting = tokio::spawn(async move { echo(&waiting).await });
    settle().await;
    let error = echo(&connections).await.unwrap_err();
    assert!(matches!(error, SendError::NotSent { cause: NotSent::TooManyWaiting(1), .. }), "{error}");
    waiting.abort();

    let dials = watch::Sender::new(0);
    let connections = nowhere(Config::default().calls_waiting_max(1).connector(refusing(&dials)));
    let waiting = connections.clone();
    let waiting = tokio::spawn(async move { echo(&waiting).await });
    reaches(&dials, 1).await;
    settle().await;
    let error = echo(&connections).await.unwrap_err();
    assert!(matches!(error, SendError::NotSent { cause: NotSent::TooManyWaiting(1), .. }), "{error}");
    waiting.abort();
}

#[tokio::test]
async fn dropping_a_call_resets_its_own_stream_and_no_other() {
    let server = Server::start().await;
    let connections = server.connections(one_connection());
    let dropped = connections.send(post("/open"), SendOptions::default()).await.unwrap();
    let waiting = connections.clone();
    let kept = tokio::spawn(async move { waiting.send(post("/wait"), SendOptions::default()).await });
    server.started(2).await;
    let waiting = connections.clone();
    let aborted = tokio::spawn(async move { waiting.send(post("/wait"), SendOptions::default()).await });
    server.started(3).await;
    let connection = connections.live().borrow()[0].clone();
    assert_eq!(connection.in_flight(), 3);

    drop(dropped);
    aborted.abort();
    let mut told = server.shared.started.subscribe();
    timeout(SOON, told.wait_for(|_| server.dropped() == 2)).await.unwrap().unwrap();
    settle().await;
    assert_eq!(connection.in_flight(), 1);
    server.shared.go_on.notify_one();
    assert_eq!(kept.await.unwrap().unwrap().into_body().collect().await.unwrap().to_bytes(), "/wait");
    assert_eq!(connection.in_flight(), 0);
    assert_eq!(*server.shared.accepted.borrow(), 1);
}

/// h2 counts the resets of a connection's whole life and says goodbye at 1,024, with all other calls on it.
#[tokio::test]
async fn thousands_of_cancelled_downloads_cost_no_connection() {
    let server = Server::start().await;
    let connections = server.connections(one_connection());
    for _ in 0..2_000 {
        drop(connections.send(post("/open"), SendOptions::default()).await.unwrap());
    }
    assert_eq!(echo(&connections).await.unwrap(), "/echo");
    assert_eq!(*server.shared.accepted.borrow(), 1);
}
