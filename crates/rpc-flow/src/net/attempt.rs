//! One attempt of a call.

use std::sync::Arc;

use rpc_core::id::Attempt as Number;
use rpc_core::stream::resume::Resume;

use super::body::NetBody;
use super::feed::Feed;
use crate::shared::Shared;

/// Whether the caller reads control frames, which it says with `session-frames: 1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Frames {
    /// It does.
    On,
    /// It does not: none is sent. The end of its body is its END, and what was written to it counts as secured, since it
    /// has no way to say so. Server only.
    Off,
}

/// One attempt that has begun. Dropping it, or one of its parts before its end, means that its connection is lost.
#[derive(Debug)]
pub struct Attempt {
    number: Number,
    resume: Option<Resume>,
    body: NetBody,
    feed: Feed,
}

impl Attempt {
    pub(crate) fn new(shared: &Arc<Shared>, number: Number, frames: Frames, resume: Option<Resume>) -> Self {
        Self {
            number,
            resume,
            body: NetBody::new(Arc::clone(shared), number, frames),
            feed: Feed::new(Arc::clone(shared), number, frames),
        }
    }

    /// Its number, the third in `session-call`.
    pub fn number(&self) -> Number {
        self.number
    }

    /// What goes into `session-resume-bin`; `None` for attempt 0, which does not carry it.
    pub fn resume(&self) -> Option<&Resume> {
        self.resume.as_ref()
    }

    /// The outgoing body, and what reads the incoming one.
    pub fn split(self) -> (NetBody, Feed) {
        (self.body, self.feed)
    }
}
