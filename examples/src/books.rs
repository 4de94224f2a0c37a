//! The bank: ordinary tonic handlers over a map.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rpc_server::SessionExt as _;
use tonic::{Request, Response, Status};

use crate::bank::ledger_server::Ledger;
use crate::bank::{BalanceReply, BalanceRequest, PingReply, PingRequest, TransferReply, TransferRequest};

/// Accounts and their balances. Cheap to clone; every clone is the same bank.
#[derive(Clone)]
pub struct Books {
    inner: Arc<Mutex<Inner>>,
    booked: Arc<dyn Fn() + Send + Sync>,
}

struct Inner {
    balances: BTreeMap<String, u64>,
    transfers: u64,
}

impl Books {
    /// A bank where alice has 1,000.
    pub fn new() -> Self {
        let balances = BTreeMap::from([("alice".to_owned(), 1_000)]);
        Self { inner: Arc::new(Mutex::new(Inner { balances, transfers: 0 })), booked: Arc::new(|| ()) }
    }

    /// Calls `then` each time a transfer was booked, before its caller is answered.
    #[must_use]
    pub fn when_booked(mut self, then: impl Fn() + Send + Sync + 'static) -> Self {
        self.booked = Arc::new(then);
        self
    }

    /// How many transfers were booked.
    pub fn transfers(&self) -> u64 {
        self.lock().transfers
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Books {
    fn default() -> Self {
        Self::new()
    }
}

#[tonic::async_trait]
impl Ledger for Books {
    async fn transfer(&self, request: Request<TransferRequest>) -> Result<Response<TransferReply>, Status> {
        let caller = request.session()?.principal().subject().to_owned();
        let TransferRequest { from, to, amount } = request.into_inner();
        if caller != from {
            return Err(Status::permission_denied("this account is not yours"));
        }
        let balance = self.lock().book(from, to, amount)?;
        (self.booked)();
        Ok(Response::new(TransferReply { balance }))
    }

    async fn balance(&self, request: Request<BalanceRequest>) -> Result<Response<BalanceReply>, Status> {
        let balance = self.lock().balances.get(&request.get_ref().account).copied();
        let balance = balance.ok_or_else(|| Status::not_found("no such account"))?;
        Ok(Response::new(BalanceReply { balance }))
    }

    async fn ping(&self, request: Request<PingRequest>) -> Result<Response<PingReply>, Status> {
        let session = request.session().map_or(0, |session| session.number().value());
        Ok(Response::new(PingReply { session }))
    }
}

impl Inner {
    fn book(&mut self, from: String, to: String, amount: u64) -> Result<u64, Status> {
        let payer = self.balances.get(&from).copied().unwrap_or(0);
        let left = payer
            .checked_sub(amount)
            .ok_or_else(|| Status::failed_precondition(format!("{from} has {payer} only")))?;
        let payee = self.balances.get(&to).copied().unwrap_or(0);
        let received = payee.checked_add(amount).ok_or_else(|| Status::out_of_range("too much money"))?;
        self.balances.insert(from, left);
        self.balances.insert(to, received);
        self.transfers += 1;
        Ok(left)
    }
}
