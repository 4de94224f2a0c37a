//! The file transfer: an archive that takes files and gives them back, and goes on where it was whatever happens on the
//! way. The programs `transfer serve`, `send`, `get` and `ls`, and a demonstration of them.
//!
//! A file travels in [pages](PAGE_BYTES), with a sync point every [40](POINT_PAGES) of them. Both ends leave a
//! [`Mark`](mark::Mark) at each point: how far the file is, and the BLAKE3 of what lies before.
//!
//! ```text
//!   Source ── pages and points ──▶ session ──▶ receive ──▶ Part ── fsync ──▶ disk
//!                                                 └─ point.secure(mark) ◀──────┘
//! ```
//!
//! - A **connection** that is lost concerns the session only. Neither end of the transfer notices.
//! - A **server that dies** and is started again calls its handler again, with the last secured point and its mark. The
//!   caller does not notice.
//! - A **caller that dies** comes back, asks for its activity by name and gets the last secured point, with its mark. It
//!   reads again what lies before, compares, and goes on behind it. So does the archive with its part.
//! - What was cut off, changed or damaged meanwhile is **refused**, never patched over.

pub mod bar;
pub mod claims;
pub mod client;
pub mod command;
pub mod demonstration;
pub mod directory;
pub mod failure;
pub mod get;
pub mod key;
pub mod list;
pub mod lock;
pub mod mark;
pub mod name;
pub mod part;
pub mod receive;
pub mod send;
pub mod serve;
mod service;
pub mod source;
pub mod trouble;

/// What one message carries. More would save little and delay what shares the connection.
pub const PAGE_BYTES: usize = 32 << 10;

/// How many pages lie between two sync points, which is how often the receiver's disk is waited for: every 1.25 MiB.
pub const POINT_PAGES: u64 = 40;

/// What may be on its way without being secured: six points, so that the disk is waited for while pages go on.
pub const WINDOW_BYTES: u64 = 8 << 20;
