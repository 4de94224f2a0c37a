//! The form of a stream in which the application sees the sync points: typed, for servers and clients alike.
//!
//! ```text
//!   Checkpointed<T> ──▶ tonic::Streaming<T> ──▶ AppBody ─┐
//!        ▲                                               ▼
//!        └──────────── sync points ◀──────────────────  Gate
//! ```
//!
//! tonic's decoder polls its body only when it has no whole message left. So a body that has come to a point puts it
//! into the gate and has nothing more to give, and whoever finds the decoder waiting finds the point there: exactly
//! where it lies, with tonic's own decoding, compression and bounds in between.

mod gate;
mod handle;
mod outgoing;
mod point;
mod reading;
mod rereading;

pub(crate) use gate::{Gate, Passage};
pub use handle::Checkpoints;
pub use outgoing::{Outgoing, OutgoingItem, OutgoingMessages, OutgoingResults};
pub use point::{Item, Point, Resumed};
pub use reading::Checkpointed;
pub use rereading::{Reread, RereadResults};
