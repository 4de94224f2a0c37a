//! Counting connections, and saying so in the log without flooding it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::{Limit, Limits};

/// The connections of a server, counted over all its threads. Locked three times in the life of a connection.
pub(super) struct Limiter {
    limits: Limits,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    all: usize,
    unused: usize,
    /// Never holds a zero, so it has at most `all` entries.
    by_network: HashMap<Network, usize>,
}

impl Limiter {
    pub(super) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self { limits, counts: Mutex::default() })
    }

    /// Counts a connection from `peer`, which is `None` for pipes, until the answer is dropped.
    ///
    /// # Errors
    ///
    /// The limit it would exceed; nothing is counted then.
    pub(super) fn admit(self: &Arc<Self>, peer: Option<IpAddr>) -> Result<Admission, Limit> {
        let network = peer.map(Network::of);
        let mut counts = self.lock();
        if counts.all >= self.limits.connections {
            return Err(Limit::Connections);
        }
        if counts.unused >= self.limits.unused {
            return Err(Limit::Unused);
        }
        if let Some(network) = network {
            if counts.by_network.get(&network).copied().unwrap_or(0) >= self.limits.per_address {
                return Err(Limit::PerAddress);
            }
            *counts.by_network.entry(network).or_default() += 1;
        }
        counts.all += 1;
        counts.unused += 1;
        drop(counts);
        Ok(Admission { limiter: Arc::clone(self), network, used: AtomicBool::new(false) })
    }

    /// Counting cannot leave the numbers half changed, so a poisoned lock is as good as another.
    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection that is counted until this is dropped.
pub(super) struct Admission {
    limiter: Arc<Limiter>,
    network: Option<Network>,
    used: AtomicBool,
}

impl Admission {
    /// Notes that a request came. Cheap when it is not the first.
    pub(super) fn mark_used(&self) {
        // The load keeps the cache line shared on the path of every call.
        if !self.is_used() && !self.used.swap(true, Ordering::Relaxed) {
            self.limiter.lock().unused -= 1;
        }
    }

    /// Whether a request came.
    pub(super) fn is_used(&self) -> bool {
        self.used.load(Ordering::Relaxed)
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let mut counts = self.limiter.lock();
        counts.all -= 1;
        if !self.is_used() {
            counts.unused -= 1;
        }
        if let Some(network) = self.network
            && let Some(count) = counts.by_network.get_mut(&network)
        {
            *count -= 1;
            if *count == 0 {
                counts.by_network.remove(&network);
            }
        }
    }
}

/// What counts as one address: an IPv4 address, or the /64 network that a single IPv6 host commands.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Network {
    V4(u32),
    V6(u64),
}

impl Network {
    fn of(address: IpAddr) -> Self {
        // A socket for both families shows IPv4 peers as ::ffff:a.b.c.d, which would all be one network.
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.to_bits()),
            IpAddr::V6(address) => Self::V6((address.to_bits() >> 64) as u64),
        }
    }
}

/// Lets one message pass per interval, and counts the others.
pub(super) struct Throttle {
    interval: Duration,
    state: Mutex<(Option<Instant>, u64)>,
}

impl Throttle {
    pub(super) const fn new(interval: Duration) -> Self {
        Self { interval, state: Mutex::new((None, 0)) }
    }

    /// How many messages were held back since the last one, if another may pass now.
    pub(super) fn pass(&self) -> Option<u64> {
        let now = Instant::now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (passed_at, held_back) = &mut *state;
        if passed_at.is_some_and(|at| now.duration_since(at) < self.interval) {
            *held_back += 1;
            return None;
        }
        *passed_at = Some(now);
        Some(std::mem::take(held_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limiter(connections: usize, per_address: usize, unused: usize) -> Arc<Limiter> {
        Limiter::new(Limits { connections, per_address, unused })
    }

    fn refusal(answer: Result<Admission, Limit>) -> Option<Limit> {
        answer.err()
    }

    #[test]
    fn a_place_is_free_again_when_its_connection_ended() {
        let limiter = limiter(1, 9, 9);
        let first = limiter.admit(None).unwrap();
        assert_eq!(refusal(limiter.admit(None)), Some(Limit::Connections));
        drop(first);
        assert!(limiter.admit(None).is_ok());
    }

    #[test]
    fn addresses_are_counted_apart_and_forgotten() {
        let limiter = limiter(9, 1, 9);
        let [one, two] = ["192.0.2.1", "192.0.2.2"].map(|text| text.parse::<IpAddr>().ok());
        let first = limiter.admit(one).unwrap();
        assert_eq!(refusal(limiter.admit(one)), Some(Limit::PerAddress));
        let second = limiter.admit(two).unwrap();
        drop((first, second));
        assert!(limiter.lock().by_network.is_empty());
        let counts = limiter.lock();
        assert_eq!((counts.all, counts.unused), (0, 0));
    }

    #[test]
    fn an_ipv6_host_is_its_network_and_a_mapped_address_is_ipv4() {
        let same = |a: &str, b: &str| Network::of(a.parse().unwrap()) == Network::of(b.parse().unwrap());
        assert!(same("2001:db8:1:2::3", "2001:db8:1:2:ffff::4"));
        assert!(!same("2001:db8:1:2::3", "2001:db8:1:3::3"));
        assert!(same("::ffff:192.0.2.1", "192.0.2.1"));
        assert!(!same("::ffff:192.0.2.1", "::ffff:192.0.2.2"));
    }

    #[test]
    fn a_request_frees_the_place_of_the_unused_once() {
        let limiter = limiter(9, 9, 1);
        let first = limiter.admit(None).unwrap();
        assert_eq!(refusal(limiter.admit(None)), Some(Limit::Unused));
        first.mark_used();
        first.mark_used();
        let second = limiter.admit(None).unwrap();
        assert_eq!(refusal(limiter.admit(None)), Some(Limit::Unused));
        drop((first, second));
        assert_eq!(limiter.lock().unused, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_throttle_tells_what_it_held_back() {
        let throttle = Throttle::new(Duration::from_secs(10));
        assert_eq!(throttle.pass(), Some(0));
        assert_eq!(throttle.pass(), None);
        assert_eq!(throttle.pass(), None);
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(throttle.pass(), Some(2));
    }
}
