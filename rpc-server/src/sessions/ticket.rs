//! Tickets: made from the system's randomness, kept as hashes.

use aws_lc_rs::digest::{SHA256, digest};
use rpc_core::id::{Ticket, TicketHash};

/// A source of bytes that nobody can guess.
///
/// The default is the operating system's. Simulations give one that repeats.
pub trait Entropy: Send + Sync + 'static {
    /// Fills `bytes`.
    ///
    /// # Errors
    ///
    /// The source does not work; no session is opened then.
    fn fill(&self, bytes: &mut [u8]) -> std::io::Result<()>;
}

/// The operating system's randomness.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) -> std::io::Result<()> {
        getrandom::fill(bytes).map_err(|error| std::io::Error::other(error.to_string()))
    }
}

/// A new ticket.
//= O-6
pub(crate) fn make(entropy: &dyn Entropy) -> std::io::Result<Ticket> {
    let mut bytes = [0; Ticket::BYTES];
    entropy.fill(&mut bytes)?;
    Ok(Ticket(bytes))
}

/// What is kept of a ticket.
pub(crate) fn hash(ticket: &Ticket) -> TicketHash {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, &ticket.0).as_ref());
    TicketHash(hash)
}
