//! What can happen next.

use rpc_core::id::{Attempt, CallAttempt};
use rpc_core::store::WriteError;
use stateright::{Model, Property};

use crate::client::Process;
use crate::hashed::Hashed;
use crate::invariants;
use crate::message::{Message, Request};
use crate::scenario::{Fault, Scenario};
use crate::server::Server;
use crate::state::{PLACES, State};

/// So often a client may come to a server that another has replaced, with one call or all its questions.
const TRIES_ASTRAY: u8 = 2;

/// One step. Servers are named by their places, calls by their index in the process that lives.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Step {
    /// The client sends the next attempt of a call.
    Send { call: usize, to: usize },
    /// The connection under an attempt breaks; what is on its way is lost, or arrives later.
    Break { call: usize, lost: bool },
    /// The caller gives its call up; its request is lost, or arrives later.
    Cancel { call: usize, lost: bool },
    /// The client asks about a call that was given up, or how far a slot is.
    Ask { to: usize },
    /// The connection under a question breaks.
    BreakQuestion { lost: bool },
    /// A message arrives.
    Deliver(usize),
    /// A request arrives, and will arrive again.
    Duplicate(usize),
    /// A handler has its effect and comes to its end.
    Finish { server: usize, handler: usize },
    /// A handler stops, as it was asked to.
    Stop { server: usize, handler: usize, effect: bool },
    /// The store makes the next write of a server.
    Commit(usize),
    /// The next answer of the store arrives.
    Acknowledge(usize),
    /// A server is gone, with its memory.
    Crash(usize),
    /// A server starts.
    Start(usize),
    /// The store makes the next write of a server that is gone.
    CommitLate(usize),
    /// The writes of a server that is gone are lost.
    LoseWrites(usize),
    /// The client process is gone, and the next one goes on; what was on its way is lost, or arrives later.
    Die { lost: bool },
    /// Lease and linger of the session run out at a server.
    Expire(usize),
    /// The client learns that the session is over.
    Over,
    /// Somebody makes another request under the id of a call that is under way.
    Forge { call: usize, to: usize },
}

/// The model of a scenario.
#[derive(Debug, Clone)]
pub struct Admission(pub Scenario);

impl Model for Admission {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![State::first(&self.0)]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        self.of_client(state, steps);
        of_network(state, steps);
        (0..PLACES).for_each(|place| self.of_server(state, place, steps));
        for index in 0..state.orphans.len() {
            steps.extend([Step::CommitLate(index), Step::LoseWrites(index)]);
        }
    }

    fn next_state(&self, last: &State, step: Step) -> Option<State> {
        let mut state = last.clone();
        self.take(&mut state, step)?;
        state.tidy(&self.0);
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        invariants::all()
    }
}

fn places(state: &State) -> impl Iterator<Item = usize> {
    (0..PLACES).filter(|place| state.servers[*place].as_ref().is_some_and(|server| server.lives()))
}

/// Where the client gets after so many tries: anywhere at first, in the end to the server that owns the session.
fn reached(state: &State, tries: u8) -> impl Iterator<Item = usize> {
    places(state).filter(move |place| tries < TRIES_ASTRAY || state.owns(*place))
}

fn is_owned(state: &State) -> bool {
    (0..PLACES).any(|place| state.owns(place))
}

fn of_network(state: &State, steps: &mut Vec<Step>) {
    for (index, message) in state.messages.iter().enumerate() {
        // Of equal messages it does not matter which arrives.
        if index > 0 && state.messages[index - 1] == *message {
            continue;
        }
        let to = match &**message {
            Message::Request(to, _) | Message::Question(to, _) => Some(*to),
            Message::Answer(..) | Message::Told(..) => None,
        };
        if to.is_some_and(|to| state.servers[to].is_none()) {
            continue;
        }
        steps.push(Step::Deliver(index));
        if to.is_some() && state.left.duplicates > 0 {
            steps.push(Step::Duplicate(index));
        }
    }
}

impl Admission {
    fn of_client(&self, state: &State, steps: &mut Vec<Step>) {
        let (process, left) = (&state.process, &state.left);
        if state.ledger.ended && places(state).next().is_none() && !process.is_done() {
            steps.push(Step::Over);
        }
        for call in process.sendable() {
            steps.extend(reached(state, process.sent(call)).map(|to| Step::Send { call, to }));
        }
        for (call, of) in process.calls().iter().enumerate() {
            let under_way = process.under_way(&self.0, call);
            if under_way.is_some() && left.breaks > 0 {
                steps.extend([true, false].map(|lost| Step::Break { call, lost }));
            }
            if process.has_slot(call) && of.told.is_none() && left.cancels > 0 {
                steps.extend([true, false].map(|lost| Step::Cancel { call, lost }));
            }
            if under_way.is_some() && left.forgeries > 0 {
                steps.extend(places(state).map(|to| Step::Forge { call, to }));
            }
        }
        if process.may_ask(state.is_quiet()) {
            steps.extend(reached(state, process.questions()).map(|to| Step::Ask { to }));
        }
        if process.asked().is_some() && left.breaks > 0 {
            steps.extend([true, false].map(|lost| Step::BreakQuestion { lost }));
        }
        if state.number + 1 < self.0.processes() && (left.deaths > 0 || process.is_done()) {
            steps.extend([true, false].map(|lost| Step::Die { lost }));
        }
    }

    fn of_server(&self, state: &State, place: usize, steps: &mut Vec<Step>) {
        let Some(server) = &state.servers[place] else {
            let shares = self.0.bounds.takeovers > 0;
            let may = if is_owned(state) { state.left.takeovers > 0 } else { place == 0 || shares };
            if may && !state.ledger.ended {
                steps.push(Step::Start(place));
            }
            return;
        };
        for (handler, of) in server.handlers().iter().enumerate() {
            steps.push(Step::Finish { server: place, handler });
            if of.stopping {
                steps.extend([true, false].map(|effect| Step::Stop { server: place, handler, effect }));
            }
        }
        if !server.writes.is_empty() {
            steps.push(Step::Commit(place));
        }
        if !server.answers.is_empty() {
            steps.push(Step::Acknowledge(place));
        }
        // One that was fenced is of no use any more.
        if state.left.crashes > 0 || !server.lives() && server.is_quiet() && !state.ledger.ended {
            steps.push(Step::Crash(place));
        }
        if state.left.ends > 0 && server.lives() {
            steps.push(Step::Expire(place));
        }
    }

    fn take(&self, state: &mut State, step: Step) -> Option<()> {
        let scenario = &self.0;
        match step {
            Step::Send { call, to } => {
                let request = state.process.change(|process| process.send(scenario, call, to))?;
                state.post(scenario, Message::Request(to, request));
            }
            Step::Break { call, lost } => {
                state.left.breaks -= 1;
                self.cut(state, call, lost);
                state.process.change(|process| process.broken(scenario, call));
            }
            Step::Cancel { call, lost } => {
                state.left.cancels -= 1;
                self.cut(state, call, lost);
                state.process.change(|process| process.cancel(scenario, call));
            }
            Step::Ask { to } => {
                let number = state.number;
                let question = state.process.change(|process| process.ask(number, to))?;
                state.post(scenario, Message::Question(to, question));
            }
            Step::BreakQuestion { lost } => {
                state.left.breaks -= 1;
                self.cut_question(state, lost);
            }
            Step::Deliver(index) => self.deliver(state, index),
            Step::Duplicate(index) => {
                state.left.duplicates -= 1;
                let copy = state.messages[index].clone();
                self.deliver(state, index);
                state.post(scenario, Message::clone(&copy));
            }
            Step::Finish { server, handler } => {
                state.at(scenario, server, |server, around| server.finish(around, handler));
            }
            Step::Stop { server, handler, effect } => {
                state.at(scenario, server, |server, around| server.stop(around, handler, effect));
            }
            Step::Commit(server) => state.at(scenario, server, Server::commit),
            Step::Acknowledge(server) => state.at(scenario, server, Server::acknowledge),
            Step::Crash(server) => self.crash(state, server),
            Step::Start(server) => self.start(state, server),
            Step::CommitLate(index) => self.commit_late(state, index),
            Step::LoseWrites(index) => drop(state.orphans.remove(index)),
            Step::Die { lost } => self.die(state, lost),
            Step::Expire(server) => {
                state.left.ends -= 1;
                state.at(scenario, server, Server::expire);
            }
            Step::Over => state.process.change(Process::over),
            Step::Forge { call, to } => {
                state.left.forgeries -= 1;
                let (request, _) = state.process.under_way(scenario, call)?;
                let forged = Request { call: scenario.calls.len(), attempt: request.attempt };
                let attempt = CallAttempt { attempt: Attempt(0), ..forged.attempt };
                state.post(scenario, Message::Request(to, Request { attempt, ..forged }));
            }
        }
        Some(())
    }

    fn deliver(&self, state: &mut State, index: usize) {
        let scenario = &self.0;
        match Message::clone(&state.messages.remove(index)) {
            Message::Request(to, request) => {
                state.at(scenario, to, |server, around| server.request(around, request));
            }
            Message::Question(to, question) => {
                state.at(scenario, to, |server, around| server.question(around, question));
            }
            Message::Answer(request, said) => {
                if let Some(call) = state.caller(scenario, request) {
                    state.process.change(|process| process.answered(call, said));
                }
            }
            Message::Told(_, answer) => state.process.change(|process| process.told(answer)),
        }
    }

    /// Nobody will answer the attempt under way: it is lost, or arrives when nobody waits for it.
    fn cut(&self, state: &mut State, call: usize, lost: bool) {
        let Some((request, to)) = state.process.under_way(&self.0, call) else { return };
        if lost {
            state.messages.retain(
                |message| !matches!(&**message, Message::Request(_, on_its_way) if *on_its_way == request),
            );
        }
        if let Some(server) = state.servers[to].as_mut().filter(|server| server.has(request)) {
            server.change(|server| server.left(request));
        }
    }

    fn cut_question(&self, state: &mut State, lost: bool) {
        let Some((question, _)) = state.process.asked() else { return };
        if lost {
            state.messages.retain(
                |message| !matches!(&**message, Message::Question(_, on_its_way) if *on_its_way == question),
            );
        }
        state.process.change(Process::question_lost);
    }

    fn crash(&self, state: &mut State, place: usize) {
        let Some(server) = state.servers[place].take() else { return };
        if server.lives() {
            state.left.crashes -= 1;
        }
        let writes: std::collections::VecDeque<_> =
            server.writes.iter().map(|(_, write)| write.clone()).collect();
        // A store in the process dies with it; another one may get them late.
        if !writes.is_empty() && state.left.takeovers < self.0.bounds.takeovers {
            state.orphans.push(Hashed::new(writes));
        }
        // The connections to it break, with what was on them or without.
        let is_to = |message: &Message| matches!(message, Message::Request(to, _) | Message::Question(to, _) if *to == place);
        if !self.0.late {
            state.messages.retain(|message| !is_to(message));
        }
        for call in 0..state.process.calls().len() {
            let Some((request, to)) = state.process.under_way(&self.0, call) else { continue };
            let is_answered = state
                .messages
                .iter()
                .any(|message| matches!(&**message, Message::Answer(other, _) if *other == request));
            if to == place && !is_answered {
                state.process.change(|process| process.broken(&self.0, call));
            }
        }
        if let Some((question, to)) = state.process.asked() {
            let is_answered = state
                .messages
                .iter()
                .any(|message| matches!(&**message, Message::Told(other, _) if *other == question));
            if to == place && !is_answered {
                state.process.change(Process::question_lost);
            }
        }
    }

    fn start(&self, state: &mut State, place: usize) {
        let scenario = &self.0;
        let takes_over = is_owned(state);
        let early = Server::starting(scenario, &state.disk);
        if takes_over {
            state.left.takeovers -= 1;
        }
        // Whoever shares a store with servers that may live claims the session before it reads it.
        let shares = scenario.bounds.takeovers > 0 && !scenario.is(Fault::ReadBeforeClaim);
        if shares {
            state.disk.change(|disk| disk.claim(crate::server::number()));
        }
        let server = if shares { Server::starting(scenario, &state.disk) } else { early };
        state.servers[place] = server.map(Hashed::new);
    }

    fn commit_late(&self, state: &mut State, index: usize) {
        let write = state.orphans[index].change(std::collections::VecDeque::pop_front);
        let mut fenced = false;
        let State { disk, ledger, .. } = state;
        if let Some(write) = write {
            disk.change(|disk| {
                ledger.change(|ledger| {
                    fenced = matches!(disk.commit(&self.0, ledger, &write), Err(WriteError::Fenced { .. }));
                });
            });
        }
        if fenced || state.orphans[index].is_empty() {
            state.orphans.remove(index);
        }
    }

    fn die(&self, state: &mut State, lost: bool) {
        if !state.process.is_done() {
            state.left.deaths -= 1;
        }
        for call in 0..state.process.calls().len() {
            self.cut(state, call, lost);
        }
        self.cut_question(state, lost);
        state.number += 1;
        let next = Hashed::new(Process::new(&self.0, state.number));
        state.gone.push(std::mem::replace(&mut state.process, next));
    }
}
