//! The client of numbered sessions for gRPC.
//!
//! A [`Session`] is opened once with a server and is then the channel of ordinary generated stubs. Connections may
//! break under it: calls of protected methods are not lost, not run twice, and never reported as something they were
//! not. What each method promises stands in the `.proto` file; nothing changes in messages, stubs or handlers.
//!
//! # Example
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use rpc_client::credentials::{Token, from_fn};
//! use rpc_client::{Outcome, OutcomeExt as _, Session};
//! # use rpc_core::policy::{Described, ServicePolicy};
//! # // Stands for the stub that `rpc_build` writes, so that this page compiles by itself.
//! # struct LedgerClient<T>(T);
//! # impl<T> Described for LedgerClient<T> {
//! #     const POLICY: &'static ServicePolicy =
//! #         &ServicePolicy { name: "bank.v1.Ledger", version: 1, hash: 0, methods: &[] };
//! # }
//! # impl<T> LedgerClient<T> {
//! #     fn new(channel: T) -> Self { Self(channel) }
//! #     async fn transfer(&mut self, _: u64) -> Result<tonic::Response<u64>, tonic::Status> { Ok(tonic::Response::new(0)) }
//! # }
//! # async fn fetch_token() -> Result<String, std::io::Error> { Ok(String::new()) }
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! // Fetched again before it expires; a plain string does where a token never changes.
//! let credentials = from_fn(|| async {
//!     Ok(Token::new(fetch_token().await?).expires_in(Duration::from_secs(300)))
//! });
//! let session = Session::builder("https://ledger.example:50051")
//!     .credentials(credentials)
//!     .service::<LedgerClient<Session>>()
//!     .open()
//!     .await?;
//!
//! let mut ledger = LedgerClient::new(session.clone());
//! match ledger.transfer(100).await {
//!     Ok(reply) => println!("booked: {}", reply.into_inner()),
//!     Err(status) => match status.outcome() {
//!         Some(Outcome::Done) => println!("refused by the bank: {}", status.message()),
//!         Some(Outcome::NotExecuted) => println!("nothing was booked: {}", status.message()),
//!         Some(Outcome::Unknown) | None => println!("ask the bank: {}", status.message()),
//!     },
//! }
//!
//! session.release().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # What it does by itself
//!
//! - **Connections** are dialled, kept, replaced and balanced ([`net`]).
//! - **Lost answers** of protected and `AT_LEAST_ONCE` calls are asked for again, with growing random waits, until the
//!   deadline. What was provably not processed is sent again without being noticed.
//! - **Streams of methods with `checkpoint`** go on over the next connection from what the other side has, without loss
//!   or repetition; [`StreamWatch`] shows how far they are, and [`Checkpoints`] are for programs that place and secure
//!   sync points themselves.
//! - **Two sides of a stream** take turns where the method is `half_duplex`, and say things apart from their messages: see
//!   [`Dialog`].
//! - **Deadlines** hold for a call with all its attempts, streams to their last message. The shortest wins of what the
//!   request says, what the method's policy says, what the [builder](Builder::call_timeout) says, and what is left of
//!   the call that the present handler serves.
//! - **Cancelled calls** keep their call id out of use until the server has said what became of them.
//! - **Lease, authority and ticket** are renewed; fresh tokens are fetched from the [`Credentials`] in time.
//! - **The end of a session** is final. A session that the server does not know any more is never opened anew behind
//!   the program's back, because calls of the old one could then run twice.
//! - **A program that was restarted** goes on with its session, if it had that [saved](SavedSession).
//!
//! # What it does not
//!
//! Streams end with their session, but for [activities](Session::resume_activity). Nothing is kept on this side's disk but
//! [where the program asks for it](Builder::save_to), and load is balanced over connections to one target only.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod activity;
mod builder;
mod call;
mod checkpoints;
mod control;
mod core;
pub mod credentials;
mod deadline;
mod ending;
mod entropy;
mod error;
mod events;
mod keeper;
pub mod net;
mod open;
mod plaintext;
mod policy;
mod query;

mod release;
mod resume;
mod retry;
mod saved;
mod session;
mod slots;
mod state;
mod sync;

#[cfg(test)]
mod tests;

pub use rpc_core::dialog::{ResyncKind, Token, TokenSet};
pub use rpc_core::error::{Outcome, Reason};
pub use rpc_core::frame::dialog::{Cause, Exception, Please, Wish};
pub use rpc_core::id::{CallAttempt, CallId, Epoch, SessionId};
pub use rpc_core::initiator::renewal::Rotation;
pub use rpc_core::negotiate::{Agreement, FirstTurn, FirstTurnProposal, Offer, Unit, Units};
pub use rpc_core::policy::Described;
pub use rpc_core::record::Summary;
pub use rpc_core::release::ReleaseTokenError;
pub use rpc_core::stream::digest::Digest;
pub use rpc_core::stream::flow::Progress;
pub use rpc_core::stream::position::{Position, Serial};
pub use rpc_core::stream::secured::{Resumption, Secured};
pub use rpc_flow::{
    Checkpointed, Checkpoints, Dialog, Item, Outgoing, OutgoingItem, OutgoingMessages, Point, Reread,
    Resumed, ResyncRequest, Resynchronize, Resynchronized, Speaking, StreamWatch, Turn, Typed, View,
};
pub use rpc_proto::headers::Answered;

pub use self::activity::{ActivityResume, ActivityState};
pub use self::builder::{Builder, Target};
pub use self::call::{CallInfo, ResponseFuture};
pub use self::checkpoints::CheckpointsExt;
pub use self::credentials::Credentials;
pub use self::ending::CallFate;
pub use self::entropy::{Entropy, SystemEntropy};
pub use self::error::{OpenError, OutcomeExt, ReleaseError};
pub use self::events::{Event, Events};
pub use self::net::{Connector, Tls};
pub use self::query::{CallState, RecordedReply};
pub use self::release::ReleaseHold;
pub use self::saved::{SavedError, SavedSession};
pub use self::session::Session;
pub use self::state::{End, Life, State};
