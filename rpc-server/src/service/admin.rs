//! The service for operators: what `session.v1.AdminService` asks, put to the store.

use std::sync::Arc;
use std::time::Duration;

use rpc_core::error::Reason;
use rpc_core::store::operations::{BackupName, OperationError, Operations};
use rpc_proto::admin::{copied_to_wire, statistics_to_wire};
use rpc_proto::pb::session::v1::admin_service_server::AdminService;
use rpc_proto::pb::session::v1::{BackupRequest, BackupResponse, StatsRequest, StatsResponse};
use rpc_proto::status::Refusal;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::auth::Identity;

/// Calls of `Stats` that ask the store at the same time, each on a thread that blocks. Others wait for them, and there are
/// never more of those than calls that the server runs.
const STATS_MAX: usize = 2;
/// When another backup may have come to its end.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// The service for operators of one server. Comes inside of the layers, which have checked the scope that its policy names.
//= A-27
#[derive(Clone)]
pub(crate) struct Admin {
    operations: Arc<dyn Operations>,
    asking: Arc<Semaphore>,
}

impl Admin {
    pub(crate) fn new(operations: Arc<dyn Operations>) -> Self {
        Self { operations, asking: Arc::new(Semaphore::new(STATS_MAX)) }
    }
}

#[tonic::async_trait]
impl AdminService for Admin {
    async fn stats(&self, _: Request<StatsRequest>) -> Result<Response<StatsResponse>, Status> {
        let place = Arc::clone(&self.asking).acquire_owned().await.map_err(|_| lost())?;
        let operations = Arc::clone(&self.operations);
        let asked = spawn_blocking(move || {
            let _place = place;
            operations.statistics()
        });
        match asked.await.map_err(|_| lost())? {
            Ok(statistics) => Ok(Response::new(statistics_to_wire(statistics))),
            Err(error) => Err(refusal(&error.into())),
        }
    }

    //= A-28
    //= A-29
    async fn backup(&self, request: Request<BackupRequest>) -> Result<Response<BackupResponse>, Status> {
        let name = BackupName::new(&request.get_ref().name)
            .map_err(|error| Refusal::new(Reason::FieldInvalid, error.to_string()))?;
        // In a session the ticket stands for the caller.
        let by = request.extensions().get::<Identity>().map(Identity::principal);
        tracing::info!(%name, ?by, "a backup was asked for");
        let over = CancellationToken::new();
        // This future is dropped when the deadline passes or the caller leaves.
        let _given_up = over.clone().drop_guard();
        let operations = Arc::clone(&self.operations);
        let made = spawn_blocking(move || operations.backup(&name, &|| !over.is_cancelled()));
        match made.await.map_err(|_| lost())? {
            Ok(copied) => Ok(Response::new(copied_to_wire(&copied))),
            Err(error) => Err(refusal(&error)),
        }
    }
}

/// What the operator is told. Paths and causes are for the log of the server.
fn refusal(error: &OperationError) -> Status {
    let reason = error.reason();
    let text = match error {
        OperationError::NameTaken | OperationError::Running | OperationError::Stopped => error.to_string(),
        OperationError::Store(_) => "the store cannot be read; the log of the server says why".into(),
        _ => "the backup cannot be written; the log of the server says why".into(),
    };
    let refusal = Refusal::new(reason, text);
    match error {
        OperationError::Running => refusal.retry_after(RETRY_AFTER).into(),
        OperationError::NameTaken | OperationError::Stopped => refusal.into(),
        _ => {
            tracing::warn!(%reason, cause = %error, "an operator got no answer from the store");
            refusal.into()
        }
    }
}

/// The operation panicked: what it would have said is not known.
fn lost() -> Status {
    tracing::error!("an operation on the store panicked");
    Refusal::new(Reason::StoreUnavailable, "the store gave no answer").into()
}

#[cfg(test)]
mod tests;
