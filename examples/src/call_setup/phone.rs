//! A telephone.

use bytes::Bytes;
use prost::Message as _;
use rpc_client::{Checkpoints, Dialog, Session};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::demo;
use crate::phone::exchange_client::ExchangeClient;
use crate::phone::signal::Kind;
use crate::phone::{Signal, Voice};
use crate::transfer::failure::Failure;

/// A telephone with its line.
pub(super) struct Phone {
    session: Session,
    dialog: Dialog,
    microphone: mpsc::Sender<Voice>,
    earpiece: Streaming<Voice>,
}

/// What one hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Heard {
    /// Of a call.
    Signal(Kind, String),
    Voice(String),
}

impl Phone {
    /// Connects the telephone of `name`.
    ///
    /// # Errors
    ///
    /// In one sentence.
    pub(super) async fn connect(uri: &str, name: &str) -> Result<Self, Failure> {
        let token = demo::token(name).map_err(|error| Failure::new(format!("{name}: {error}")))?;
        let builder = Session::builder(uri).credentials(token).service::<ExchangeClient<Session>>();
        let session = builder.open().await.map_err(|error| Failure::of_opening(uri, &error))?;
        let checkpoints = Checkpoints::new();
        let (microphone, voice) = mpsc::channel(4);
        let request = checkpoints.request(ReceiverStream::new(voice));
        let line = ExchangeClient::new(session.clone()).line(request).await;
        let earpiece = line.map_err(|status| Failure::new(status.message()))?.into_inner();
        Ok(Self { session, dialog: checkpoints.dialog(), microphone, earpiece })
    }

    /// Dials, answers or refuses.
    ///
    /// # Errors
    ///
    /// The line is broken for good.
    pub(super) async fn signal(&self, kind: Kind, party: &str) -> Result<(), Status> {
        let signal = Signal { kind: kind.into(), party: party.to_owned() };
        let bytes = Bytes::from(signal.encode_to_vec());
        match kind {
            Kind::HungUp => self.dialog.send_expedited(bytes).await,
            _ => self.dialog.send_typed(bytes).await,
        }
    }

    /// Talks.
    ///
    /// # Errors
    ///
    /// The line is broken for good.
    pub(super) async fn talk(&self, words: &str) -> Result<(), Status> {
        let voice = Voice { heard: words.to_owned() };
        self.microphone.send(voice).await.map_err(|_| Status::aborted("the line is closed"))
    }

    /// What one hears next; `None` when the line is closed.
    ///
    /// # Errors
    ///
    /// The line is broken for good.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    pub(super) async fn hear(&mut self) -> Result<Option<Heard>, Status> {
        tokio::select! {
            // Who has hung up is not listened to any more.
            biased;
            hung_up = self.dialog.expedited() => signal_of(hung_up?),
            typed = self.dialog.typed() => signal_of(typed?.map(|typed| typed.bytes)),
            voice = self.earpiece.message() => Ok(voice?.map(|voice| Heard::Voice(voice.heard))),
        }
    }

    /// Closes the line, and the session in order.
    ///
    /// # Errors
    ///
    /// In one sentence.
    pub(super) async fn close(self) -> Result<(), Failure> {
        let Self { session, microphone, mut earpiece, .. } = self;
        drop(microphone);
        while let Ok(Some(_)) = earpiece.message().await {}
        session.release().await.map(drop).map_err(|error| Failure::new(error.to_string()))
    }
}

fn signal_of(bytes: Option<Bytes>) -> Result<Option<Heard>, Status> {
    let Some(bytes) = bytes else { return Ok(None) };
    let signal = Signal::decode(bytes).map_err(|_| Status::internal("not a signal"))?;
    Ok(Some(Heard::Signal(signal.kind(), signal.party)))
}
