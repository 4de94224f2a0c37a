//! One live HTTP/2 connection.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use http::{
    Request, Response, Uri,
    uri::{Authority, PathAndQuery, Scheme},
};
use hyper::client::conn::http2::SendRequest;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tonic::body::Body;

use super::{
    error::{NotSent, SendError},
    gate::{Entry, Gate, Outgoing, Refusal, ResponseBody},
};

/// Tells connections of one set apart; never used twice in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionKey(pub(super) u64);

impl fmt::Display for ConnectionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// One live connection, for requests that belong to it and to no other.
///
/// A cheap handle. Keeping it keeps nothing alive: the connection ends when the peer, the network or the set of
/// connections says so, and the handle then answers [`NotSent::Closed`].
#[derive(Clone)]
pub struct Connection(Arc<Inner>);

struct Inner {
    key: ConnectionKey,
    origin: Origin,
    /// Gone as soon as the connection takes no more requests. A request that is put into hyper's channel in the
    /// instant in which the other end is dropped stays in there until the last sender is dropped, too. Were a sender
    /// kept here, which that very request's caller keeps alive, the caller would wait for ever.
    sender: Mutex<Option<SendRequest<Outgoing>>>,
    gate: Arc<Gate>,
    answered: AtomicBool,
    retired: CancellationToken,
}

impl Connection {
    pub(super) fn new(
        key: ConnectionKey,
        origin: Origin,
        sender: SendRequest<Outgoing>,
        gate: Arc<Gate>,
    ) -> Self {
        let retired = CancellationToken::new();
        let sender = Mutex::new(Some(sender));
        Self(Arc::new(Inner { key, origin, sender, gate, answered: AtomicBool::new(false), retired }))
    }

    /// Sends `request` on this connection, or not at all; it is never replayed elsewhere.
    ///
    /// Scheme and authority of the request are those of the target, whatever it says. Waits for room on the
    /// connection, at most until `deadline`; once sent, the deadline is the caller's to watch.
    ///
    /// # Errors
    ///
    /// As [`SendError`] says: [`NotSent`](SendError::NotSent) with the request,
    /// [`NotProcessed`](SendError::NotProcessed) or [`Lost`](SendError::Lost).
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is sent, the request was never sent; after that its stream is reset, and only its.
    pub async fn send(
        &self,
        request: Request<Body>,
        deadline: Option<Instant>,
    ) -> Result<Response<ResponseBody>, SendError> {
        self.send_boxed(Box::new(request), deadline).await
    }

    /// As [`send`](Self::send). In a box, because each future that hands a request on to the next has room for it twice.
    pub(super) async fn send_boxed(
        &self,
        mut request: Box<Request<Body>>,
        deadline: Option<Instant>,
    ) -> Result<Response<ResponseBody>, SendError> {
        self.0.origin.apply(request.uri_mut());
        let mut entry = match self.enter(deadline).await {
            Ok(entry) => entry,
            Err(cause) => return Err(SendError::NotSent { request, cause }),
        };
        let Some(mut sender) = self.sender().clone() else {
            return Err(SendError::NotSent { request, cause: NotSent::Closed });
        };
        let sent = sender.try_send_request(request.map(|body| entry.outgoing(body)));
        drop(sender);
        match sent.await {
            Ok(response) => {
                if !self.0.answered.load(Ordering::Relaxed) {
                    self.0.answered.store(true, Ordering::Relaxed);
                }
                Ok(response.map(|incoming| entry.response(incoming)))
            }
            Err(mut error) => Err(match error.take_message() {
                Some(request) => SendError::not_sent(request.map(Outgoing::into_body), NotSent::Closed),
                None => SendError::judge(error.into_error(), entry.begun()),
            }),
        }
    }

    /// Waits until the connection takes no more requests. Calls that run on it may still come to their end.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn closed(&self) {
        self.0.retired.cancelled().await;
    }

    /// Returns what tells this connection from the others of its set.
    pub fn key(&self) -> ConnectionKey {
        self.0.key
    }

    /// Tells whether the connection takes no more requests.
    pub fn is_closed(&self) -> bool {
        self.0.gate.is_closed()
    }

    /// Counts the calls on this connection, those waiting for room included. A call counts until its request and
    /// response have both ended or were dropped.
    pub fn in_flight(&self) -> usize {
        self.0.gate.load()
    }

    /// Lets no more requests in.
    pub(super) fn retire(&self) {
        self.0.gate.close();
        self.sender().take();
        self.0.retired.cancel();
    }

    /// Tells whether any call was ever answered here.
    pub(super) fn has_answered(&self) -> bool {
        self.0.answered.load(Ordering::Relaxed)
    }

    fn sender(&self) -> MutexGuard<'_, Option<SendRequest<Outgoing>>> {
        // Only ever cloned or taken under the lock: no panic leaves it half changed.
        self.0.sender.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn enter(&self, deadline: Option<Instant>) -> Result<Entry, NotSent> {
        let entering = self.0.gate.enter();
        let entered = match deadline {
            None => entering.await,
            Some(deadline) => timeout_at(deadline, entering).await.map_err(|_| NotSent::Deadline(None))?,
        };
        entered.map_err(|refusal| match refusal {
            Refusal::Closed => NotSent::Closed,
            Refusal::Full(waiting) => NotSent::TooManyWaiting(waiting),
        })
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("key", &self.key())
            .field("in_flight", &self.in_flight())
            .field("closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}

/// Scheme and authority of the target, as they stand in every request.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    pub(super) scheme: Scheme,
    pub(super) authority: Authority,
}

impl Origin {
    /// Completes the URI of a request, of which stubs only know the path.
    fn apply(&self, uri: &mut Uri) {
        let mut parts = std::mem::take(uri).into_parts();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        parts.path_and_query.get_or_insert(PathAndQuery::from_static("/"));
        // All three parts are there, which is the one condition; the default would be refused by h2.
        *uri = Uri::from_parts(parts).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_carry_the_origin_of_the_target() {
        let origin = Origin { scheme: Scheme::HTTPS, authority: Authority::from_static("ledger.test:50051") };
        for (given, sent) in [
            ("/bank.v1.Ledger/Transfer", "https://ledger.test:50051/bank.v1.Ledger/Transfer"),
            ("http://elsewhere/a?b=c", "https://ledger.test:50051/a?b=c"),
            ("elsewhere:80", "https://ledger.test:50051/"),
        ] {
            let mut uri: Uri = given.parse().unwrap();
            origin.apply(&mut uri);
            assert_eq!(uri.to_string(), sent);
        }
    }
}
