//! One state of the world.

use std::collections::VecDeque;

use rpc_core::record::Write;

use crate::client::Process;
use crate::disk::Disk;
use crate::hashed::{Hashed, hash_of};
use crate::ledger::Ledger;
use crate::message::{Message, Request};
use crate::scenario::{Bounds, Scenario};
use crate::server::{Around, Server, number};

/// Places for servers: the second one is for one that takes over while the first lives.
pub(crate) const PLACES: usize = 2;

/// Everything there is.
#[derive(Debug, Clone, PartialEq, Hash)]
pub struct State {
    /// The servers that live.
    pub servers: [Option<Hashed<Server>>; PLACES],
    /// The store.
    pub disk: Hashed<Disk>,
    /// The client process that lives.
    pub process: Hashed<Process>,
    /// Its number.
    pub number: usize,
    /// What those that are gone were told.
    pub gone: Vec<Hashed<Process>>,
    /// On the way, in an order without meaning.
    pub messages: Vec<Hashed<Message>>,
    /// Writes of servers that are gone, which the store may still get.
    pub(crate) orphans: Vec<Hashed<VecDeque<Write>>>,
    /// What happened.
    pub ledger: Hashed<Ledger>,
    /// What may still go wrong.
    pub(crate) left: Bounds,
}

impl State {
    /// One server with an open session, and a client that has made no call.
    pub(crate) fn first(scenario: &Scenario) -> Self {
        let disk = Disk::new();
        let mut ledger = Ledger::new(scenario.calls.len() + 1);
        let mut sent = Vec::new();
        let server =
            Server::first(&mut Around { scenario, disk: &disk, ledger: &mut ledger, sent: &mut sent });
        Self {
            servers: [Some(Hashed::new(server)), None],
            disk: Hashed::new(disk),
            process: Hashed::new(Process::new(scenario, 0)),
            number: 0,
            gone: Vec::new(),
            messages: Vec::new(),
            orphans: Vec::new(),
            ledger: Hashed::new(ledger),
            left: scenario.bounds,
        }
    }

    /// A step of one server.
    pub(crate) fn at(
        &mut self,
        scenario: &Scenario,
        place: usize,
        step: impl FnOnce(&mut Server, &mut Around<'_>),
    ) {
        let Self { servers, disk, ledger, .. } = self;
        let Some(server) = &mut servers[place] else { return };
        let mut sent = Vec::new();
        // The store is changed in place, and is shared with the states before.
        disk.change(|disk| {
            ledger.change(|ledger| {
                server.change(|server| step(server, &mut Around { scenario, disk, ledger, sent: &mut sent }));
            });
        });
        sent.into_iter().for_each(|message| self.post(scenario, message));
    }

    /// Puts a message on its way, if anybody waits for it.
    pub(crate) fn post(&mut self, scenario: &Scenario, message: Message) {
        if self.is_awaited(scenario, &message) {
            let message = Hashed::new(message);
            let at = self.messages.partition_point(|other| hash_of(other) < hash_of(&message));
            self.messages.insert(at, message);
        }
    }

    /// Forgets the answers that nobody waits for.
    pub(crate) fn tidy(&mut self, scenario: &Scenario) {
        let messages = std::mem::take(&mut self.messages);
        self.messages = messages.into_iter().filter(|message| self.is_awaited(scenario, message)).collect();
    }

    fn is_awaited(&self, scenario: &Scenario, message: &Message) -> bool {
        match message {
            Message::Request(..) | Message::Question(..) => true,
            Message::Answer(request, _) => self.caller(scenario, *request).is_some(),
            Message::Told(question, _) => self.process.asked().is_some_and(|(asked, _)| asked == *question),
        }
    }

    /// Which call of the living process waits for the answer to this attempt.
    pub(crate) fn caller(&self, scenario: &Scenario, request: Request) -> Option<usize> {
        let waits = |index: &usize| {
            self.process.under_way(scenario, *index).is_some_and(|(waiting, _)| waiting == request)
        };
        (0..self.process.calls().len()).find(waits)
    }

    /// Whether the server at that place lives and owns the session.
    pub(crate) fn owns(&self, place: usize) -> bool {
        let stored = self.disk.epoch(number());
        self.servers[place].as_ref().is_some_and(|server| server.lives() && Some(server.epoch()) >= stored)
    }

    /// Whether no server has anything to do, and none will without a new message.
    pub(crate) fn is_quiet(&self) -> bool {
        let arrives = |message: &Message| match message {
            Message::Request(to, _) | Message::Question(to, _) => self.servers[*to].is_some(),
            Message::Answer(..) | Message::Told(..) => true,
        };
        self.servers.iter().flatten().all(|server| server.is_quiet())
            && !self.messages.iter().any(|message| arrives(message))
    }

    /// All processes there were.
    pub fn processes(&self) -> impl Iterator<Item = &Process> {
        self.gone.iter().map(|process| &**process).chain([&*self.process])
    }
}
