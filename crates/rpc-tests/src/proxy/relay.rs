//! One connection: bytes both ways, until a fault or an order ends it.

use std::io;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::delay::delayed;
use super::frames::Mute;
use super::{Direction, End, Fault, Passed};

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
    pub(super) async fn cut(&mut self) -> End {
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
    passed: Arc<Passed>,
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
    let new = |direction| Pump::new(direction, fault, standing.clone(), Arc::clone(&passed));
    let cut = match fault {
        Fault::Delay { one_way } => tokio::select! {
            cut = delayed(from_client, to_server, one_way, standing.clone()) => cut?,
            cut = delayed(from_server, to_client, one_way, standing) => cut?,
        },
        _ => tokio::select! {
            cut = pump(from_client, to_server, new(Direction::ToServer)) => cut?,
            cut = pump(from_server, to_client, new(Direction::ToClient)) => cut?,
        },
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

/// What one direction of a connection has in hand at most.
const BUFFER_BYTES: usize = 16 << 10;

/// What one direction of a connection obeys.
struct Pump {
    direction: Direction,
    fault: Fault,
    mute: Option<Mute>,
    passed: u64,
    all_passed: Arc<Passed>,
    standing: Standing,
}

impl Pump {
    fn new(direction: Direction, fault: Fault, standing: Standing, all_passed: Arc<Passed>) -> Self {
        let mute = matches!(fault, Fault::Mute { direction: muted } if muted == direction);
        let mute = mute.then(|| Mute::new(direction));
        Self { direction, fault, mute, passed: 0, all_passed, standing }
    }

    /// Takes out of `bytes` what does not arrive, and tells whether the connection is cut then.
    fn sift(&mut self, bytes: &mut Vec<u8>) -> ControlFlow<End> {
        if let Some(mute) = &mut self.mute {
            mute.keep(bytes);
        }
        let (passing, flow) = self.judge(bytes.len());
        bytes.truncate(passing);
        self.passed += passing as u64;
        self.all_passed.of(self.direction).fetch_add(passing as u64, Ordering::SeqCst);
        flow
    }

    /// How many of `bytes` pass, and whether the connection is cut then.
    fn judge(&self, bytes: usize) -> (usize, ControlFlow<End>) {
        let left = |limit: u64, passed: u64| usize::try_from(limit - passed).unwrap_or(usize::MAX).min(bytes);
        let cut = |after_bytes: u64, end: End| {
            let passing = left(after_bytes, self.passed);
            let done = self.passed + passing as u64 == after_bytes;
            (passing, if done { ControlFlow::Break(end) } else { ControlFlow::Continue(()) })
        };
        match self.fault {
            _ if self.is_silenced() => (0, ControlFlow::Continue(())),
            Fault::Cut { direction, after_bytes, end } if direction == self.direction => {
                cut(after_bytes, end)
            }
            Fault::CutEither { after_bytes, end } => cut(after_bytes, end),
            Fault::Stall { direction, after_bytes } if direction == self.direction => {
                (left(after_bytes, self.passed), ControlFlow::Continue(()))
            }
            Fault::Pass
            | Fault::Hold
            | Fault::Cut { .. }
            | Fault::CutSomewhere { .. }
            | Fault::Mute { .. }
            | Fault::Delay { .. }
            | Fault::Stall { .. } => (bytes, ControlFlow::Continue(())),
        }
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
    let mut buffer = Vec::with_capacity(BUFFER_BYTES);
    loop {
        buffer.clear();
        let read = tokio::select! {
            biased;
            end = state.standing.cut() => return Ok(end),
            read = from.read_buf(&mut buffer) => read?,
        };
        if read == 0 {
            if state.is_silenced() {
                return Ok(state.standing.cut().await);
            }
            return Ok(End::Fin);
        }
        let flow = state.sift(&mut buffer);
        to.write_all(&buffer).await?;
        if let ControlFlow::Break(end) = flow {
            return Ok(end);
        }
    }
}
