//! What a store holds, counted.

use crate::encode::Life;

/// What a store holds. Bytes are those of the records, their keys included: what is on the medium besides are older
/// versions, journals and the engine's own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Contents {
    /// Sessions that live.
    pub sessions_live: u64,
    /// Sessions that have ended and are remembered.
    pub sessions_ended: u64,
    /// Bytes of both.
    pub session_bytes: u64,
    /// Slots that remember a call.
    pub slots: u64,
    /// Bytes of these: intents and replies.
    pub slot_bytes: u64,
    /// Activities, whether or not a call works on them.
    pub activities: u64,
    /// Bytes of these: states and replies.
    pub activity_bytes: u64,
    /// Values of the application.
    pub values: u64,
    /// Bytes of these.
    pub value_bytes: u64,
}

impl Contents {
    pub(crate) fn add_session(&mut self, life: Life, bytes: usize) {
        *self.sessions(life) += 1;
        self.session_bytes += bytes as u64;
    }

    pub(crate) fn remove_session(&mut self, life: Life, bytes: usize) {
        *self.sessions(life) -= 1;
        self.session_bytes -= bytes as u64;
    }

    /// A slot's record had `before` bytes and now has `after`; `None`: there is none.
    pub(crate) fn replace_slot(&mut self, before: Option<usize>, after: Option<usize>) {
        replace(&mut self.slots, &mut self.slot_bytes, before, after);
    }

    /// The same for an activity.
    pub(crate) fn replace_activity(&mut self, before: Option<usize>, after: Option<usize>) {
        replace(&mut self.activities, &mut self.activity_bytes, before, after);
    }

    /// The same for a value of the application.
    pub(crate) fn replace_value(&mut self, before: Option<usize>, after: Option<usize>) {
        replace(&mut self.values, &mut self.value_bytes, before, after);
    }

    fn sessions(&mut self, life: Life) -> &mut u64 {
        match life {
            Life::Live(_) => &mut self.sessions_live,
            Life::Ended(_) => &mut self.sessions_ended,
        }
    }
}

fn replace(count: &mut u64, bytes: &mut u64, before: Option<usize>, after: Option<usize>) {
    *count = *count + u64::from(after.is_some()) - u64::from(before.is_some());
    *bytes = *bytes + after.unwrap_or(0) as u64 - before.unwrap_or(0) as u64;
}
