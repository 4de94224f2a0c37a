//! The bank: ordinary tonic handlers. Its accounts are in the server's store, so that money and replies change together.

use std::sync::Arc;

use rpc_server::{SessionExt as _, Store, Transaction};
use tonic::{Request, Response, Status};

use crate::bank::ledger_server::Ledger;
use crate::bank::{BalanceReply, BalanceRequest, PingReply, PingRequest, TransferReply, TransferRequest};

/// What alice has until her first transfer is booked.
const OPENING_BALANCE: u64 = 1_000;

/// The bank of a store. Cheap to clone; every clone is the same bank.
#[derive(Clone)]
pub struct Books {
    store: Arc<dyn Store>,
}

impl Books {
    /// The bank whose accounts are in this store, which must be the server's.
    pub fn new(store: impl Store) -> Self {
        Self { store: Arc::new(store) }
    }
}

#[tonic::async_trait]
impl Ledger for Books {
    async fn transfer(&self, request: Request<TransferRequest>) -> Result<Response<TransferReply>, Status> {
        let caller = request.session()?.principal().subject().to_owned();
        let accounts = request.transaction()?.clone(); // committed with the reply, or not at all
        let TransferRequest { from, to, amount } = request.into_inner();
        if caller != from {
            return Err(Status::permission_denied("this account is not yours"));
        }
        let payer = read(&accounts, &from).await?;
        let left = payer
            .checked_sub(amount)
            .ok_or_else(|| Status::failed_precondition(format!("{from} has {payer} only")))?;
        write(&accounts, &from, left)?;
        let payee = read(&accounts, &to).await?;
        let received = payee.checked_add(amount).ok_or_else(|| Status::out_of_range("too much money"))?;
        write(&accounts, &to, received)?;
        Ok(Response::new(TransferReply { balance: read(&accounts, &from).await? }))
    }

    async fn balance(&self, request: Request<BalanceRequest>) -> Result<Response<BalanceReply>, Status> {
        let (store, account) = (Arc::clone(&self.store), request.into_inner().account);
        let read = tokio::task::spawn_blocking(move || balance(&*store, &account)).await;
        let balance = read.map_err(|_| Status::internal("the read was stopped"))??;
        let balance = balance.ok_or_else(|| Status::not_found("no such account"))?;
        Ok(Response::new(BalanceReply { balance }))
    }

    async fn ping(&self, request: Request<PingRequest>) -> Result<Response<PingReply>, Status> {
        let session = request.session().map_or(0, |session| session.number().value());
        Ok(Response::new(PingReply { session }))
    }
}

/// What a store has on an account; `None` if there is no such account. Blocks.
///
/// # Errors
///
/// The store failed, or has something else there.
pub fn balance(store: &dyn Store, account: &str) -> Result<Option<u64>, Status> {
    let found = store.get(key(account).as_bytes());
    let found = found.map_err(|error| Status::unavailable(error.to_string()))?;
    found.map_or(Ok(opening_balance(account)), |found| decode(&found.value).map(Some))
}

async fn read(accounts: &Transaction, account: &str) -> Result<u64, Status> {
    match accounts.get(key(account)).await? {
        Some(bytes) => decode(&bytes),
        None => Ok(opening_balance(account).unwrap_or(0)),
    }
}

fn write(accounts: &Transaction, account: &str, balance: u64) -> Result<(), Status> {
    Ok(accounts.put(key(account), balance.to_be_bytes().to_vec())?)
}

fn opening_balance(account: &str) -> Option<u64> {
    (account == "alice").then_some(OPENING_BALANCE)
}

fn key(account: &str) -> String {
    format!("account/{account}")
}

fn decode(bytes: &[u8]) -> Result<u64, Status> {
    let bytes = bytes.try_into().map_err(|_| Status::data_loss("a balance is not 8 bytes"))?;
    Ok(u64::from_be_bytes(bytes))
}
