//! Half-duplex streams: the two sides speak in turn.

use rpc_client::{Checkpoints, Dialog};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::Caller;
use super::streaming::wait;
use crate::parts::{answer, part};
use crate::pb::Part;
use crate::random::Random;
use crate::talk::AHEAD;
use crate::turns::{Mouth, Party};
use crate::witness::Kind;

impl Caller {
    /// Says all parts, in turns, and hears an answer to each.
    pub(super) async fn talk(
        &self,
        id: &str,
        kind: Kind,
        parts: u64,
        mut random: Random,
    ) -> Result<(), Status> {
        let checkpoints = Checkpoints::new();
        let (say, said) = mpsc::channel(AHEAD);
        let request = self.named(checkpoints.request(ReceiverStream::new(said)), id, id)?;
        let mut stub = self.stub.clone();
        let answers = match kind {
            Kind::TalkLive => stub.talk_live(request).await?.into_inner(),
            _ => stub.talk(request).await?.into_inner(),
        };
        let party = Party::client(&self.world.witness, id);
        let name = id.to_owned();
        let mouth = Mouth::new(&party, say, 0, move |number| part(&name, number));
        let dialog = checkpoints.dialog();
        let speaker = Random::new(random.draw(), 3);
        let both = async {
            let hear = self.hear(id, parts, answers, &party, &mouth, &mut random);
            tokio::try_join!(hear, speak(&dialog, &party, &mouth, parts, speaker)).map(drop)
        };
        tokio::select! {
            biased;
            talked = both => talked,
            never = self.watch_nods(id, &dialog) => match never {},
        }
    }

    async fn hear(
        &self,
        id: &str,
        parts: u64,
        mut answers: Streaming<Part>,
        party: &Party,
        mouth: &Mouth<Part>,
        random: &mut Random,
    ) -> Result<(), Status> {
        let mut next = 0;
        while let Some(come) = answers.message().await? {
            //= I9
            if next == parts || come != answer(id, next) {
                let what = format!("{id} was given part {} where {next} of {parts} is due", come.number);
                self.world.witness.violation("I9", what);
            }
            // What is given out of turn waits for the turn.
            if party.hears(next) && random.percent(30) {
                mouth.say_early(parts);
            }
            next += 1;
            wait(random).await;
        }
        //= I9
        if next != parts {
            self.world.witness.violation("I9", format!("{id} ends after {next} of {parts} parts"));
        }
        Ok(())
    }

    /// Typed data comes once and in its order, from each handler.
    async fn watch_nods(&self, id: &str, dialog: &Dialog) -> std::convert::Infallible {
        let mut last = Vec::new();
        while let Ok(Some(typed)) = dialog.typed().await {
            if typed.bytes[..] <= last[..] {
                let what = format!("{id}: typed data {:?} comes after {last:?}", typed.bytes);
                self.world.witness.violation("D-8", what);
            }
            last = typed.bytes.to_vec();
        }
        std::future::pending().await
    }
}

async fn speak(
    dialog: &Dialog,
    party: &Party,
    mouth: &Mouth<Part>,
    parts: u64,
    mut random: Random,
) -> Result<(), Status> {
    let turn = dialog.turn();
    loop {
        let speaking = turn.wait().await?;
        let in_turn = party.begin_turn();
        for _ in 0..random.within(1..6) {
            if mouth.given().await < parts {
                mouth.say().await?;
                wait(&mut random).await;
            }
        }
        let given = mouth.given().await;
        if random.percent(15) {
            dialog.major("").await?;
            party.closes(given);
        }
        if given == parts {
            mouth.close().await;
            return Ok(());
        }
        drop(in_turn);
        speaking.give();
    }
}
