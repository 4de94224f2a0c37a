//! The side of a stream that faces the application: one body in, one body out, over all attempts.

mod body;
mod intake;
mod pump;
mod quiet;

pub use body::AppBody;
pub use pump::AppEnd;
pub(crate) use pump::pump;
