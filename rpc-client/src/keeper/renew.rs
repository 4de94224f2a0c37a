//! Keeps lease, authority and ticket.

use std::sync::Arc;
use std::time::Duration;

use rpc_core::error::Reason;
use rpc_core::id::Ticket;
use rpc_core::initiator::renewal::Action;
use rpc_proto::pb::session::v1::{RenewRequest, RenewResponse};
use rpc_proto::status::Details;
use tokio::time::{Instant, sleep_until, timeout};
use tonic::Status;

use crate::OutcomeExt as _;
use crate::core::{Core, Proofs};
use crate::credentials::BoxError;
use crate::error::lost;
use crate::events::Event;
use crate::net::Connections;

/// Longest time for one renewal, the fetching of a token apart. A short lease shortens it.
const RENEWAL_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a renewal failed.
#[derive(Debug)]
pub(crate) enum RenewError {
    /// There is no token.
    Credentials(BoxError),
    /// The server refused, or did not answer.
    Status(Box<Status>),
}

/// Renews whatever is due, until the session is over.
pub(super) async fn run(core: Arc<Core>) {
    loop {
        let (at, _) = core.renewal().next();
        tokio::select! {
            () = core.over.cancelled() => return,
            () = core.replan.notified() => continue,
            () = core.doubted.notified() => {
                let _renewing = core.renewing.lock().await;
                // If the session is gone, the answer says so.
                let _ = renew(&core, Action::Lease).await;
                continue;
            }
            () = sleep_until(core.clock.instant(at)) => {}
        }
        let renewing = core.renewing.lock().await;
        // A call may have renewed the session while this waited for its turn.
        let due = core.renewal().due(core.clock.now());
        if let Some(action) = due {
            // Failures are said as events, and the plan has the next try.
            let _ = renew(&core, action).await;
        }
        drop(renewing);
    }
}

/// Renews the authority that refused an attempt with these proofs, unless that was done since. Calls that are refused
/// together wait here for one renewal, and share its failure, too.
pub(crate) async fn authority(core: &Core, proofs: Proofs) -> Result<(), RenewError> {
    let tries = core.authority_tries();
    let _renewing = core.renewing.lock().await;
    if core.has_newer_authority(proofs) {
        return Ok(());
    }
    if core.authority_tries() > tries {
        let status = Status::unauthenticated("the authority could not be renewed");
        return Err(RenewError::Status(Box::new(status)));
    }
    let action = core.renewal().authority_action();
    renew(core, action).await
}

/// Has the authority renewed soon.
pub(crate) fn ask(core: &Core) {
    core.renewal().authority_ended(core.clock.now());
    core.replan.notify_one();
}

/// Renews once. The caller holds `core.renewing`.
async fn renew(core: &Core, action: Action) -> Result<(), RenewError> {
    let result = match action {
        Action::Lease => lease(core).await,
        Action::Authority { rotate_ticket } => {
            let result = with_token(core, rotate_ticket).await;
            core.authority_tried();
            result
        }
    };
    if let Err(error) = &result {
        core.renewal().failed(core.clock.now());
        let told = error.told();
        tracing::warn!(session = %core.number, error = %told, "renewal failed");
        core.events.say(Event::RenewalFailed(told));
    }
    core.replan.notify_one();
    result
}

async fn lease(core: &Core) -> Result<(), RenewError> {
    let sent = Instant::now();
    let answer = ask_server(core, None, false).await?;
    core.renewal().lease_renewed(core.clock.at(sent), lease_of(&answer, core));
    core.events.say(Event::LeaseRenewed);
    Ok(())
}

async fn with_token(core: &Core, rotate_ticket: bool) -> Result<(), RenewError> {
    let bearer = match core.wallet.fresh().await {
        Ok(bearer) => bearer,
        Err(error) => {
            // Without a token the session must at least not expire.
            lease(core).await?;
            return Err(RenewError::Credentials(error));
        }
    };
    let sent = Instant::now();
    let answer = match ask_server(core, Some(bearer), rotate_ticket).await {
        // A token that is refused says nothing against the lease.
        Err(RenewError::Status(status)) if status.code() == tonic::Code::Unauthenticated => {
            lease(core).await?;
            return Err(RenewError::Status(status));
        }
        answer => answer?,
    };
    let ticket_rotated = take_ticket(core, &answer).await?;
    let authority = answer.authority.and_then(|lasts| Duration::try_from(lasts).ok());
    core.renewal().renewed(core.clock.at(sent), lease_of(&answer, core), authority);
    if let Some(authority) = authority {
        core.wallet.lasts(authority).await;
    }
    core.authority_renewed();
    core.events.say(Event::AuthorityRenewed { ticket_rotated });
    Ok(())
}

/// Uses the new ticket if there is one. Only an answer in hand counts: until then the old one is used, which the
/// server keeps valid (L-15). And only a ticket that outlives this process: the first use of the new one voids the old one,
/// which is all that the file would have.
//= I23
async fn take_ticket(core: &Core, answer: &RenewResponse) -> Result<bool, RenewError> {
    if answer.ticket.is_empty() {
        return Ok(false);
    }
    let Ok(bytes) = <[u8; Ticket::BYTES]>::try_from(&answer.ticket[..]) else {
        let status = crate::error::refusal(Reason::ProtocolViolated, "the new ticket is not 32 bytes", None);
        return Err(RenewError::Status(Box::new(status)));
    };
    let ticket = Ticket(bytes);
    if let Err(error) = core.save_with(&ticket).await {
        let told = error.told();
        tracing::warn!(session = %core.number, error = %told, "session is not saved");
        core.events.say(Event::SaveFailed(told));
        return Ok(false);
    }
    core.set_ticket(&ticket);
    Ok(true)
}

async fn ask_server(
    core: &Core,
    bearer: Option<http::HeaderValue>,
    rotate_ticket: bool,
) -> Result<RenewResponse, RenewError> {
    let patience = RENEWAL_TIMEOUT.min(core.agreement.lease / 3);
    loop {
        let via = crate::control::Via::Any(Connections::clone(&core.net));
        let (mut client, proofs) = core.control(via, bearer.clone());
        let status = match timeout(patience, client.renew(RenewRequest { rotate_ticket })).await {
            Ok(Ok(answer)) => return Ok(answer.into_inner()),
            Ok(Err(status)) => status,
            Err(_) => lost(format!("no answer within {patience:?}"), None),
        };
        let details = Details::of(&status);
        core.note(&details, proofs);
        // Renewals alone replace tickets, and one at a time: another ticket is the one before this, once.
        if details.reason != Some(Reason::SessionUnknown) || !core.has_newer_ticket(proofs) {
            return Err(RenewError::Status(Box::new(status)));
        }
    }
}

/// The lease that the server states, or the agreed one if it states none.
fn lease_of(answer: &RenewResponse, core: &Core) -> Duration {
    answer
        .lease
        .and_then(|lease| Duration::try_from(lease).ok())
        .filter(|lease| !lease.is_zero())
        .unwrap_or(core.agreement.lease)
}

impl RenewError {
    fn told(&self) -> String {
        match self {
            Self::Credentials(error) => format!("no token: {error}"),
            Self::Status(status) => match status.reason() {
                Some(reason) => format!("{reason}: {}", status.message()),
                None => format!("{:?}: {}", status.code(), status.message()),
            },
        }
    }
}
