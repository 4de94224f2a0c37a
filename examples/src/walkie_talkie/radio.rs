//! One of the two radios; both are alike.

use std::time::Duration;

use rpc_client::{Dialog, Turn};
use tokio::sync::{Mutex, mpsc};
use tokio::time::sleep;
use tonic::{Status, Streaming};

use crate::walkie::Sound;

/// How long it takes to say a word.
const WORD: Duration = Duration::from_millis(20);
/// How long somebody waits for the other to say "over".
const PATIENCE: Duration = Duration::from_secs(60);

/// How much it matters that one may speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Urgency {
    /// When the other has finished.
    Ordinary,
    /// The other should stop.
    Emergency,
}

/// The button and the microphone.
pub(super) struct Radio {
    dialog: Dialog,
    turn: Turn,
    microphone: mpsc::Sender<Sound>,
    /// Held while somebody here speaks.
    button: Mutex<()>,
}

impl Radio {
    /// Of a call that sends what `microphone` takes.
    pub(super) fn new(dialog: Dialog, microphone: mpsc::Sender<Sound>) -> Self {
        Self { turn: dialog.turn(), dialog, microphone, button: Mutex::default() }
    }

    /// Presses the button, says `sentence` and lets go. Stops after the word at hand when the other side has something
    /// more urgent; false if it did.
    ///
    /// # Errors
    ///
    /// The other side does not let go in time, or the call is over.
    pub(super) async fn say(&self, sentence: &str, urgency: Urgency) -> Result<bool, Status> {
        let _pressed = self.button.lock().await;
        let speaking = self.turn.ask(urgency as u32, PATIENCE).await?;
        let mut words = sentence.split_whitespace().peekable();
        let mut stopped = false;
        while let Some(word) = words.next().filter(|_| !stopped) {
            stopped = self.turn.wanted().is_some_and(|please| please.priority > urgency as u32);
            let over = stopped || words.peek().is_none();
            let sound = Sound { word: word.to_owned(), over };
            self.microphone.send(sound).await.map_err(|_| Status::aborted("the call is over"))?;
            sleep(WORD).await;
        }
        speaking.give();
        Ok(!stopped)
    }

    /// Lets the other side have the turn whenever it wants it and nobody speaks here. Ends with the call.
    ///
    /// # Errors
    ///
    /// The call's own.
    pub(super) async fn attend(&self) -> Result<(), Status> {
        while self.dialog.asked().await?.is_some() {
            let _silence = self.button.lock().await;
            if self.turn.wanted().is_some() {
                self.turn.give()?;
            }
        }
        Ok(())
    }
}

/// The loudspeaker.
pub(super) struct Loudspeaker(Streaming<Sound>);

impl Loudspeaker {
    /// Of what comes in this call.
    pub(super) fn new(sounds: Streaming<Sound>) -> Self {
        Self(sounds)
    }

    /// The next sentence, as far as it was said; `None` when the other side has switched its radio off.
    ///
    /// # Errors
    ///
    /// The call's own.
    pub(super) async fn hear(&mut self) -> Result<Option<String>, Status> {
        self.hear_words(|_| ()).await
    }

    /// The same, telling after each word how many they are.
    ///
    /// # Errors
    ///
    /// The call's own.
    pub(super) async fn hear_words(
        &mut self,
        mut heard: impl FnMut(usize),
    ) -> Result<Option<String>, Status> {
        let mut sentence = Vec::new();
        while let Some(Sound { word, over }) = self.0.message().await? {
            sentence.push(word);
            heard(sentence.len());
            if over {
                return Ok(Some(sentence.join(" ")));
            }
        }
        Ok((!sentence.is_empty()).then(|| sentence.join(" ")))
    }
}
