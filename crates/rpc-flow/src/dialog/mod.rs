//! The application's side of a dialog: one handle, and what it hands out.
//!
//! ```text
//!   Dialog ──▶ Turn ──▶ Speaking           who speaks
//!     ├──────▶ Please, TokenSet            who may do what
//!     ├──────▶ Typed, expedited, Exception what passes by the messages
//!     └──────▶ Resynchronize ──▶ Resynchronized ◀── ResyncRequest
//! ```
//!
//! Whoever waits looks at the stream under its lock, and again when the dialog has changed: what changes it is told by
//! [`rpc_core`], so nobody polls.

mod apart;
mod asking;
mod desk;
mod handle;
mod major;
mod resync;
mod standing;
mod terms;
mod turn;

pub use apart::Typed;
pub(crate) use desk::{Desk, DialogMark};
pub use handle::Dialog;
pub use resync::{ResyncRequest, Resynchronize, Resynchronized};
pub(crate) use standing::{Reading, Reads};
pub use terms::dialog_terms;
pub use turn::{Speaking, Turn};
