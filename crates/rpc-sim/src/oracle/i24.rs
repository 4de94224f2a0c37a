//! I24: whoever was told that the session is gone never reaches it again.

use crate::witness::{Seen, What};

//= I24
pub(super) fn check(seen: &Seen) -> Vec<String> {
    let mut wrong = Vec::new();
    for over in &seen.over {
        let later = seen.asked.iter().filter(|(_, asked)| {
            (asked.client, asked.session) == (over.client, over.session) && asked.order > over.order
        });
        for (id, asked) in later {
            let told = asked.told.as_ref().map(|(_, what)| what);
            if !matches!(told, Some(What::NotExecuted(_))) {
                wrong.push(format!("{id} was called in session {}, which is over: {told:?}", over.session));
            }
        }
    }
    wrong
}
