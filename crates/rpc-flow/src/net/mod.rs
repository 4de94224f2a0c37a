//! The side of a stream that faces the transport: one attempt at a time.

mod attempt;
mod batch;
mod body;
mod feed;

pub use attempt::{Attempt, Frames};
pub use body::{NetBody, Reset};
pub use feed::{Ended, Feed, How};
