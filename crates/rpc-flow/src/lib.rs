//! Checkpointed streams between HTTP bodies: what servers and clients put around
//! [`rpc_core::stream::flow::Flow`], which decides everything.
//!
//! A [`Stream`] is one side of one call over all the connections that carry it. The application's bodies belong to the
//! stream, those of the transport to one attempt each:
//!
//! ```text
//!                  ┌───────────── Stream ─────────────┐
//!  application ───▶│ pump_app                 NetBody │───▶ transport,
//!              ◀───│ AppBody                     Feed │◀─── attempt n
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
//! - A **caller that reads no control frames** has no credit and places no points: its
//!   [attempt](Stream::attempt_without_frames) begins where it says, its body is read while there is room, and the points
//!   are placed where it arrives.
//! - What is left of a call when everything else is gone is its [resumption](Stream::resumption). Two
//!   [resumed](Stream::resumed) streams go on from there, in other processes and as another call.
//!
//! # Durable streams
//!
//! Where [`Config::durable`](rpc_core::stream::Config::durable) is set, what the application secured counts when it is
//! stored. The owner of the stream asks for [what is to be stored](Stream::unstored), keeps it, and says that it
//! [is](Stream::stored); no confirmation goes out before. After a crash the stream is [restored](Stream::restored) from it,
//! for a handler that is called again, while the client's stream lives on.
//!
//! # Sync points of the application's own
//!
//! Applications read and place sync points through the [`Checkpoints`] of their call, which is in the extensions of a
//! handler's request and of a client's response: [`Checkpointed`] gives messages and [`Point`]s in their order,
//! [`Checkpoints::outgoing`] and [`Checkpoints::outgoing_results`] take both. A client's handle is made before its call and
//! [bound](Checkpoints::bind) to the stream when that begins.
//!
//! An application that can read its source again, from any message on, says so with [`Checkpoints::reread`] or
//! [`Checkpoints::reread_results`]: then the stream keeps nothing of what was sent.
//!
//! # Dialogs
//!
//! Where [`Config::dialog`](rpc_core::stream::Config::dialog) says so (see [`dialog_terms`]), the two applications have a
//! [`Dialog`]: who speaks ([`Turn`]), what passes by the messages ([typed](Dialog::send_typed),
//! [expedited](Dialog::send_expedited), [reports](Dialog::report)), where a unit of it [ends](Dialog::major), and how it
//! [goes back](Dialog::resynchronize). The stream does what only it can: it hands the turn over behind the last message that
//! the application's body had ready, and drops what tonic's encoder and decoder hold when the stream goes back.
//!
//! # Bounds
//!
//! Per direction at most the window of [`Config`](rpc_core::stream::Config), or one longer message, waits for the
//! application; as much, and one batch of the application's, is kept until it is secured, or, where the application's source
//! can be read again, until it is sent; up to 64 KiB and one piece more wait for the transport.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod app;
mod checkpoints;
mod dialog;
mod locked;
mod net;
mod shared;
mod source;
mod status;
mod storing;
mod stream;
mod sync;
mod view;
mod wake;
mod watch;

pub use app::{AppBody, AppEnd};
pub use checkpoints::{
    Checkpointed, Checkpoints, Item, Outgoing, OutgoingItem, OutgoingMessages, OutgoingResults, Point,
    Reread, RereadResults, Resumed,
};
pub use dialog::{Dialog, ResyncRequest, Resynchronize, Resynchronized, Speaking, Turn, Typed, dialog_terms};
pub use net::{Attempt, Ended, Feed, Frames, How, NetBody, Reset};
pub use stream::Stream;
pub use view::View;
pub use watch::StreamWatch;

#[cfg(test)]
mod tests;
