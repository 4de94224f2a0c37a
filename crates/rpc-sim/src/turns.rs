//! Who speaks in half-duplex streams, as the applications at both ends see it.

use std::sync::Arc;

use tokio::sync::{Mutex, mpsc};
use tonic::Status;

use crate::witness::{Seen, Witness};

/// An end of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Its caller.
    Client,
    /// Its handler, in that run.
    Server(u64),
}

/// What is known of one stream.
#[derive(Debug, Clone, Default)]
pub struct Talk {
    client: Speaker,
    server: Speaker,
    /// The last run of its handler. Those before it may not know that they are over.
    run: u64,
    /// Parts of the caller before the last major point that was answered.
    closed: u64,
}

/// What is known of one end.
#[derive(Debug, Clone, Default)]
struct Speaker {
    in_turn: bool,
    /// When its last turn began and ended, among all events.
    began: u64,
    ended: u64,
    /// Parts that it had given before that turn, has given in all, and had given when it gave the turn.
    before: u64,
    given: u64,
    sayable: u64,
    /// The same two of this run alone, which may have to give again what the one before it gave.
    next: u64,
    said: u64,
    /// Parts that it has heard.
    heard: u64,
}

impl Talk {
    fn is_stale(&self, side: Side) -> bool {
        matches!(side, Side::Server(run) if run != self.run)
    }

    /// This end, and the other one.
    fn ends(&mut self, side: Side) -> (&mut Speaker, &mut Speaker) {
        match side {
            Side::Client => (&mut self.client, &mut self.server),
            Side::Server(_) => (&mut self.server, &mut self.client),
        }
    }
}

/// One end of a stream. A cheap clone.
#[derive(Debug, Clone)]
pub struct Party {
    witness: Arc<Witness>,
    id: String,
    side: Side,
}

/// Somebody's turn, until this is dropped.
#[derive(Debug)]
pub struct InTurn<'a>(&'a Party);

impl Party {
    /// The caller.
    pub fn client(witness: &Arc<Witness>, id: &str) -> Self {
        Self { witness: Arc::clone(witness), id: id.to_owned(), side: Side::Client }
    }

    /// A handler that begins at that part.
    pub fn server(witness: &Arc<Witness>, id: &str, run: u64, from: u64) -> Self {
        let party = Self { witness: Arc::clone(witness), id: id.to_owned(), side: Side::Server(run) };
        let closed = witness.note(
            || format!("run {run} speaks in {id}"),
            |seen, _| {
                let talk = seen.talks.entry(id.to_owned()).or_default();
                (talk.run, talk.server.in_turn, talk.server.heard) = (run, false, from);
                (talk.server.next, talk.server.said) = (0, 0);
                talk.closed
            },
        );
        //= I17
        if from < closed {
            party.violation("I17", format!("begins at {from}, and the unit before {closed} is closed"));
        }
        party
    }

    /// It may speak, as the stream says.
    pub fn begin_turn(&self) -> InTurn<'_> {
        let other_speaks = self.note("begins its turn", |talk, side, order| {
            let (mine, other) = talk.ends(side);
            (mine.in_turn, mine.began, mine.before) = (true, order, mine.given);
            other.in_turn
        });
        //= I15
        if other_speaks == Some(true) {
            self.violation("I15", "has its turn, and the other side has it, too".into());
        }
        InTurn(self)
    }

    /// It gives a part to the stream, in its turn or for its next one.
    pub fn gives(&self, number: u64) {
        self.note("gives a part", |talk, side, _| {
            let (mine, _) = talk.ends(side);
            mine.given = mine.given.max(number + 1);
            mine.next = number + 1;
        });
    }

    /// A part came. Answers whether the other side speaks, so that what is given now has to wait.
    pub fn hears(&self, number: u64) -> bool {
        let heard = self.note("hears a part", |talk, side, _| {
            let closed = if side == Side::Client { 0 } else { talk.closed };
            let (mine, other) = talk.ends(side);
            mine.heard = mine.heard.max(number + 1);
            let out_of_turn = !other.in_turn && number >= other.sayable;
            let must_wait = other.in_turn && number >= other.before && other.began > mine.ended;
            (out_of_turn, number < closed, must_wait && !mine.in_turn)
        });
        let Some((out_of_turn, is_closed, must_wait)) = heard else { return false };
        //= I16
        if out_of_turn {
            self.violation("I16", format!("hears part {number}, which was given out of turn"));
        }
        //= I17
        if is_closed {
            self.violation("I17", format!("hears part {number} of a unit that is closed"));
        }
        must_wait
    }

    /// The major point behind so many parts of the caller was answered: each side has taken what the other has said.
    pub fn closes(&self, parts: u64) {
        let closed = self.note("closes a unit", |talk, side, _| {
            talk.closed = parts;
            let (mine, other) = talk.ends(side);
            [(other.heard, parts), (mine.heard, other.said)]
        });
        //= I17
        for (heard, given) in closed.into_iter().flatten().filter(|(heard, given)| heard < given) {
            self.violation("I17", format!("closes a unit of {given} parts, of which {heard} were taken"));
        }
    }

    /// Nothing of a handler that is over and does not know.
    fn note<T>(&self, what: &str, act: impl FnOnce(&mut Talk, Side, u64) -> T) -> Option<T> {
        let (id, side) = (&self.id, self.side);
        self.witness.note(
            || format!("{side:?} of {id} {what}"),
            |seen: &mut Seen, order| {
                let talk = seen.talks.entry(id.clone()).or_default();
                (!talk.is_stale(side)).then(|| act(talk, side, order))
            },
        )
    }

    fn violation(&self, invariant: &'static str, what: String) {
        self.witness.violation(invariant, format!("{:?} of {} {what}", self.side, self.id));
    }
}

impl Drop for InTurn<'_> {
    fn drop(&mut self) {
        self.0.note("ends its turn", |talk, side, order| {
            let (mine, _) = talk.ends(side);
            (mine.in_turn, mine.ended, mine.sayable, mine.said) = (false, order, mine.given, mine.next);
        });
    }
}

/// Where an application gives its parts, in their order, whoever of it does.
pub struct Mouth<T> {
    party: Party,
    make: Box<dyn Fn(u64) -> T + Send + Sync>,
    inner: Mutex<(Option<mpsc::Sender<T>>, u64)>,
}

impl<T: Send> Mouth<T> {
    /// Begins with that part.
    pub fn new(
        party: &Party,
        say: mpsc::Sender<T>,
        next: u64,
        make: impl Fn(u64) -> T + Send + Sync + 'static,
    ) -> Self {
        Self { party: party.clone(), make: Box::new(make), inner: Mutex::new((Some(say), next)) }
    }

    /// Parts that were given.
    pub async fn given(&self) -> u64 {
        self.inner.lock().await.1
    }

    /// Gives the next part.
    ///
    /// # Errors
    ///
    /// Nobody takes it.
    pub async fn say(&self) -> Result<(), Status> {
        let mut inner = self.inner.lock().await;
        let (Some(say), number) = &*inner else { return Ok(()) };
        self.party.gives(*number);
        say.send((self.make)(*number)).await.map_err(|_| Status::cancelled("nobody takes the parts"))?;
        inner.1 += 1;
        Ok(())
    }

    /// Gives the next part if there is room for it, and it comes before `end`.
    pub fn say_early(&self, end: u64) {
        let Ok(mut inner) = self.inner.try_lock() else { return };
        let (Some(say), number) = &*inner else { return };
        let Some(room) = say.try_reserve().ok().filter(|_| *number < end) else { return };
        self.party.gives(*number);
        room.send((self.make)(*number));
        inner.1 += 1;
    }

    /// There are no more.
    pub async fn close(&self) {
        self.inner.lock().await.0 = None;
    }
}
