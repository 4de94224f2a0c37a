//! What methods promise: the tables that `rpc-build` writes beside the stubs.
//!
//! A table is plain data with a static life. Client, server, gateway and tools read the same one, and both sides of a
//! session compare its [hash](ServicePolicy::hash) when the session is opened.

use std::time::Duration;

/// What holds for one service and its methods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServicePolicy {
    /// Full name, such as `bank.v1.Ledger`.
    pub name: &'static str,
    /// Version compared when a session is opened; 0: not compared.
    pub version: u32,
    /// XXH3-64 of the table as `rpc-build` writes it, without this field.
    pub hash: u64,
    /// The methods in the order of the `.proto` file.
    pub methods: &'static [MethodPolicy],
}

impl ServicePolicy {
    /// The policy of the method named `name` (`Transfer`, not the path).
    pub fn method(&self, name: &str) -> Option<&'static MethodPolicy> {
        self.methods.iter().find(|method| method.name() == name)
    }
}

/// What one method promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MethodPolicy {
    /// Path on the wire, `/bank.v1.Ledger/Transfer`.
    pub path: &'static str,
    /// Which of the two directions stream.
    pub kind: MethodKind,
    /// How often the effect may happen.
    pub delivery: Delivery,
    /// Where the record of the call is kept; only meaningful when [protected](MethodPolicy::is_protected).
    pub record: Record,
    /// What cancellation does to a running handler.
    pub cancellation: Cancellation,
    /// The handler may run again after a crash left its call in doubt.
    pub idempotent: bool,
    /// Longest time for the whole call, all attempts together.
    pub timeout: Option<Duration>,
    /// Scopes that the caller must all hold, the service's where the method names none.
    pub scopes: &'static [&'static str],
    /// Largest reply kept for replay; `None`: the session's bound.
    pub reply_bytes_max: Option<u32>,
    /// When sync points are placed; `None`: no checkpoints.
    pub checkpoint: Option<Checkpoint>,
    /// Class of methods whose calls do not run at the same time; `None`: they do.
    pub exclusive: Option<Exclusive>,
    /// The two sides may say something beside the messages; only with a `checkpoint`.
    pub dialog: bool,
    /// One side speaks at a time; only with a dialog.
    pub half_duplex: bool,
    /// The handler's cancellation token is cancelled when its session lapses, whatever `cancellation` says; only where
    /// [protected](MethodPolicy::is_protected).
    pub dead_man: bool,
}

impl MethodPolicy {
    /// A plain method: no promise, what every gRPC method is by default.
    pub const fn plain(path: &'static str, kind: MethodKind) -> Self {
        Self {
            path,
            kind,
            delivery: Delivery::Plain,
            record: Record::Memory,
            cancellation: Cancellation::Stop,
            idempotent: false,
            timeout: None,
            scopes: &[],
            reply_bytes_max: None,
            checkpoint: None,
            exclusive: None,
            dialog: false,
            half_duplex: false,
            dead_man: false,
        }
    }

    /// The method's own name: what follows the last slash of its path.
    pub fn name(&self) -> &'static str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    /// Whether calls of this method use a slot and are recorded.
    pub const fn is_protected(&self) -> bool {
        matches!(self.delivery, Delivery::AtMostOnce | Delivery::ExactlyOnce)
    }
}

/// The four kinds of gRPC methods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MethodKind {
    /// One request, one response.
    Unary,
    /// Many requests, one response.
    ClientStreaming,
    /// One request, many responses.
    ServerStreaming,
    /// Many of both.
    Bidirectional,
}

impl MethodKind {
    /// Whether either direction streams.
    pub const fn streams(self) -> bool {
        !matches!(self, Self::Unary)
    }
}

/// How often the effect of a call may happen when the call is sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Delivery {
    /// Ordinary gRPC; with or without a session.
    Plain,
    /// The method is idempotent: sent again freely until it is answered.
    AtLeastOnce,
    /// Runs once or not at all; the outcome told is true.
    AtMostOnce,
    /// Effect and reply commit in one transaction of the store.
    ExactlyOnce,
}

/// Where the record of a protected call is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Record {
    /// In the store: survives a crash of the server.
    Durable,
    /// In the server's memory: survives the loss of connections only.
    Memory,
}

/// What happens to a running handler when its caller cancels or its deadline passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cancellation {
    /// It runs to its end and its reply is recorded.
    Finish,
    /// It is dropped at its next await; the outcome of the call is then unknown.
    Stop,
}

/// A class of methods whose calls run one after another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Exclusive {
    /// Its name, 1 to 64 bytes. Methods of several services may name the same class.
    pub class: &'static str,
    /// Within what its calls exclude each other.
    pub scope: ExclusiveScope,
}

/// Within what the calls of an exclusive class exclude each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExclusiveScope {
    /// All sessions of one principal together.
    Principal,
    /// Each session for itself.
    Session,
}

/// When sync points are placed by themselves. At least one of the three is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checkpoint {
    /// At the first end of a batch after this many messages.
    pub every_messages: Option<u32>,
    /// At the first end of a batch after this many bytes.
    pub every_bytes: Option<u64>,
    /// When this much time passed since the last point and something was sent since.
    pub every: Option<Duration>,
    /// Who declares a point secured.
    pub secure: Secure,
}

/// Who declares a sync point secured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Secure {
    /// The session, when the application took a message and asked for the next.
    Automatic,
    /// The application, after its own commit.
    Explicit,
}

/// A type that belongs to one service and knows its policy: generated clients and servers.
///
/// `rpc-build` implements this for `LedgerClient<T>` and `LedgerServer<T>`; nobody else needs to.
pub trait Described {
    /// The policy table of the service.
    const POLICY: &'static ServicePolicy;
}
