//! What a store holds, counted.

use rpc_core::store::operations::Contents;

use crate::encode::Life;

/// Counts what comes and goes.
pub(crate) trait Count {
    fn add_session(&mut self, life: Life, bytes: usize);

    fn remove_session(&mut self, life: Life, bytes: usize);

    /// A slot's record had `before` bytes and now has `after`; `None`: there is none.
    fn replace_slot(&mut self, before: Option<usize>, after: Option<usize>);

    /// The same for an activity.
    fn replace_activity(&mut self, before: Option<usize>, after: Option<usize>);

    /// The same for a value of the application.
    fn replace_value(&mut self, before: Option<usize>, after: Option<usize>);
}

impl Count for Contents {
    fn add_session(&mut self, life: Life, bytes: usize) {
        *sessions(self, life) += 1;
        self.session_bytes += bytes as u64;
    }

    fn remove_session(&mut self, life: Life, bytes: usize) {
        *sessions(self, life) -= 1;
        self.session_bytes -= bytes as u64;
    }

    fn replace_slot(&mut self, before: Option<usize>, after: Option<usize>) {
        replace(&mut self.slots, &mut self.slot_bytes, before, after);
    }

    fn replace_activity(&mut self, before: Option<usize>, after: Option<usize>) {
        replace(&mut self.activities, &mut self.activity_bytes, before, after);
    }

    fn replace_value(&mut self, before: Option<usize>, after: Option<usize>) {
        replace(&mut self.values, &mut self.value_bytes, before, after);
    }
}

fn sessions(contents: &mut Contents, life: Life) -> &mut u64 {
    match life {
        Life::Live(_) => &mut contents.sessions_live,
        Life::Ended(_) => &mut contents.sessions_ended,
    }
}

fn replace(count: &mut u64, bytes: &mut u64, before: Option<usize>, after: Option<usize>) {
    *count = *count + u64::from(after.is_some()) - u64::from(before.is_some());
    *bytes = *bytes + after.unwrap_or(0) as u64 - before.unwrap_or(0) as u64;
}
