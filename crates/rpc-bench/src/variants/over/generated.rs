// Included twice, where `pb` and `Data` say what the messages are made of.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::stream::{self, Iter};
use futures_util::{Stream, StreamExt};
use rpc_server::{Checkpoints, CheckpointsExt as _, Outgoing, RereadResults, SessionExt as _};
use tonic::{Request, Response, Status, Streaming};

use crate::cases::streams::Points;
use crate::cases::unary::Delivery;
use crate::error::BenchError;
use crate::payload::{self, Tally};
use crate::variants::{Echo, EchoNeeds, Flow, FlowNeeds, Source, Transport};
use crate::worker::Counters;

/// The handlers of all services.
#[derive(Clone)]
pub(crate) struct Handlers(Arc<Counters>);

impl Handlers {
    /// They count here what they do.
    pub(crate) fn new(counters: &Arc<Counters>) -> Self {
        Self(Arc::clone(counters))
    }

    /// The service of calls that need no store.
    pub(crate) fn echo(&self) -> pb::echo_server::EchoServer<Self> {
        pb::echo_server::EchoServer::new(self.clone())
    }

    /// The service of streams.
    pub(crate) fn flow(&self) -> pb::flow_server::FlowServer<Self> {
        pb::flow_server::FlowServer::new(self.clone())
    }

    fn answer(&self, request: Request<pb::Payload>) -> Result<Response<pb::Payload>, Status> {
        self.0.call();
        Ok(Response::new(request.into_inner()))
    }

    fn send(&self, request: &Request<pb::Order>) -> Result<Response<Iter<Messages>>, Status> {
        Ok(Response::new(stream::iter(self.messages(*request.get_ref())?)))
    }

    fn messages(&self, order: pb::Order) -> Result<Messages, Status> {
        self.0.stream();
        let pb::Order { nanoseconds, size } = order;
        let size = usize::try_from(size).map_err(|_| Status::invalid_argument("no such size"))?;
        let counters = Arc::clone(&self.0);
        let source = Source::new(Duration::from_nanos(nanoseconds), size, move |tally| {
            counters.streamed(0, tally.messages);
        });
        Ok(Messages { source, data: payload::data_as(size) })
    }

    async fn take(&self, request: Request<Streaming<pb::Payload>>) -> Result<Response<pb::Receipt>, Status> {
        self.0.stream();
        let (mut requests, mut taken) = (request.into_inner(), Taken::default());
        while let Some(message) = requests.message().await? {
            taken.take(&message)?;
        }
        let Tally { messages, checksum } = taken.tally;
        self.0.streamed(messages, 0);
        Ok(Response::new(pb::Receipt { messages, checksum }))
    }

    fn send_back(&self, request: Request<Streaming<pb::Payload>>) -> Response<Returned> {
        self.0.stream();
        let requests = request.into_inner();
        Response::new(Returned { requests, taken: Taken::default(), counters: Arc::clone(&self.0) })
    }
}

/// Responses until the time is over.
pub(crate) struct Messages {
    source: Source,
    data: Data,
}

impl Iterator for Messages {
    type Item = Result<pb::Payload, Status>;

    fn next(&mut self) -> Option<Self::Item> {
        let index = self.source.next()?;
        Some(Ok(pb::Payload { index, data: self.data.clone() }))
    }
}

/// The same for a stream that would read them again. Nothing cuts the connections of this case: the time of a source that
/// is to begin again is over.
pub(crate) struct Again(Option<Messages>);

impl Iterator for Again {
    type Item = Result<Outgoing<pb::Payload>, Status>;

    fn next(&mut self) -> Option<Self::Item> {
        let Some(messages) = &mut self.0 else {
            return Some(Err(Status::aborted("the connection was lost while it was measured")));
        };
        Some(messages.next()?.map(Outgoing::Message))
    }
}

/// Begins once.
type Open = Box<dyn FnMut(u64) -> Iter<Again> + Send>;

#[tonic::async_trait]
impl pb::reread_server::Reread for Handlers {
    type DownStream = RereadResults<Open, Iter<Again>>;

    async fn down(&self, request: Request<pb::Order>) -> Result<Response<Self::DownStream>, Status> {
        let mut messages = Some(self.messages(*request.get_ref())?);
        let open: Open = Box::new(move |_| stream::iter(Again(messages.take())));
        Ok(Response::new(request.checkpoints()?.reread_results(open)))
    }

    async fn up(&self, request: Request<Streaming<pb::Payload>>) -> Result<Response<pb::Receipt>, Status> {
        self.take(request).await
    }
}

/// Requests that were checked.
#[derive(Default)]
struct Taken {
    tally: Tally,
    expected: Vec<u8>,
}

impl Taken {
    fn take(&mut self, message: &pb::Payload) -> Result<(), Status> {
        if self.tally.messages == 0 {
            self.expected = payload::pattern(message.data.len());
        }
        let taken = self.tally.take(message.index, &message.data, &self.expected);
        taken.map_err(|damaged| Status::data_loss(damaged.to_string()))
    }
}

/// The requests of a stream, as its responses.
pub(crate) struct Returned {
    requests: Streaming<pb::Payload>,
    taken: Taken,
    counters: Arc<Counters>,
}

impl Stream for Returned {
    type Item = Result<pb::Payload, Status>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        match Pin::new(&mut this.requests).poll_next(cx) {
            Poll::Ready(Some(Ok(message))) => Poll::Ready(Some(this.taken.take(&message).map(|()| message))),
            Poll::Ready(None) => {
                let messages = this.taken.tally.messages;
                this.counters.streamed(messages, messages);
                Poll::Ready(None)
            }
            other => other,
        }
    }
}

#[tonic::async_trait]
impl pb::echo_server::Echo for Handlers {
    async fn plain(&self, request: Request<pb::Payload>) -> Result<Response<pb::Payload>, Status> {
        self.answer(request)
    }

    async fn at_least_once(&self, request: Request<pb::Payload>) -> Result<Response<pb::Payload>, Status> {
        self.answer(request)
    }

    async fn at_most_once(&self, request: Request<pb::Payload>) -> Result<Response<pb::Payload>, Status> {
        self.answer(request)
    }
}

/// How many keys EXACTLY_ONCE calls write to.
const KEYS: u64 = 65_536;

#[tonic::async_trait]
impl pb::durable_echo_server::DurableEcho for Handlers {
    async fn at_most_once(&self, request: Request<pb::Payload>) -> Result<Response<pb::Payload>, Status> {
        self.answer(request)
    }

    async fn exactly_once(&self, request: Request<pb::Payload>) -> Result<Response<pb::Payload>, Status> {
        let key = (request.get_ref().index % KEYS).to_be_bytes();
        request.transaction()?.put(key, request.get_ref().data.to_vec())?;
        self.answer(request)
    }
}

#[tonic::async_trait]
impl pb::flow_server::Flow for Handlers {
    type DownStream = Iter<Messages>;

    async fn down(&self, request: Request<pb::Order>) -> Result<Response<Self::DownStream>, Status> {
        self.send(&request)
    }

    async fn up(&self, request: Request<Streaming<pb::Payload>>) -> Result<Response<pb::Receipt>, Status> {
        self.take(request).await
    }

    type BothStream = Returned;

    async fn both(&self, request: Request<Streaming<pb::Payload>>) -> Result<Response<Returned>, Status> {
        Ok(self.send_back(request))
    }

    type DownKeptStream = Iter<Messages>;

    async fn down_kept(&self, request: Request<pb::Order>) -> Result<Response<Self::DownStream>, Status> {
        self.send(&request)
    }

    async fn up_kept(
        &self,
        request: Request<Streaming<pb::Payload>>,
    ) -> Result<Response<pb::Receipt>, Status> {
        self.take(request).await
    }

    type BothKeptStream = Returned;

    async fn both_kept(
        &self,
        request: Request<Streaming<pb::Payload>>,
    ) -> Result<Response<Returned>, Status> {
        Ok(self.send_back(request))
    }

    type DownSparseStream = Iter<Messages>;

    async fn down_sparse(&self, request: Request<pb::Order>) -> Result<Response<Self::DownStream>, Status> {
        self.send(&request)
    }

    async fn up_sparse(
        &self,
        request: Request<Streaming<pb::Payload>>,
    ) -> Result<Response<pb::Receipt>, Status> {
        self.take(request).await
    }

    type BothSparseStream = Returned;

    async fn both_sparse(
        &self,
        request: Request<Streaming<pb::Payload>>,
    ) -> Result<Response<Returned>, Status> {
        Ok(self.send_back(request))
    }

    type BothDialogStream = Returned;

    async fn both_dialog(
        &self,
        request: Request<Streaming<pb::Payload>>,
    ) -> Result<Response<Returned>, Status> {
        Ok(self.send_back(request))
    }
}

/// Calls with one message each way, over one connection or session.
#[derive(Clone)]
pub(crate) struct EchoCaller<T> {
    echo: pb::echo_client::EchoClient<T>,
    durable: pb::durable_echo_client::DurableEchoClient<T>,
    delivery: Delivery,
    data: Data,
}

impl<T: Transport> EchoCaller<T> {
    /// Over this channel.
    pub(crate) fn new(channel: T, needs: EchoNeeds) -> Self {
        let durable = pb::durable_echo_client::DurableEchoClient::new(channel.clone());
        let echo = pb::echo_client::EchoClient::new(channel);
        Self { echo, durable, delivery: needs.delivery, data: payload::data_as(needs.size) }
    }
}

impl<T: Transport> Echo for EchoCaller<T> {
    async fn echo(&mut self, index: u64) -> Result<(), BenchError> {
        let message = pb::Payload { index, data: self.data.clone() };
        let reply = match self.delivery {
            Delivery::Plain => self.echo.plain(message).await?,
            Delivery::AtLeastOnce => self.echo.at_least_once(message).await?,
            Delivery::AtMostOnceMemory => self.echo.at_most_once(message).await?,
            Delivery::AtMostOnceDurable => self.durable.at_most_once(message).await?,
            Delivery::ExactlyOnce => self.durable.exactly_once(message).await?,
        };
        let reply = reply.into_inner();
        if reply.index != index || reply.data != self.data {
            return Err(BenchError::new(format!("call {index} was answered with what another sent")));
        }
        Ok(())
    }
}

/// Streams over one connection or session.
pub(crate) struct FlowCaller<T> {
    flow: pb::flow_client::FlowClient<T>,
    reread: pb::reread_client::RereadClient<T>,
    points: Points,
    size: usize,
    data: Data,
}

impl<T: Transport> FlowCaller<T> {
    /// Over this channel.
    pub(crate) fn new(channel: T, needs: FlowNeeds) -> Self {
        let data = payload::data_as(needs.size);
        let reread = pb::reread_client::RereadClient::new(channel.clone());
        let flow = pb::flow_client::FlowClient::new(channel);
        Self { flow, reread, points: needs.points, size: needs.size, data }
    }

    /// Requests for so long, and what they were when the time is over.
    fn requests(
        &self,
        time: Duration,
    ) -> (impl Stream<Item = pb::Payload> + Send + use<T>, Arc<OnceLock<Tally>>) {
        let made = Arc::new(OnceLock::new());
        let told = Arc::clone(&made);
        let source = Source::new(time, self.size, move |tally| {
            // The source ends once.
            let _ = told.set(tally);
        });
        let data = self.data.clone();
        (stream::iter(source.map(move |index| pb::Payload { index, data: data.clone() })), made)
    }

    async fn read(&self, mut responses: Streaming<pb::Payload>) -> Result<Tally, BenchError> {
        let mut tally = Tally::default();
        while let Some(message) = responses.message().await? {
            tally.take(message.index, &message.data, &self.data)?;
        }
        Ok(tally)
    }
}

impl<T: Transport> Flow for FlowCaller<T> {
    async fn down(&mut self, time: Duration) -> Result<Tally, BenchError> {
        let order = pb::Order { nanoseconds: time.as_nanos() as u64, size: self.size as u64 };
        let responses = match self.points {
            Points::None => self.flow.down(order).await?,
            Points::Kept => self.flow.down_kept(order).await?,
            Points::Sparse | Points::Dialog => self.flow.down_sparse(order).await?,
            Points::Reread => self.reread.down(order).await?,
        };
        self.read(responses.into_inner()).await
    }

    async fn up(&mut self, time: Duration) -> Result<Tally, BenchError> {
        let (requests, made) = self.requests(time);
        let receipt = match self.points {
            Points::None => self.flow.up(requests).await?,
            Points::Kept => self.flow.up_kept(requests).await?,
            Points::Sparse | Points::Dialog => self.flow.up_sparse(requests).await?,
            Points::Reread => {
                let checkpoints = Checkpoints::new();
                let mut requests = Some(requests.map(Outgoing::Message));
                let begin = move |_| requests.take().map_or_else(|| stream::empty().right_stream(), StreamExt::left_stream);
                self.reread.up(checkpoints.request(checkpoints.reread(begin))).await?
            }
        };
        let pb::Receipt { messages, checksum } = receipt.into_inner();
        agree(Tally { messages, checksum }, &made)
    }

    async fn both(&mut self, time: Duration) -> Result<Tally, BenchError> {
        let (requests, made) = self.requests(time);
        let responses = match self.points {
            Points::None => self.flow.both(requests).await?,
            Points::Kept => self.flow.both_kept(requests).await?,
            Points::Sparse | Points::Reread => self.flow.both_sparse(requests).await?,
            Points::Dialog => self.flow.both_dialog(requests).await?,
        };
        agree(self.read(responses.into_inner()).await?, &made)
    }
}

/// What has arrived is what was sent, all of it.
fn agree(arrived: Tally, made: &OnceLock<Tally>) -> Result<Tally, BenchError> {
    if made.get() != Some(&arrived) {
        return Err(BenchError::new(format!("{:?} was sent, {arrived:?} has arrived", made.get())));
    }
    Ok(arrived)
}
