//! Call admission, explored exhaustively: every order of events within bounds, on the core's own types.
//!
//! What decides is the core: its `Session` with slots and outbox, its `Calls` and `Resolution` on the client's side, its
//! `MemoryStore`. What is written here is the world around them: the two shells, as small as they can be, the network, and
//! the clock, which stands still but for an expiry.
//!
//! | modelled | how |
//! | --- | --- |
//! | clients | a process makes its calls in turn or in several slots, sends them again, gives them up, asks about them; it may die, and the next one resolves the slots |
//! | network | requests and questions are delayed, reordered, lost, sent twice; connections break under them; somebody forges a request under a used id |
//! | servers | crash with their memory, start again from the store; another one takes over while the old one lives on, until it is fenced |
//! | store | makes the writes of a server one after another; what was on its way at a crash is made or not, late too where servers share the store |
//! | calls | `record: MEMORY`, durable, durable and idempotent, EXACTLY_ONCE with a counter that each transaction raises |
//!
//! Not modelled: streams, activities, exclusive classes, tickets and renewal, release, replies over the bound, a store that
//! fails or is overloaded, time. A client that goes astray gets to the owner of the session after two tries.
//!
//! The world keeps two promises that the core rests on and cannot check: a server that shares the store **claims a session
//! before it reads it**; and a request of a MEMORY call does not outlive its server, nor is there another owner beside that.
//! The tests in `teeth.rs` take each of them away.
//!
//! `Ledger` notes what really happened. The invariants compare it with what callers were told; the last one, *ends*, finds
//! states in which nothing can happen any more and a caller still waits.

mod client;
mod disk;
mod hashed;
mod invariants;
mod ledger;
mod message;
mod model;
mod scenario;
mod server;
mod state;

pub use client::{Call, Process, Told};
pub use disk::Disk;
pub use hashed::Hashed;
pub use ledger::{Ledger, Truth};
pub use message::{Message, Question, Request, Said};
pub use model::{Admission, Step};
pub use scenario::{Bounds, Fault, Planned, Scenario};
pub use server::{Handler, Server};
pub use state::State;
