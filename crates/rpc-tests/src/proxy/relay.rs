//! One connection: bytes both ways, until a fault or an order ends it.

use std::io;
use std::net::SocketAddr;
use std::ops::ControlFlow;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::{Direction, End, Fault};

/// Orders for all connections there are, each counted, so that one made later does not obey an older order.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Orders {
    pub(super) fins: u64,
    pub(super) resets: u64,
    pub(super) stalls_to_server: u64,
    pub(super) stalls_to_client: u64,
    pub(super) releases: u64,
}

/// The orders that one connection obeys: those that were given since it was made.
#[derive(Clone)]
pub(super) struct Standing {
    began: Orders,
    orders: watch::Receiver<Orders>,
}

impl Standing {
    /// Orders from now on.
    pub(super) fn new(orders: watch::Receiver<Orders>) -> Self {
        let began = *orders.borrow();
        Self { began, orders }
    }

    /// Whether nothing arrives any more in that direction.
    fn is_stalled(&self, direction: Direction) -> bool {
        let now = self.orders.borrow();
        match direction {
            Direction::ToServer => now.stalls_to_server > self.began.stalls_to_server,
            Direction::ToClient => now.stalls_to_client > self.began.stalls_to_client,
        }
    }

    /// Waits until the connection is to be cut.
    async fn cut(&mut self) -> End {
        let began = self.began;
        match self.orders.wait_for(|now| now.fins > began.fins || now.resets > began.resets).await {
            Ok(now) if now.resets > began.resets => End::Rst,
            // The proxy is gone, and its connections with it.
            Ok(_) | Err(_) => End::Fin,
        }
    }

    /// Waits until held connections may go on.
    async fn released(&mut self) {
        let began = self.began.releases;
        // The proxy is gone, and its connections with it.
        let _ = self.orders.wait_for(|now| now.releases > began).await;
    }
}

/// Carries one connection to its end.
pub(super) async fn relay(
    mut client: TcpStream,
    upstream: SocketAddr,
    fault: Fault,
    standing: Standing,
) -> io::Result<()> {
    if fault == Fault::Hold {
        let (mut cut, mut release) = (standing.clone(), standing.clone());
        tokio::select! {
            _ = cut.cut() => return client.set_zero_linger(),
            () = release.released() => {}
        }
    }
    let mut server = TcpStream::connect(upstream).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let cut = tokio::select! {
        cut = pump(from_client, to_server, Pump::new(Direction::ToServer, fault, standing.clone())) => cut?,
        cut = pump(from_server, to_client, Pump::new(Direction::ToClient, fault, standing)) => cut?,
    };
    match cut {
        End::Fin => {
            // The client first: what it was sent is to arrive.
            client.shutdown().await?;
            server.shutdown().await
        }
        End::Rst => {
            client.set_zero_linger()?;
            server.set_zero_linger()
        }
    }
}

/// What one direction of a connection obeys.
struct Pump {
    direction: Direction,
    fault: Fault,
    passed: u64,
    standing: Standing,
}

impl Pump {
    fn new(direction: Direction, fault: Fault, standing: Standing) -> Self {
        Self { direction, fault, passed: 0, standing }
    }

    /// How many of `bytes` pass, and whether the connection is cut then.
    fn judge(&mut self, bytes: usize) -> (usize, ControlFlow<End>) {
        let left = |limit: u64, passed: u64| usize::try_from(limit - passed).unwrap_or(usize::MAX).min(bytes);
        let (passing, flow) = match self.fault {
            _ if self.is_silenced() => (0, ControlFlow::Continue(())),
            Fault::Cut { direction, after_bytes, end } if direction == self.direction => {
                let passing = left(after_bytes, self.passed);
                let done = self.passed + passing as u64 == after_bytes;
                (passing, if done { ControlFlow::Break(end) } else { ControlFlow::Continue(()) })
            }
            Fault::Stall { direction, after_bytes } if direction == self.direction => {
                (left(after_bytes, self.passed), ControlFlow::Continue(()))
            }
            Fault::Pass
            | Fault::Hold
            | Fault::Cut { .. }
            | Fault::CutSomewhere { .. }
            | Fault::Stall { .. } => (bytes, ControlFlow::Continue(())),
        };
        self.passed += passing as u64;
        (passing, flow)
    }

    /// Whether an order or the plan says that nothing arrives any more, the end neither.
    fn is_silenced(&self) -> bool {
        let planned = matches!(self.fault, Fault::Stall { direction, after_bytes }
            if direction == self.direction && self.passed >= after_bytes);
        planned || self.standing.is_stalled(self.direction)
    }
}

/// Moves bytes until the connection is to be cut. The end of one direction ends both: HTTP/2 knows no half-closed
/// connections.
async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut state: Pump,
) -> io::Result<End> {
    let mut buffer = vec![0; 16 << 10];
    loop {
        let read = tokio::select! {
            biased;
            end = state.standing.cut() => return Ok(end),
            read = from.read(&mut buffer) => read?,
        };
        if read == 0 {
            if state.is_silenced() {
                return Ok(state.standing.cut().await);
            }
            return Ok(End::Fin);
        }
        let (passing, flow) = state.judge(read);
        to.write_all(&buffer[..passing]).await?;
        if let ControlFlow::Break(end) = flow {
            return Ok(end);
        }
    }
}
