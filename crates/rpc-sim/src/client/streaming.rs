//! Calls that stream.

use std::time::Duration;

use futures_util::{Stream, stream};
use rpc_client::{ActivityResume, Checkpoints, OutcomeExt as _};
use tokio::time::{sleep, timeout};
use tonic::metadata::MetadataValue;
use tonic::{Request, Status, Streaming};

use super::{Caller, RIVALS, what};
use crate::parts::{answer, checksum, part};
use crate::pb::{Part, Wanted};
use crate::random::Random;
use crate::streams::{CALL, ID, SUBJECT};
use crate::witness::{Kind, What};

impl Caller {
    /// Makes one call, which its caller may give up.
    pub(super) async fn stream(&self, id: &str, kind: Kind, random: &mut Random) {
        let parts = random.one_of(&[1, 7, 30, 90]);
        let parts = random.within(0..parts) + 1;
        if random.percent(8) {
            let within = random.millis(0..2_000);
            if timeout(within, self.stream_for(id, kind, parts, random)).await.is_err() {
                self.is_told(id, &What::Cancelled);
            }
        } else {
            self.stream_for(id, kind, parts, random).await;
        }
    }

    /// Makes one call that has nothing in its way.
    pub(super) async fn stream_for(&self, id: &str, kind: Kind, parts: u64, random: &mut Random) -> What {
        self.asks(id, kind, parts);
        let random = Random::new(random.draw(), 1);
        let streamed = match kind {
            Kind::Upload | Kind::UploadLive => {
                self.upload((id, id), kind, parts, Checkpoints::new(), random).await
            }
            Kind::Activity => self.activity(id, parts, random).await,
            Kind::Download | Kind::DownloadLive => self.download(id, kind, parts, random).await,
            Kind::Talk | Kind::TalkLive => self.talk(id, kind, parts, random).await,
            Kind::Chat | Kind::ChatLive => self.chat(id, kind, parts, random).await,
            Kind::Plain
            | Kind::Least
            | Kind::Memory
            | Kind::Durable
            | Kind::Again
            | Kind::Stoppable
            | Kind::Book
            | Kind::Sole
            | Kind::SoleHere => Err(Status::internal("not a stream")),
        };
        let told = match streamed {
            Ok(()) => What::Streamed,
            Err(status) => {
                self.is_call(id, status.call(), 0);
                what(&status)
            }
        };
        self.is_told(id, &told);
        told
    }

    /// Begins an upload that has a name, or goes on with one that this client, or its process before, did not bring to its
    /// end.
    async fn activity(&self, id: &str, parts: u64, random: Random) -> Result<(), Status> {
        let person = &self.world.people[self.client.0 % RIVALS];
        let life = Some(self.client.1);
        let left = {
            let mut activities = person.activities();
            let left = activities.iter_mut().find(|(_, (_, worker))| *worker != life);
            left.map(|(name, (parts, worker))| {
                *worker = life;
                (name.clone(), *parts)
            })
        };
        let is_left = left.is_some();
        let (name, parts) = left.unwrap_or_else(|| (id.to_owned(), parts));
        person.activities().insert(name.clone(), (parts, life));
        let done = self.work_on(id, &name, parts, is_left, random).await;
        match &done {
            Ok(()) => _ = person.activities().remove(&name),
            Err(_) => _ = person.activities().insert(name, (parts, None)),
        }
        done
    }

    async fn work_on(
        &self,
        id: &str,
        name: &str,
        parts: u64,
        is_left: bool,
        random: Random,
    ) -> Result<(), Status> {
        let checkpoints = if is_left {
            match self.session.resume_activity(name).await? {
                ActivityResume::New(checkpoints) | ActivityResume::Interrupted(checkpoints) => checkpoints,
                // Done before: there is no call to make.
                _ => return self.upload((id, id), Kind::Upload, parts, Checkpoints::new(), random).await,
            }
        } else {
            Checkpoints::of_activity(name.as_bytes().to_vec(), None)
        };
        self.upload((id, name), Kind::Activity, parts, checkpoints, random).await
    }

    pub(super) fn named<T>(
        &self,
        mut request: Request<T>,
        call: &str,
        id: &str,
    ) -> Result<Request<T>, Status> {
        let value = |text: &str| {
            MetadataValue::try_from(text).map_err(|_| Status::invalid_argument("no value of a header"))
        };
        request.metadata_mut().insert(ID, value(id)?);
        request.metadata_mut().insert(CALL, value(call)?);
        request.metadata_mut().insert(SUBJECT, value(&self.subject())?);
        Ok(request)
    }

    /// The parts, with pauses between them; what is known to be secured is noted on the way.
    fn parts(
        &self,
        id: &str,
        parts: u64,
        checkpoints: &Checkpoints,
        random: Random,
    ) -> impl Stream<Item = Part> + Send + use<> {
        let (caller, id, checkpoints) = (self.clone(), id.to_owned(), checkpoints.clone());
        let from = checkpoints.resumed().map_or(0, |resumed| resumed.position().messages);
        stream::unfold((from, random), move |(number, mut random)| {
            let (caller, id, checkpoints) = (caller.clone(), id.clone(), checkpoints.clone());
            async move {
                caller.note_secured(&id, number, &checkpoints);
                if number == parts {
                    return None;
                }
                wait(&mut random).await;
                Some((part(&id, number), (number + 1, random)))
            }
        })
    }

    fn note_secured(&self, id: &str, given: u64, checkpoints: &Checkpoints) {
        let progress = checkpoints.progress();
        let (sent, secured) = (progress.sent.messages, progress.sent_secured.messages);
        //= I10
        //= I6
        let unsecured = progress.sent.bytes.saturating_sub(progress.sent_secured.bytes);
        if unsecured > self.session.agreement().window_bytes {
            self.world.witness.violation("I6", format!("{id} holds {unsecured} bytes to be sent again"));
        }
        if secured > sent || sent > given {
            let what = format!("{id}: {secured} are secured, {sent} sent, {given} were given");
            self.world.witness.violation("I10", what);
        }
        let before = self.world.witness.look(|seen| seen.secured.get(id).copied().unwrap_or_default());
        if secured < before {
            let what = format!("{id}: {secured} are secured after {before} were");
            self.world.witness.violation("I10", what);
        }
        if secured > before {
            self.world.witness.note(
                || format!("the caller of {id} knows {secured} to be secured"),
                |seen, _| _ = seen.secured.insert(id.to_owned(), secured),
            );
        }
    }

    /// `call` makes the upload, and `id` decides its parts.
    async fn upload(
        &self,
        (call, id): (&str, &str),
        kind: Kind,
        parts: u64,
        checkpoints: Checkpoints,
        random: Random,
    ) -> Result<(), Status> {
        let items = self.parts(id, parts, &checkpoints, random);
        let request = self.named(checkpoints.request(items), call, id)?;
        let mut stub = self.stub.clone();
        let stored = match kind {
            Kind::UploadLive => stub.upload_live(request).await?,
            _ => stub.upload(request).await?,
        };
        let stored = stored.into_inner();
        //= I9
        if (stored.parts, stored.checksum) != (parts, checksum(id, parts)) {
            self.world.witness.violation("I9", format!("{id} of {parts} parts is stored as {stored:?}"));
        }
        Ok(())
    }

    async fn download(&self, id: &str, kind: Kind, parts: u64, mut random: Random) -> Result<(), Status> {
        let request = self.named(Request::new(Wanted { parts, id: id.to_owned() }), id, id)?;
        let mut stub = self.stub.clone();
        let found = match kind {
            Kind::DownloadLive => stub.download_live(request).await?.into_inner(),
            _ => stub.download(request).await?.into_inner(),
        };
        self.take(id, parts, found, &mut random).await
    }

    async fn chat(&self, id: &str, kind: Kind, parts: u64, mut random: Random) -> Result<(), Status> {
        let checkpoints = Checkpoints::new();
        let items = self.parts(id, parts, &checkpoints, Random::new(random.draw(), 2));
        let request = self.named(checkpoints.request(items), id, id)?;
        let mut stub = self.stub.clone();
        let answers = match kind {
            Kind::ChatLive => stub.chat_live(request).await?.into_inner(),
            _ => stub.chat(request).await?.into_inner(),
        };
        self.take(id, parts, answers, &mut random).await
    }

    /// Takes all answers, which come once and in their order.
    async fn take(
        &self,
        id: &str,
        parts: u64,
        mut found: Streaming<Part>,
        random: &mut Random,
    ) -> Result<(), Status> {
        let mut next = 0;
        while let Some(come) = found.message().await? {
            //= I9
            if next == parts || come != answer(id, next) {
                let what = format!("{id} was given part {} where {next} of {parts} is due", come.number);
                self.world.witness.violation("I9", what);
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
}

pub(super) async fn wait(random: &mut Random) {
    let longest = random.one_of(&[0, 0, 0, 40, 200]);
    if longest > 0 {
        sleep(Duration::from_millis(random.within(0..longest))).await;
    }
}
