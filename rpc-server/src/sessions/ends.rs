//! Tells the application which sessions have ended, so that it frees what it held for them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::thread;

use rpc_core::error::Reason;
use rpc_core::id::SessionId;
use rpc_core::principal::Principal;
use rpc_core::record::End;

/// How a session came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SessionEnd {
    /// In order: nothing was under way, and everything was secured (X.215 clause 12.20, orderly release).
    Released,
    /// At once, by either side.
    Aborted,
    /// Nobody was there for longer than its lease or linger.
    Expired,
    /// It goes on at another server. Only handlers that still run here are told that; it is the end of nothing that the
    /// application holds for the session, and no hook is called.
    Moved,
}

impl SessionEnd {
    /// The stable reason for whoever still talks to the session.
    pub(crate) fn reason(self) -> Reason {
        match self {
            Self::Released | Self::Aborted | Self::Expired => Reason::SessionEnded,
            Self::Moved => Reason::SessionFenced,
        }
    }
}

impl From<End> for SessionEnd {
    fn from(end: End) -> Self {
        match end {
            End::Released => Self::Released,
            End::Aborted => Self::Aborted,
            End::Expired => Self::Expired,
        }
    }
}

/// A session that is over, as the hooks of [`Builder::on_session_end`](crate::Builder::on_session_end) are told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct EndedSession {
    /// Its number, which no other session ever has.
    pub number: SessionId,
    /// Whose it was.
    pub principal: Principal,
    /// How it ended.
    pub end: SessionEnd,
    /// An earlier server on the same store ended the session, and may have told its hooks of it: this server cannot
    /// know. Within the process in which a session ends it is told of once.
    pub told_before: bool,
}

/// What an application wants to be called with.
pub(crate) type Hook = Box<dyn Fn(&EndedSession) + Send>;

/// The way to the application's hooks.
///
/// They run on a thread of their own, one session after the other: a slow one delays other hooks and nothing else. What
/// waits is not bounded by a number of its own, since nothing may be lost: it is as many as end while a hook runs.
#[derive(Debug)]
pub(crate) struct Ends {
    queue: Option<mpsc::Sender<EndedSession>>,
}

impl Ends {
    /// Starts the thread, if there is anything to be called. It ends when this is dropped and everybody has been told.
    pub(crate) fn start(hooks: Vec<Hook>) -> std::io::Result<Self> {
        if hooks.is_empty() {
            return Ok(Self { queue: None });
        }
        let (queue, ends) = mpsc::channel();
        thread::Builder::new().name("session-ends".into()).spawn(move || run(&hooks, &ends))?;
        Ok(Self { queue: Some(queue) })
    }

    /// The end of this session is recorded.
    pub(super) fn tell(&self, ended: EndedSession) {
        if let Some(queue) = &self.queue {
            // The thread ends after this sender.
            let _ = queue.send(ended);
        }
    }
}

fn run(hooks: &[Hook], ends: &mpsc::Receiver<EndedSession>) {
    for ended in ends {
        for hook in hooks {
            if catch_unwind(AssertUnwindSafe(|| hook(&ended))).is_err() {
                tracing::error!(session = %ended.number, "a hook for the end of a session panicked");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hook_that_panics_harms_neither_the_others_nor_those_after_it() {
        let (told, heard) = mpsc::channel();
        let hooks: Vec<Hook> = vec![
            Box::new(|ended| assert!(ended.number > SessionId::new(1).unwrap(), "the first one is bad luck")),
            Box::new(move |ended| told.send(ended.number.to_string()).unwrap()),
        ];
        let ends = Ends::start(hooks).unwrap();
        for number in 1..=3 {
            ends.tell(EndedSession {
                number: SessionId::new(number).unwrap(),
                principal: Principal::new("issuer", "alice"),
                end: SessionEnd::Expired,
                told_before: false,
            });
        }
        drop(ends);
        // It ends only when the thread has dropped its hooks.
        assert_eq!(heard.iter().collect::<Vec<_>>(), ["1", "2", "3"]);
    }
}
