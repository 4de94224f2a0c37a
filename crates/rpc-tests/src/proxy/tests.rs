use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::soon;

/// A server that sends back what it gets, and the proxy in front of it.
async fn echo(seed: u64) -> (Proxy, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });
    (Proxy::start(address, seed).await.unwrap(), server)
}

async fn exchange(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<Vec<u8>> {
    stream.write_all(bytes).await?;
    let mut back = vec![0; bytes.len()];
    soon("the echo", stream.read_exact(&mut back)).await?;
    Ok(back)
}

/// Everything that still comes.
async fn rest(stream: &mut TcpStream) -> (Vec<u8>, io::Result<()>) {
    let mut all = Vec::new();
    let end = soon("the end", stream.read_to_end(&mut all)).await;
    (all, end.map(drop))
}

#[tokio::test]
async fn bytes_pass_and_connections_are_counted() {
    let (proxy, _server) = echo(0).await;
    for number in 1..=3 {
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(exchange(&mut stream, b"hello").await.unwrap(), b"hello");
        assert_eq!(proxy.connections(), number);
    }
}

#[tokio::test]
async fn a_connection_is_cut_at_the_byte_that_was_said() {
    let (proxy, _server) = echo(0).await;
    for direction in [Direction::ToServer, Direction::ToClient] {
        proxy.plan(Fault::Cut { direction, after_bytes: 7, end: End::Fin });
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(exchange(&mut stream, b"12345").await.unwrap(), b"12345");
        stream.write_all(b"678").await.unwrap();
        let (last, _) = rest(&mut stream).await;
        assert!(last.len() <= 2 && b"67".starts_with(&last[..]), "{last:?}");
    }
    proxy.plan(Fault::Pass);
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(exchange(&mut stream, b"1234567890").await.unwrap(), b"1234567890");
}

#[tokio::test]
async fn a_connection_is_cut_when_either_direction_has_passed_enough() {
    let (proxy, _server) = echo(0).await;
    proxy.plan(Fault::CutEither { after_bytes: 7, end: End::Fin });
    for _ in 0..2 {
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(exchange(&mut stream, b"12345").await.unwrap(), b"12345");
        stream.write_all(b"678").await.unwrap();
        let _ = rest(&mut stream).await;
        assert_eq!(proxy.passed(Direction::ToServer), 7);
        assert!(proxy.passed(Direction::ToClient) <= 7);
    }
}

#[tokio::test]
async fn a_plan_for_the_next_connection_is_not_for_later_ones() {
    let (proxy, _server) = echo(0).await;
    proxy.plan_next(Fault::Cut { direction: Direction::ToServer, after_bytes: 0, end: End::Rst });
    let mut next = TcpStream::connect(proxy.address()).await.unwrap();
    assert!(exchange(&mut next, b"1").await.is_err());
    let mut later = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(exchange(&mut later, b"2").await.unwrap(), b"2");
}

#[tokio::test]
async fn a_delay_counts_for_each_way_and_does_not_add_up() {
    let (proxy, _server) = echo(0).await;
    let one_way = Duration::from_millis(40);
    proxy.plan(Fault::Delay { one_way });
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    let start = tokio::time::Instant::now();
    // Pieces of their own, all under way at the same time.
    for piece in 0..50_u8 {
        stream.write_all(&[piece]).await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut back = [0; 50];
    soon("the echo", stream.read_exact(&mut back)).await.unwrap();
    assert!(back.iter().copied().eq(0..50));
    let took = start.elapsed();
    assert!(took >= 2 * one_way && took < 50 * one_way, "{took:?}");
    proxy.cut(End::Fin);
    assert!(rest(&mut stream).await.0.is_empty());
}

#[tokio::test]
async fn both_ways_to_cut_are_told_apart() {
    let (proxy, _server) = echo(0).await;
    for (end, expected) in [(End::Fin, None), (End::Rst, Some(io::ErrorKind::ConnectionReset))] {
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        exchange(&mut stream, b"x").await.unwrap();
        proxy.cut(end);
        assert_eq!(rest(&mut stream).await.1.err().map(|error| error.kind()), expected);
        let mut later = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(exchange(&mut later, b"y").await.unwrap(), b"y", "a later connection is not concerned");
    }
}

#[tokio::test]
async fn a_stalled_connection_takes_bytes_and_gives_none() {
    let (proxy, _server) = echo(0).await;
    for direction in [Direction::ToServer, Direction::ToClient] {
        for planned in [true, false] {
            let plan = if planned { Fault::Stall { direction, after_bytes: 1 } } else { Fault::Pass };
            proxy.plan(plan);
            let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
            exchange(&mut stream, b"1").await.unwrap();
            proxy.stall(direction);
            stream.write_all(&[b'x'; 100_000]).await.unwrap();
            let silence = tokio::time::timeout(Duration::from_millis(50), stream.read_u8()).await;
            assert!(silence.is_err(), "{silence:?}");
            proxy.cut(End::Fin);
            assert!(rest(&mut stream).await.0.is_empty());
        }
    }
}

#[tokio::test]
async fn refused_connections_end_at_once() {
    let (proxy, _server) = echo(0).await;
    proxy.refuse(true);
    let refused = match TcpStream::connect(proxy.address()).await {
        Ok(mut stream) => rest(&mut stream).await.1,
        Err(error) => Err(error),
    };
    assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    assert_eq!(proxy.connections(), 0);
    proxy.refuse(false);
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(exchange(&mut stream, b"x").await.unwrap(), b"x");
}

#[tokio::test]
async fn later_connections_overtake_one_that_is_held() {
    let (proxy, _server) = echo(0).await;
    proxy.plan(Fault::Hold);
    let mut held = TcpStream::connect(proxy.address()).await.unwrap();
    held.write_all(b"first").await.unwrap();
    let accepted = async {
        while proxy.connections() < 1 {
            tokio::task::yield_now().await;
        }
    };
    soon("the accept", accepted).await;
    proxy.plan(Fault::Pass);
    let mut later = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(exchange(&mut later, b"second").await.unwrap(), b"second");
    let silence = tokio::time::timeout(Duration::from_millis(20), held.read_u8()).await;
    assert!(silence.is_err(), "{silence:?}");
    proxy.release();
    let mut back = [0; 5];
    soon("the echo", held.read_exact(&mut back)).await.unwrap();
    assert_eq!(&back, b"first");
}

#[test]
fn the_seed_decides_where_connections_are_cut() {
    let plan = Fault::CutSomewhere { bytes_max: 1_000, end: End::Rst };
    let cuts = |seed| (0..50).map(|number| settle(plan, seed, number)).collect::<Vec<_>>();
    assert_eq!(cuts(1), cuts(1));
    assert_ne!(cuts(1), cuts(2));
    let directions = |wanted| {
        cuts(1)
            .iter()
            .filter(|cut| matches!(cut, Fault::Cut { direction, .. } if *direction == wanted))
            .count()
    };
    assert!(directions(Direction::ToServer) > 10 && directions(Direction::ToClient) > 10);
    assert!(cuts(1).iter().all(|cut| matches!(cut, Fault::Cut { after_bytes: 0..1_000, .. })));
    assert_eq!(settle(Fault::Pass, 1, 1), Fault::Pass);
}
