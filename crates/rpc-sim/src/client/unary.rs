//! Calls of one message each way.

use prost::Message as _;
use rpc_client::{CallInfo, CallState, OutcomeExt as _};
use tokio::time::timeout;
use tonic::{Request, Response, Status};

use super::{Caller, what};
use crate::oracle::is_shared;
use crate::pb::ask::Then;
use crate::pb::{Answer, Ask};
use crate::random::Random;
use crate::witness::{Kind, What};

impl Caller {
    /// Makes one call, which its caller may give up.
    pub(super) async fn unary(&self, id: &str, kind: Kind, random: &mut Random) {
        let long = random.one_of(&[1, 30, 30, 400]);
        let mut ask = Ask { delay_ms: random.within(0..long) as u32, ..self.to_ask(id) };
        if !matches!(kind, Kind::Plain | Kind::Least) {
            let then = random.one_of(&[Then::Answer, Then::Answer, Then::Answer, Then::Fail, Then::Panic]);
            ask.set_then(if random.percent(40) { then } else { Then::Answer });
        }
        let mut request = Request::new(ask);
        if random.percent(12) {
            request.set_timeout(random.millis(1..800));
        }
        self.asks(id, kind, 0);
        let told = if random.percent(10) {
            let within = random.millis(0..300);
            timeout(within, self.call(id, kind, request)).await.unwrap_or(What::Cancelled)
        } else {
            self.call(id, kind, request).await
        };
        self.is_told(id, &told);
        if random.percent(25) {
            self.query(id).await;
        }
    }

    /// Makes one call that has nothing in its way.
    pub(super) async fn ask_once(&self, id: &str, kind: Kind) -> What {
        self.asks(id, kind, 0);
        let told = self.call(id, kind, Request::new(self.to_ask(id))).await;
        self.is_told(id, &told);
        told
    }

    /// Makes one call that takes its time.
    pub(super) async fn ask_slowly(&self, id: &str, kind: Kind, delay_ms: u32) -> What {
        self.asks(id, kind, 0);
        let ask = Ask { delay_ms, ..self.to_ask(id) };
        let told = self.call(id, kind, Request::new(ask)).await;
        self.is_told(id, &told);
        told
    }

    fn to_ask(&self, id: &str) -> Ask {
        Ask { id: id.to_owned(), subject: self.subject(), ..Ask::default() }
    }

    async fn call(&self, id: &str, kind: Kind, request: Request<Ask>) -> What {
        match self.send(kind, request).await {
            Ok(response) => {
                let info = response.extensions().get::<CallInfo>();
                self.is_call(id, info.map(|info| info.call), info.map_or(0, |info| info.attempts));
                let answer = response.into_inner();
                //= I2
                if answer.id != id {
                    self.world.witness.violation("I2", format!("{id} was told the reply of {}", answer.id));
                }
                let reply = answer.encode_to_vec().into();
                self.world.witness.note(
                    || format!("{id} is answered"),
                    |seen, _| {
                        if let Some(asked) = seen.asked.get_mut(id) {
                            asked.reply = Some(reply);
                        }
                    },
                );
                What::Replied { run: answer.run, count: answer.count, total: answer.total }
            }
            Err(status) => {
                self.is_call(id, status.call(), 0);
                what(&status)
            }
        }
    }

    async fn send(&self, kind: Kind, request: Request<Ask>) -> Result<Response<Answer>, Status> {
        let mut stub = self.stub.clone();
        match kind {
            Kind::Plain => stub.plain(request).await,
            Kind::Least => stub.least(request).await,
            Kind::Memory => stub.memory(request).await,
            Kind::Durable => stub.durable(request).await,
            Kind::Again => stub.again(request).await,
            Kind::Stoppable => stub.stoppable(request).await,
            Kind::Book => stub.book(request).await,
            Kind::Sole => stub.sole(request).await,
            Kind::SoleHere => stub.sole_here(request).await,
            Kind::Upload
            | Kind::UploadLive
            | Kind::Download
            | Kind::DownloadLive
            | Kind::Chat
            | Kind::ChatLive
            | Kind::Talk
            | Kind::TalkLive
            | Kind::Activity => Err(Status::internal("not a call of one message")),
        }
    }

    /// Asks the server what became of the call, which must not say otherwise than its caller was told.
    async fn query(&self, id: &str) {
        let asked = self.world.witness.look(|seen| seen.asked.get(id).cloned());
        let Some((asked, call)) = asked.and_then(|asked| asked.call.map(|call| (asked, call))) else {
            return;
        };
        let Ok(state) = self.session.query(call).await else { return };
        self.world.witness.event(|| format!("{id} is, by query, {state:?}"));
        let told = asked.told.map(|(_, what)| what);
        match (&state, told) {
            (CallState::Done(reply), Some(What::Replied { .. })) => self.world.witness.note(
                || format!("{id} has its reply again"),
                |seen, _| {
                    if let Some(asked) = seen.asked.get_mut(id) {
                        asked.queried = Some(reply.response.clone());
                    }
                },
            ),
            // What was not executed may have left its place to a later call.
            //= I2
            (CallState::NotExecuted | CallState::Absent, Some(What::Replied { .. } | What::Failed(_)))
                if !self.world.witness.look(|seen| is_shared(seen, asked.session, asked.kind)) =>
            {
                self.world.witness.violation("I2", format!("{id} was answered, and a query says {state:?}"));
            }
            _ => {}
        }
    }
}
