//! Who waits for what of one session.

use rpc_core::id::CallId;
use rpc_core::record::Reply;
use rpc_core::session::{Answer, RequestId};
use tokio::sync::{oneshot, watch};

use super::awaited::Awaited;
use super::waiting::{self, Recorded, Recording, Waiting};

/// All that wait. A session for which nobody does keeps no room for them: most sessions are idle.
#[derive(Default)]
pub(super) struct Waits(Option<Box<Lists>>);

#[derive(Default)]
struct Lists {
    /// For the answers to requests.
    answers: Vec<(RequestId, oneshot::Sender<Answer>)>,
    /// Calls whose records are on their way to the store.
    recording: Vec<Waiting>,
    /// Streams of which it is on its way up to where they are secured. At most one for each call.
    securing: Vec<Waiting>,
    awaited: Awaited,
}

impl Waits {
    /// `answer` is told the answer to `request`.
    pub(super) fn answer(&mut self, request: RequestId, answer: oneshot::Sender<Answer>) {
        self.lists().answers.push((request, answer));
    }

    /// Tells the answer to `request`.
    pub(super) fn tell_answer(&mut self, request: RequestId, answer: Answer) {
        self.end(|lists| {
            if let Some(index) = lists.answers.iter().position(|(waiting, _)| *waiting == request) {
                // Whoever asked may have gone away; what was done stays done.
                let _ = lists.answers.swap_remove(index).1.send(answer);
            }
        });
    }

    /// Waits for the record of `call`.
    pub(super) fn recording(&mut self, call: CallId) -> Recording {
        let (told, recording) = waiting::pair();
        self.lists().recording.push((call, told));
        recording
    }

    /// Waits until the store knows up to where the stream of `call` is secured.
    pub(super) fn securing(&mut self, call: CallId) -> Recording {
        let (told, recording) = waiting::pair();
        self.lists().securing.push((call, told));
        recording
    }

    pub(super) fn tell_recording(&mut self, call: CallId, recorded: Recorded) {
        self.end(|lists| waiting::tell(&mut lists.recording, call, recorded));
    }

    pub(super) fn tell_securing(&mut self, call: CallId, recorded: Recorded) {
        self.end(|lists| waiting::tell(&mut lists.securing, call, recorded));
    }

    /// What those who wait for `call`, which runs, will be told.
    pub(super) fn reply_of(&mut self, call: CallId) -> watch::Receiver<Option<Reply>> {
        self.lists().awaited.reply_of(call)
    }

    /// The handler of `call` has ended, with this reply if it came to one.
    pub(super) fn finished(&mut self, call: CallId, reply: Option<&Reply>) {
        self.end(|lists| lists.awaited.finished(call, reply));
    }

    fn lists(&mut self) -> &mut Lists {
        self.0.get_or_insert_default()
    }

    /// Ends some waits.
    fn end(&mut self, tell: impl FnOnce(&mut Lists)) {
        let Some(lists) = &mut self.0 else { return };
        tell(lists);
        if lists.is_empty() {
            self.0 = None;
        }
    }
}

impl Lists {
    fn is_empty(&self) -> bool {
        let Self { answers, recording, securing, awaited } = self;
        answers.is_empty() && recording.is_empty() && securing.is_empty() && awaited.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use rpc_core::id::{Sequence, SlotId};

    use super::*;

    #[tokio::test]
    async fn when_nobody_waits_any_more_nothing_is_kept() {
        let call = CallId { slot: SlotId(0), sequence: Sequence(1) };
        let mut waits = Waits::default();
        waits.finished(call, None);
        assert!(waits.0.is_none());
        let (told, answer) = oneshot::channel();
        waits.answer(RequestId(1), told);
        let (recording, securing) = (waits.recording(call), waits.securing(call));
        let reply = waits.reply_of(call);
        waits.tell_answer(RequestId(2), Answer::Renewed);
        waits.tell_answer(RequestId(1), Answer::Renewed);
        waits.tell_recording(call, Recorded::Yes);
        waits.tell_securing(call, Recorded::Again);
        assert!(waits.0.is_some(), "somebody waits for the reply");
        waits.finished(call, None);
        assert!(waits.0.is_none());
        assert_eq!(answer.await, Ok(Answer::Renewed));
        assert_eq!((recording.wait().await, securing.wait().await), (Recorded::Yes, Recorded::Again));
        assert_eq!(*reply.borrow(), None);
    }
}
