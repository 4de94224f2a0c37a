//! A connection to cut: passes bytes between callers and one server until it is told to stop.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinSet, yield_now};

/// What is read at once.
const READ_BYTES: usize = 64 << 10;

/// Passes bytes to `server` while [`run`](Relay::run) is polled.
pub struct Relay {
    listener: TcpListener,
    server: SocketAddr,
    scissors: Scissors,
    plan: Arc<Plan>,
}

/// Cuts every connection through a [`Relay`]. New ones pass.
#[derive(Clone)]
pub struct Scissors(Arc<watch::Sender<u64>>);

/// What to do when so many bytes have passed, and how far it is from there.
struct Plan {
    /// Bytes that have passed, both ways and over all connections.
    passed: AtomicU64,
    /// After how many of them something is to be done, in ascending order.
    marks: Mutex<VecDeque<u64>>,
    /// Does it.
    reached: Box<dyn Fn(u64) + Send + Sync>,
}

impl Scissors {
    /// Scissors for a relay that comes later.
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(0)))
    }

    /// Cuts.
    pub fn cut(&self) {
        self.0.send_modify(|cuts| *cuts += 1);
    }

    /// How often it was cut.
    pub fn cuts(&self) -> u64 {
        *self.0.borrow()
    }
}

impl Default for Scissors {
    fn default() -> Self {
        Self::new()
    }
}

impl Relay {
    /// A relay on a port that the system chooses.
    ///
    /// # Errors
    ///
    /// The system has no port.
    pub async fn bind(server: SocketAddr, scissors: &Scissors) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let plan = Plan { passed: AtomicU64::new(0), marks: Mutex::default(), reached: Box::new(|_| ()) };
        Ok(Self { listener, server, scissors: scissors.clone(), plan: Arc::new(plan) })
    }

    /// Calls `reached` each time when so many bytes have passed, both ways and over all connections together.
    #[must_use]
    pub fn when_passed<const N: usize>(
        mut self,
        bytes: [u64; N],
        reached: impl Fn(u64) + Send + Sync + 'static,
    ) -> Self {
        let (passed, marks) = (AtomicU64::new(0), Mutex::new(bytes.into()));
        self.plan = Arc::new(Plan { passed, marks, reached: Box::new(reached) });
        self
    }

    /// Where callers connect.
    ///
    /// # Errors
    ///
    /// The socket is broken.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Passes bytes for ever.
    pub async fn run(self) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = self.listener.accept() => {
                    if let Ok((caller, _)) = accepted {
                        connections.spawn(pass(caller, self.server, self.scissors.clone(), Arc::clone(&self.plan)));
                    }
                }
                Some(_) = connections.join_next() => {}
            }
        }
    }
}

async fn pass(caller: TcpStream, server: SocketAddr, scissors: Scissors, plan: Arc<Plan>) {
    let mut cuts = scissors.0.subscribe();
    let Ok(server) = TcpStream::connect(server).await else { return };
    let (from_caller, to_caller) = caller.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        // The cut first: no byte passes after it.
        biased;
        _ = cuts.changed() => {}
        // Whichever side ends first, both are closed.
        () = one_way(from_caller, to_server, &plan) => {}
        () = one_way(from_server, to_caller, &plan) => {}
    }
}

async fn one_way(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, plan: &Plan) {
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let most = plan.bytes_to_mark().min(READ_BYTES as u64) as usize;
        match from.read(&mut buffer[..most]).await {
            Ok(bytes @ 1..) if to.write_all(&buffer[..bytes]).await.is_ok() => {
                if plan.reaches_mark_by(bytes as u64) {
                    // Others come first, such as whoever cuts.
                    yield_now().await;
                }
            }
            Ok(_) | Err(_) => return,
        }
    }
}

impl Plan {
    /// How many bytes may still pass before something is to be done; at least one.
    fn bytes_to_mark(&self) -> u64 {
        let marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        marks.front().map_or(u64::MAX, |at| at.saturating_sub(self.passed.load(Ordering::Relaxed)).max(1))
    }

    /// So many have passed; true if something was done.
    fn reaches_mark_by(&self, bytes: u64) -> bool {
        let passed = self.passed.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        let due = if marks.front().is_some_and(|at| *at <= passed) { marks.pop_front() } else { None };
        drop(marks);
        if let Some(at) = due {
            (self.reached)(at);
        }
        due.is_some()
    }
}
