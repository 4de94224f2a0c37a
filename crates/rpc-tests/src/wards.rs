//! Handlers that look after their session, and what hooks and they have seen of its end.

use std::time::Duration;

use rpc_server::{EndedSession, SessionEnd, SessionExt as _};
use tokio::sync::watch;
use tonic::{Request, Response, Status};

use crate::pb::wards::v1::test_wards_server::TestWards;
use crate::pb::wards::v1::{Order, Word};
use crate::soon;

/// The service, and the hook for the same books. A cheap clone; all share what is written down.
#[derive(Debug, Clone, Default)]
pub struct Wards(watch::Sender<Seen>);

/// What was seen.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Sessions that the hook was called for.
    pub ended: Vec<EndedSession>,
    /// What guards heard of the ends of their sessions.
    pub guards: Vec<SessionEnd>,
    /// Guards at work.
    pub at_work: u32,
}

impl Wards {
    /// The hook.
    pub fn hook(&self) -> impl Fn(&EndedSession) + Send + 'static {
        let wards = self.clone();
        move |ended| wards.0.send_modify(|seen| seen.ended.push(ended.clone()))
    }

    /// What was seen so far.
    pub fn seen(&self) -> Seen {
        self.0.borrow().clone()
    }

    /// Waits until that has been seen.
    ///
    /// # Panics
    ///
    /// It is not seen in time.
    pub async fn until(&self, what: &str, done: impl FnMut(&Seen) -> bool) -> Seen {
        let mut seen = self.0.subscribe();
        let seen = soon(what, seen.wait_for(done)).await;
        seen.expect("the books outlive the wait").clone()
    }
}

fn said(text: impl Into<String>) -> Response<Word> {
    Response::new(Word { text: text.into() })
}

#[tonic::async_trait]
impl TestWards for Wards {
    async fn guard(&self, request: Request<Order>) -> Result<Response<Word>, Status> {
        let switch = request.cancellation()?.clone();
        let ended = request.session()?.ended();
        self.0.send_modify(|seen| seen.at_work += 1);
        switch.cancelled().await;
        let end = ended.await;
        self.0.send_modify(|seen| seen.guards.push(end));
        Ok(Response::new(Word { text: format!("{end:?}") }))
    }

    async fn tell(&self, request: Request<Order>) -> Result<Response<Word>, Status> {
        let Order { what, within_ms } = request.get_ref();
        let within = Duration::from_millis((*within_ms).into());
        let session = request.session()?;
        match what.as_str() {
            "switch" => request.cancellation().map(|_| said("there is one")).map_err(Status::from),
            "owns" => Ok(said(session.owns_release().to_string())),
            "asked" => Ok(said(format!("{:?}", session.release_asked()))),
            "give" => Ok(said(format!("{:?}", session.give_release()?))),
            "please" => Ok(said(format!("{:?}", session.please_release(3, within).await?))),
            "ask" => Ok(said(format!("{:?}", session.ask_release(within).await?))),
            other => Err(Status::invalid_argument(format!("nobody knows what {other} is"))),
        }
    }
}
