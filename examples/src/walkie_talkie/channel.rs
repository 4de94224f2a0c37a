//! How the two radios get on one channel: the one that is called, and the one that calls.

use std::pin::Pin;

use futures_util::{Stream, StreamExt as _};
use rpc_client::{Checkpoints, Session};
use rpc_server::{CheckpointsExt as _, MemoryStore, Server};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::radio::{Loudspeaker, Radio};
use crate::demo;
use crate::transfer::failure::Failure;
use crate::walkie::Sound;
use crate::walkie::channel_client::ChannelClient;
use crate::walkie::channel_server::{Channel, ChannelServer};

/// Words on their way from the microphone to the stream.
const WORDS: usize = 4;

/// Gives each call to whoever has the other end.
pub(super) struct Station {
    calls: mpsc::Sender<(Radio, Loudspeaker)>,
}

#[tonic::async_trait]
impl Channel for Station {
    type TalkStream = Pin<Box<dyn Stream<Item = Result<Sound, Status>> + Send>>;

    async fn talk(&self, request: Request<Streaming<Sound>>) -> Result<Response<Self::TalkStream>, Status> {
        let (microphone, sounds) = mpsc::channel(WORDS);
        let radio = Radio::new(request.dialog()?, microphone);
        let call = (radio, Loudspeaker::new(request.into_inner()));
        self.calls.try_send(call).map_err(|_| Status::unavailable("somebody else is on the channel"))?;
        Ok(Response::new(ReceiverStream::new(sounds).map(Ok).boxed()))
    }
}

/// A server of one channel, and the calls that come.
pub(super) async fn listen(address: &str) -> Result<(Server, mpsc::Receiver<(Radio, Loudspeaker)>), Failure> {
    let (calls, called) = mpsc::channel(1);
    let authenticator = demo::authenticator().map_err(|error| Failure::new(error.to_string()))?;
    let server = Server::builder()
        .authenticate(authenticator)
        .store(MemoryStore::new()) // a conversation does not outlive the radio
        .service(ChannelServer::new(Station { calls }))
        .bind(address);
    let server = server.await.map_err(|error| Failure::new(format!("{address}: {error}")))?;
    Ok((server, called))
}

/// Calls the radio at `uri`.
pub(super) async fn call(uri: &str, who: &str) -> Result<(Session, Radio, Loudspeaker), Failure> {
    let token = demo::token(who).map_err(|error| Failure::new(error.to_string()))?;
    let builder = Session::builder(uri).credentials(token).service::<ChannelClient<Session>>();
    let session = builder.open().await.map_err(|error| Failure::of_opening(uri, &error))?;
    let checkpoints = Checkpoints::new();
    let (microphone, sounds) = mpsc::channel(WORDS);
    let request = checkpoints.request(ReceiverStream::new(sounds));
    let response = ChannelClient::new(session.clone()).talk(request).await;
    let response = response.map_err(|status| Failure::new(status.message()))?;
    let radio = Radio::new(checkpoints.dialog(), microphone);
    Ok((session, radio, Loudspeaker::new(response.into_inner())))
}
