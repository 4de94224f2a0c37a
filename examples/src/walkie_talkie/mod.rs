//! Push to talk: two radios share a channel on which one side speaks at a time.

mod channel;
pub mod command;
mod demonstration;
mod radio;
