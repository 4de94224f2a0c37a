//! Folders that are shared by name, with files that sessions have open and locked: what NetBIOS sessions carried. Everything
//! that a session holds is freed when it ends.
//!
//! - [`share`]: paths that do not lead out of the folder.
//! - [`locks`]: who has which bytes of which file.
//! - [`service`]: the server's handlers, and the hook for a session's end.
//! - [`demonstration`]: two users, a connection that is cut, and a machine that goes away with a lock.

pub mod demonstration;
pub mod locks;
pub mod service;
pub mod share;

#[cfg(test)]
mod tests;
