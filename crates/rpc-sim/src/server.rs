//! A server's host: the real server, built as users build it, on what is simulated.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rpc_server::{Limits, Range, Server, Terms};

use crate::handler::Handlers;
use crate::net;
use crate::pb::sim_server::SimServer;
use crate::random::Entropy;
use crate::token;
use crate::world::{DRAIN, World};

/// One life of the server, until its host crashes.
///
/// # Errors
///
/// It does not start, which no simulation makes happen.
pub async fn run(world: Arc<World>, number: usize) -> turmoil::Result {
    let life = world.server_lives[number].fetch_add(1, Ordering::Relaxed);
    world.witness.note(
        || format!("server {number} begins its life {life}"),
        |seen, order| seen.mounts.push((order, (number, life))),
    );
    let wall = world.walls[number].clone();
    let handlers = Handlers { witness: Arc::clone(&world.witness), server: (number, life) };
    let salt = 0x5e70_0000 + ((number as u64) << 24) + life;
    let server = Server::builder()
        .authenticate(token::authenticator(&wall)?)
        .simulated_store(world.disk.mount())
        .service(SimServer::new(handlers))
        .without_reflection()
        .terms(terms(&world))
        .limits(limits())
        .net(config(world.config.seed))
        .entropy(Entropy::new(world.config.seed, salt))
        .clock(move || wall.now())
        .detached()
        .await?;
    let incoming = net::listen(Arc::clone(&world.witness)).await?;
    let handle = server.handle();
    let mut serving = pin!(server.serve(incoming));
    let orders = &world.orders[number];
    loop {
        tokio::select! {
            biased;
            () = orders.stop.notified() => return Ok(()),
            () = orders.drain.notified() => handle.drain(DRAIN),
            _ = &mut serving => return Ok(()),
        }
    }
}

fn terms(world: &World) -> Terms {
    let fixed = |time| Range { min: time, default: time, max: time };
    let mut terms = Terms::default();
    terms.lease = fixed(world.config.lease);
    terms.linger = fixed(world.config.linger);
    terms.slots = Range { min: 1, default: 6, max: 6 };
    terms
}

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.retention = Duration::from_secs(5);
    limits.numbers_reserved = 3;
    limits
}

fn config(seed: u64) -> rpc_server::net::Config {
    let mut config = rpc_server::net::Config::default();
    config.http2.keepalive_interval = Duration::from_secs(1);
    config.http2.keepalive_timeout = Duration::from_secs(1);
    config.lifetime.jitter_seed = Some(seed);
    config.lifetime.age = Duration::from_secs(8);
    config.lifetime.grace = Duration::from_secs(3);
    config
}
