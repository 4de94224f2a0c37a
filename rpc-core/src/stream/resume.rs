//! What the two sides tell each other when a call goes on over another connection.

use super::position::{Generation, Position};
use crate::frame::Received;

/// The value of `session-resume-bin`: what one side of a call has, and where it will go on.
///
/// In a request it lets the server send at once from where the client is, and the frames that follow only confirm it.
/// Programs without control frames have nothing else: [`send_from`](Self::send_from) says what their body begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Resume {
    /// Generation of the direction that this side sends.
    pub generation: Generation,
    /// Where the first byte that this side sends in the attempt belongs.
    pub send_from: Position,
    /// What this side has of the direction that comes in.
    pub received: Received,
}
