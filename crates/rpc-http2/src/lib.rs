//! What both ends of a connection do on top of h2: send a body, read one, and find out that a silent peer is gone.
//!
//! Both ends are ours (docs/decisions.md, 14 and 58), and between them and the wire there is h2 alone. It has frames,
//! flow control and header compression; who drives a connection, and in which task, is for `rpc-client` and `rpc-server`
//! to say, and what both need for that is here, once.
//!
//! | type | is |
//! | --- | --- |
//! | [`Outgoing`] | a body on its way, frame by frame as the peer has room |
//! | [`Incoming`] | a body as its reader has it |
//! | [`Silence`], [`LastHeard`] | the questions to a peer that says nothing, and when it last said something |
//! | [`strip_connection_headers`] | removes what HTTP/2 does not know |

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod headers;
mod incoming;
mod outgoing;
mod silence;

#[cfg(test)]
mod tests;

pub use self::{
    headers::strip_connection_headers,
    incoming::Incoming,
    outgoing::Outgoing,
    silence::{LastHeard, Silence},
};
