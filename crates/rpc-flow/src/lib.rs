//! Checkpointed streams between HTTP bodies: what servers and clients put around
//! [`rpc_core::stream::flow::Flow`], which decides everything.
//!
//! A [`Stream`] is one side of one call over all the connections that carry it. The application's bodies belong to the
//! stream, those of the transport to one attempt each:
//!
//! ```text
//!                  ┌───────────── Stream ─────────────┐
//!  application ───▶│ pump_app                 NetBody │───▶ transport,
//!              ◀───│ AppBody, Items              Feed │◀─── attempt n
//!                  └──────────────────────────────────┘
//! ```
//!
//! Nothing here knows of sessions, slots, retries or connections, and nothing is spawned: who calls
//! [`Stream::pump_app`] and [`Feed::run`] awaits them.
//!
//! # A call
//!
//! - The **client** makes a [`Stream`], gives the stub [`Stream::app_body`] and pumps the stub's request body. For each
//!   connection it begins an [`Attempt`], sends its [`NetBody`] as the request and runs its [`Feed`] with the response's
//!   body. Where that ended [`Complete`](How::Complete) it [concludes](Stream::conclude) the stream with the trailers;
//!   where it [broke](How::Broken) it begins the next attempt; where it was [short](How::Short) the trailers say which.
//! - The **server** makes a [`Stream`] for attempt 0, or finds it for a later one, begins an [`Attempt`] with what came in
//!   `session-resume-bin`, answers with its [`NetBody`] and runs its [`Feed`] with the request's body. The first time it
//!   calls the handler with [`Stream::app_body`], tells its headers with [`Stream::answer_head`], pumps its response and
//!   [concludes](Stream::conclude) the stream with the trailers. The stream is done when the client's body has ended
//!   after them.
//!
//! # Bounds
//!
//! Per direction at most the window of [`Config`](rpc_core::stream::Config), or one longer message, waits for the
//! application; as much, and one batch of the application's, is kept until it is secured; up to 64 KiB and one piece more
//! wait for the transport.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod app;
mod items;
mod net;
mod shared;
mod status;
mod stream;
mod view;
mod wake;

pub use app::{AppBody, AppEnd};
pub use items::{Item, Items, Point};
pub use net::{Attempt, Ended, Feed, Frames, How, NetBody, Reset};
pub use stream::Stream;
pub use view::View;

#[cfg(test)]
mod tests;
