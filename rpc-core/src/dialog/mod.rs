//! The dialog of one stream, after X.215: who may do what (tokens), requests for tokens, data against the turn and past
//! flow control, exceptions, and going back to an agreed point.
//!
//! Both sides run the same types. The bytes of the stream are not this module's: it is told where they stand, and says
//! whether they may go on.

mod resync;
mod token;

pub use resync::{Collision, ResyncKind};
pub use token::{Holding, Token, TokenSet};
