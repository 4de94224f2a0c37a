//! The command line.

use std::time::Duration;

use clap::{Parser, Subcommand};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tonic::Status;

use super::channel::{call, listen};
use super::demonstration;
use super::radio::{Loudspeaker, Radio, Urgency};
use crate::transfer::bar::say;
use crate::transfer::failure::Failure;

/// How long what was said may take to arrive when the radio is switched off.
const GRACE: Duration = Duration::from_secs(5);

/// Push to talk: a line is said when it is your turn, and asks for it. `!` before it interrupts the other.
///
/// Without a command: a demonstration.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Command {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Waits for a call.
    Listen {
        #[arg(default_value = "127.0.0.1:50051")]
        address: String,
    },
    /// Calls.
    Call {
        #[arg(default_value = "http://127.0.0.1:50051")]
        uri: String,
        #[arg(long, default_value = "rover")]
        user: String,
    },
}

impl Command {
    /// Does it.
    ///
    /// # Errors
    ///
    /// In one sentence.
    pub async fn run(self) -> Result<(), Failure> {
        match self.what {
            None => demonstration::run().await,
            Some(What::Listen { address }) => {
                let (server, mut calls) = listen(&address).await?;
                say(format!("listening on {}", server.local_addr()));
                let handle = server.handle();
                let serving = tokio::spawn(server.serve());
                if let Some((radio, loudspeaker)) = calls.recv().await {
                    converse(radio, loudspeaker).await?;
                }
                handle.drain(GRACE);
                let ended = serving.await.map_err(|error| Failure::new(error.to_string()))?;
                ended.map(drop).map_err(|error| Failure::new(error.to_string()))
            }
            Some(What::Call { uri, user }) => {
                let (session, radio, loudspeaker) = call(&uri, &user).await?;
                converse(radio, loudspeaker).await?;
                session.release().await.map(drop).map_err(|error| Failure::new(error.to_string()))
            }
        }
    }
}

/// Until either side switches off: here, that is the end of standard input.
async fn converse(radio: Radio, mut loudspeaker: Loudspeaker) -> Result<(), Failure> {
    say("connected; type what to say");
    let hearing = async {
        while let Some(sentence) = loudspeaker.hear().await? {
            say(format!("< {sentence}"));
        }
        say("the other radio was switched off");
        Ok(())
    };
    let speaking = async {
        let mut lines = BufReader::new(tokio::io::stdin()).lines();
        while let Some(line) = lines.next_line().await? {
            let (urgency, sentence) = match line.trim().strip_prefix('!') {
                Some(sentence) => (Urgency::Emergency, sentence),
                None => (Urgency::Ordinary, line.trim()),
            };
            if !sentence.is_empty() && !radio.say(sentence, urgency).await? {
                say("(interrupted)");
            }
        }
        Ok(())
    };
    let ended: Result<(), Status> = tokio::select! {
        ended = hearing => ended,
        ended = speaking => ended,
        Err(status) = radio.attend() => Err(status),
    };
    ended.map_err(|status| Failure::new(status.message()))
}
