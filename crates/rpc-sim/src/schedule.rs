//! What goes wrong, and when.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use turmoil::Sim;

use crate::random::Random;
use crate::world::{DRAIN, World, client_name, server_name};

/// Longest latency of a message when nothing is wrong.
pub const LATENCY_MAX: Duration = Duration::from_millis(20);

/// One kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Nothing passes between two hosts, and what was on its way is lost.
    Cut,
    /// The same, in one direction.
    CutOneWay,
    /// What is sent arrives later.
    Hold,
    /// All messages take longer.
    Latency,
    /// The server's process dies.
    CrashServer,
    /// The server's host dies: nobody is told.
    PowerLoss,
    /// The server's process dies and is back at once.
    Restart,
    /// The server is stopped in order, and started again.
    Drain,
    /// Another host serves on the same store; the old server does not know.
    Replace,
    /// The client's process dies.
    CrashClient,
    /// Syncs take longer.
    SlowStore,
    /// A sync fails.
    FailSync,
    /// The store has no room for new work.
    RefuseWrites,
    /// The server's clock is wrong.
    Skew,
    /// Nobody gives out tokens.
    IssuerAway,
    /// Somebody else goes on with the saved session of a client that lives.
    Rival,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::Cut,
        Self::CutOneWay,
        Self::Hold,
        Self::Latency,
        Self::CrashServer,
        Self::PowerLoss,
        Self::Restart,
        Self::Drain,
        Self::Replace,
        Self::CrashClient,
        Self::SlowStore,
        Self::FailSync,
        Self::RefuseWrites,
        Self::Skew,
        Self::IssuerAway,
        Self::Rival,
    ];
}

/// What is undone later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Repair {
    Link { client: usize, server: usize },
    Latency,
    EndServer { server: usize },
    StartServer,
    Isolation { server: usize },
    StopOld { server: usize },
    StartClient { client: usize },
    Store,
    Clock { server: usize },
    Issuer,
}

/// What is wrong with the link between a client and a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Broken {
    Cut,
    ToServer,
    ToClient,
    Held,
}

/// Makes faults as the seed decides, and repairs them.
pub struct Schedule {
    world: Arc<World>,
    random: Random,
    next_at: Duration,
    repairs: Vec<(Duration, Repair)>,
    links: BTreeMap<(usize, usize), Broken>,
    server_is_up: bool,
    clients_up: Vec<bool>,
    /// How often each fault was made.
    pub made: BTreeMap<Fault, u64>,
}

impl Schedule {
    /// Of this world.
    pub fn new(world: &Arc<World>) -> Self {
        Self {
            world: Arc::clone(world),
            random: Random::new(world.config.seed, 0xfa17),
            next_at: Duration::from_millis(300),
            repairs: Vec::new(),
            links: BTreeMap::new(),
            server_is_up: true,
            clients_up: vec![true; world.config.clients],
            made: BTreeMap::new(),
        }
    }

    /// Makes what is due.
    pub fn step(&mut self, sim: &mut Sim<'_>) {
        let now = sim.elapsed();
        self.repair_due(sim, now);
        while self.next_at <= now {
            let every = self.world.config.fault_every_ms;
            self.next_at += self.random.millis(1..2 * every);
            let fault = self.random.one_of(&Fault::ALL);
            let lasts = self.random.one_of(&[60, 600, 3_000]);
            let until = now + self.random.millis(5..lasts);
            if self.make(sim, fault, until) {
                *self.made.entry(fault).or_default() += 1;
                self.world.witness.event(|| format!("fault {fault:?} until {until:?}"));
            }
        }
    }

    /// Restarts a server whose store has failed, as whoever operates it would.
    pub fn operate(&mut self, sim: &mut Sim<'_>) {
        if self.server_is_up && self.world.disk.is_broken() {
            let due = sim.elapsed() + self.random.millis(50..800);
            self.stop_server(sim, due);
        }
        self.repair_due(sim, sim.elapsed());
    }

    /// Ends all faults.
    pub fn heal(&mut self, sim: &mut Sim<'_>) {
        self.world.witness.event(|| "all is repaired".into());
        self.world.disk.weather(|weather| *weather = crate::store::Weather::default());
        for (_, repair) in std::mem::take(&mut self.repairs) {
            self.repair(sim, repair);
        }
    }

    fn repair_due(&mut self, sim: &mut Sim<'_>, now: Duration) {
        let (due, later) = std::mem::take(&mut self.repairs).into_iter().partition(|(at, _)| *at <= now);
        self.repairs = later;
        let due: Vec<_> = due;
        for (_, repair) in due {
            self.world.witness.event(|| format!("repair {repair:?}"));
            self.repair(sim, repair);
        }
    }

    fn later(&mut self, at: Duration, repair: Repair) -> bool {
        self.repairs.push((at, repair));
        true
    }

    /// Makes a fault, if it can be made now.
    fn make(&mut self, sim: &mut Sim<'_>, fault: Fault, until: Duration) -> bool {
        let client = self.pick(self.world.config.clients);
        let serving = self.world.serving();
        match fault {
            Fault::Cut => self.break_link(sim, client, Broken::Cut, until),
            Fault::CutOneWay => {
                let broken = self.random.one_of(&[Broken::ToServer, Broken::ToClient]);
                self.break_link(sim, client, broken, until)
            }
            Fault::Hold => self.break_link(sim, client, Broken::Held, until),
            Fault::Latency => {
                sim.set_max_message_latency(self.random.millis(50..600));
                self.later(until, Repair::Latency)
            }
            Fault::CrashServer | Fault::Restart if self.server_is_up => {
                let due = if fault == Fault::Restart { sim.elapsed() } else { until };
                self.end_server(sim, due)
            }
            Fault::Drain if self.server_is_up => {
                self.world.orders[serving].drain.notify_one();
                self.server_is_up = false;
                self.later(until.max(sim.elapsed() + 2 * DRAIN), Repair::StartServer)
            }
            Fault::PowerLoss if self.server_is_up => {
                for client in 0..self.world.config.clients {
                    self.break_link(sim, client, Broken::Cut, until);
                }
                self.stop_server(sim, until) && self.later(until, Repair::Isolation { server: serving })
            }
            Fault::Replace if self.server_is_up && self.world.config.servers > 1 => {
                let next = (serving + 1) % self.world.config.servers;
                // One that was replaced before and not stopped yet.
                self.crash_server(sim, next);
                self.world.serve_from(next);
                self.start(sim, &server_name(next));
                let now = sim.elapsed();
                self.world.witness.event(|| format!("server {next} replaces server {serving}"));
                // Clients that have a connection to it go on there.
                let longer = self.random.one_of(&[0, 0, 4_000, 10_000]);
                let until = until + Duration::from_millis(longer);
                self.world
                    .witness
                    .note(|| "it runs on".into(), |seen, _| seen.two_servers.push((now, until)));
                self.later(until, Repair::StopOld { server: serving })
            }
            Fault::CrashClient if self.clients_up[client] => {
                self.crash(sim, &client_name(client));
                self.clients_up[client] = false;
                self.later(until, Repair::StartClient { client })
            }
            Fault::SlowStore => {
                let slower_ms = self.random.one_of(&[30, 300, 1_500]);
                self.world.disk.weather(|weather| weather.slower_ms = slower_ms);
                self.later(until, Repair::Store)
            }
            Fault::FailSync => {
                self.world.disk.weather(|weather| weather.fails = true);
                true
            }
            Fault::RefuseWrites => {
                let percent = self.random.within(10..100);
                self.world.disk.weather(|weather| weather.refused_percent = percent);
                self.later(until, Repair::Store)
            }
            Fault::Skew => {
                let millis = self.random.one_of(&[-60_000, -8_000, -2_000, 2_000, 8_000, 60_000]);
                self.world.walls[serving].skew(millis);
                self.later(until, Repair::Clock { server: serving })
            }
            Fault::IssuerAway => {
                self.world.issuer_is_away.store(true, Ordering::Relaxed);
                self.later(until, Repair::Issuer)
            }
            // Not too often: little can be said of a session that two have.
            Fault::Rival if self.clients_up[client] && self.random.percent(30) => {
                self.world.people[client].rivals.fetch_add(1, Ordering::Relaxed);
                true
            }
            Fault::CrashServer
            | Fault::Restart
            | Fault::Rival
            | Fault::Drain
            | Fault::PowerLoss
            | Fault::Replace
            | Fault::CrashClient => false,
        }
    }

    fn repair(&mut self, sim: &mut Sim<'_>, repair: Repair) {
        match repair {
            Repair::Link { client, server } => self.mend_link(sim, client, server),
            Repair::Isolation { server } => {
                for client in 0..self.world.config.clients {
                    self.mend_link(sim, client, server);
                }
            }
            Repair::Latency => sim.set_max_message_latency(LATENCY_MAX),
            Repair::EndServer { server } => self.crash_server(sim, server),
            Repair::StartServer => {
                self.server_is_up = true;
                self.crash_server(sim, self.world.serving());
                self.start(sim, &server_name(self.world.serving()));
            }
            Repair::StopOld { server } => {
                if server != self.world.serving() {
                    self.crash_server(sim, server);
                }
            }
            Repair::StartClient { client } => {
                self.clients_up[client] = true;
                self.start(sim, &client_name(client));
            }
            Repair::Store => self.world.disk.weather(|weather| {
                weather.slower_ms = 0;
                weather.refused_percent = 0;
            }),
            Repair::Clock { server } => self.world.walls[server].skew(0),
            Repair::Issuer => self.world.issuer_is_away.store(false, Ordering::Relaxed),
        }
    }

    /// The server is gone without a word.
    fn stop_server(&mut self, sim: &mut Sim<'_>, start_at: Duration) -> bool {
        self.crash_server(sim, self.world.serving());
        self.server_is_up = false;
        self.later(start_at, Repair::StartServer)
    }

    /// The server's process ends: its connections are closed, and a moment later it is gone.
    fn end_server(&mut self, sim: &mut Sim<'_>, start_at: Duration) -> bool {
        let server = self.world.serving();
        self.world.orders[server].stop.notify_one();
        self.server_is_up = false;
        self.later(sim.elapsed(), Repair::EndServer { server });
        self.later(start_at, Repair::StartServer)
    }

    fn crash_server(&mut self, sim: &mut Sim<'_>, server: usize) {
        self.crash(sim, &server_name(server));
        // An order that it did not see any more is not for its next life.
        let orders = &self.world.orders[server];
        let _ = futures_util::FutureExt::now_or_never(orders.stop.notified());
        let _ = futures_util::FutureExt::now_or_never(orders.drain.notified());
    }

    /// Starts the host's software anew. What still runs there dies first.
    fn start(&mut self, sim: &mut Sim<'_>, host: &str) {
        self.crash(sim, host);
        self.silently(sim, host, |sim| sim.bounce(host));
    }

    fn crash(&mut self, sim: &mut Sim<'_>, host: &str) {
        self.world.witness.event(|| format!("{host} dies"));
        self.silently(sim, host, |sim| sim.crash(host));
    }

    /// Ends all that runs on the host. Its sockets are closed in an order that no seed decides, so nobody hears of that:
    /// whoever talks to the host next is told, or finds out by its silence.
    fn silently(&mut self, sim: &mut Sim<'_>, host: &str, act: impl FnOnce(&mut Sim<'_>)) {
        let servers = (0..self.world.config.servers).map(server_name);
        let others: Vec<_> = servers.chain((0..self.world.config.clients).map(client_name)).collect();
        for other in others.iter().filter(|other| *other != host) {
            sim.partition(host, other.as_str());
        }
        self.world.witness.death(|| act(sim));
        for other in others.iter().filter(|other| *other != host) {
            sim.repair(host, other.as_str());
        }
        for ((client, server), broken) in &self.links {
            apply(sim, *client, *server, *broken);
        }
    }

    fn break_link(&mut self, sim: &mut Sim<'_>, client: usize, broken: Broken, until: Duration) -> bool {
        let server = self.world.serving();
        if self.links.contains_key(&(client, server)) {
            return false;
        }
        apply(sim, client, server, broken);
        self.links.insert((client, server), broken);
        self.later(until, Repair::Link { client, server })
    }

    fn mend_link(&mut self, sim: &mut Sim<'_>, client: usize, server: usize) {
        let Some(broken) = self.links.remove(&(client, server)) else { return };
        let (from, to) = (client_name(client), server_name(server));
        match broken {
            Broken::Cut => sim.repair(from, to),
            Broken::ToServer => sim.repair_oneway(from, to),
            Broken::ToClient => sim.repair_oneway(to, from),
            Broken::Held => sim.release(from, to),
        }
    }

    fn pick(&mut self, count: usize) -> usize {
        usize::try_from(self.random.within(0..count as u64)).unwrap_or_default()
    }
}

fn apply(sim: &Sim<'_>, client: usize, server: usize, broken: Broken) {
    let (from, to) = (client_name(client), server_name(server));
    match broken {
        Broken::Cut => sim.partition(from, to),
        Broken::ToServer => sim.partition_oneway(from, to),
        Broken::ToClient => sim.partition_oneway(to, from),
        Broken::Held => sim.hold(from, to),
    }
}
