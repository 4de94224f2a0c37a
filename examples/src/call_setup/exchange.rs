//! The exchange: knows which line is whose, and carries signals and voice between them.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use prost::Message as _;
use rpc_server::{CheckpointsExt as _, Dialog, SessionExt as _};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::line::{Action, Event, Line};
use crate::phone::exchange_server::Exchange;
use crate::phone::signal::Kind;
use crate::phone::{Signal, Voice};

/// What waits for a line that is slow; a line that lets more wait misses voice, and signals wait for it.
const WAITING: usize = 64;

/// What comes to a line from others.
enum Mail {
    Signal(Kind, String),
    Voice(String, Voice),
}

/// A cheap clone.
#[derive(Clone, Default)]
pub(super) struct Switchboard {
    lines: Arc<Mutex<BTreeMap<String, mpsc::Sender<Mail>>>>,
}

#[tonic::async_trait]
impl Exchange for Switchboard {
    type LineStream = Pin<Box<dyn Stream<Item = Result<Voice, Status>> + Send>>;

    async fn line(&self, request: Request<Streaming<Voice>>) -> Result<Response<Self::LineStream>, Status> {
        let name = request.session()?.principal().subject().to_owned();
        let dialog = request.dialog()?;
        let (mailbox, mail) = mpsc::channel(WAITING);
        let (speaker, voice) = mpsc::channel(WAITING);
        match self.lines().entry(name.clone()) {
            Entry::Vacant(place) => drop(place.insert(mailbox)),
            Entry::Occupied(_) => return Err(Status::already_exists("this subscriber has a line")),
        }
        let mut desk = Desk { board: self.clone(), name, dialog, line: Line::Idle, speaker };
        let voices = request.into_inner();
        tokio::spawn(async move {
            // However it ends, whoever talks is told, and the name is free.
            let _ended: Result<(), Status> = desk.serve(voices, mail).await;
            desk.happens(Event::Here(Kind::HungUp, String::new())).await;
            desk.board.lines().remove(&desk.name);
        });
        Ok(Response::new(ReceiverStream::new(voice).map(Ok).boxed()))
    }
}

impl Switchboard {
    fn lines(&self) -> MutexGuard<'_, BTreeMap<String, mpsc::Sender<Mail>>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn mailbox(&self, party: &str) -> Option<mpsc::Sender<Mail>> {
        self.lines().get(party).cloned()
    }
}

/// One line while it is open.
struct Desk {
    board: Switchboard,
    name: String,
    dialog: Dialog,
    line: Line,
    speaker: mpsc::Sender<Voice>,
}

impl Desk {
    /// Until the subscriber or the call ends.
    async fn serve(
        &mut self,
        mut voices: Streaming<Voice>,
        mut mail: mpsc::Receiver<Mail>,
    ) -> Result<(), Status> {
        let dialog = self.dialog.clone();
        loop {
            tokio::select! {
                signal = dialog.typed() => match signal? {
                    Some(typed) => self.signalled(&typed.bytes).await?,
                    None => return Ok(()),
                },
                // Passes the voice that was sent before it and waits.
                hung_up = dialog.expedited() => match hung_up? {
                    Some(_) => self.happens(Event::Here(Kind::HungUp, String::new())).await,
                    None => return Ok(()),
                },
                Some(mail) = mail.recv() => self.mailed(mail).await,
                voice = voices.message() => match voice? {
                    Some(voice) => self.spoke(voice),
                    None => return Ok(()),
                },
            }
        }
    }

    async fn signalled(&mut self, bytes: &Bytes) -> Result<(), Status> {
        let signal = Signal::decode(bytes.clone());
        let signal = signal.map_err(|_| Status::invalid_argument("not a signal"))?;
        self.happens(Event::Here(signal.kind(), signal.party)).await;
        Ok(())
    }

    async fn mailed(&mut self, mail: Mail) {
        match mail {
            Mail::Signal(kind, party) => self.happens(Event::There(kind, party)).await,
            Mail::Voice(party, voice) if self.line.party() == Some(&party) => {
                let _ = self.speaker.send(voice).await;
            }
            // Of a call that is over.
            Mail::Voice(..) => {}
        }
    }

    /// Voice that nobody can take is lost, as on any telephone.
    fn spoke(&self, voice: Voice) {
        if let Some(mailbox) = self.line.party().and_then(|party| self.board.mailbox(party)) {
            let _ = mailbox.try_send(Mail::Voice(self.name.clone(), voice));
        }
    }

    async fn happens(&mut self, event: Event) {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            let (line, actions) = std::mem::take(&mut self.line).after(event);
            self.line = line;
            for action in actions {
                match action {
                    Action::Tell(kind, party) => self.tell(kind, party).await,
                    Action::Send(kind, party) => events.extend(self.send(kind, party)),
                }
            }
        }
    }

    /// A subscriber that is gone is found out when its call ends.
    async fn tell(&self, kind: Kind, party: String) {
        let signal = Bytes::from(Signal { kind: kind.into(), party }.encode_to_vec());
        let _ = match kind {
            Kind::HungUp => self.dialog.send_expedited(signal).await,
            _ => self.dialog.send_typed(signal).await,
        };
    }

    /// What happens here when the other line is not there.
    fn send(&self, kind: Kind, party: String) -> Option<Event> {
        let mail = Mail::Signal(kind, self.name.clone());
        let missing = match self.board.mailbox(&party).map(|mailbox| mailbox.try_send(mail)) {
            Some(Ok(())) => return None,
            Some(Err(_)) => Kind::Busy,
            None => Kind::UnknownParty,
        };
        (kind == Kind::Call).then_some(Event::There(missing, party))
    }
}
