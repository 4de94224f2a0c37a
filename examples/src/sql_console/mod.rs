//! A database session over SQLite: what a program has open in its database survives the connection, and ends with the
//! session.
//!
//! - [`database`]: the server. A connection to SQLite for each session, closed by the hook for the session's end.
//! - [`client`]: statements in, tables out.
//! - [`demonstration`]: both, with a connection that is cut and a machine that goes away.
//! - [`command`]: the command line.

pub mod client;
pub mod command;
pub mod database;
pub mod demonstration;

#[cfg(test)]
mod tests;
