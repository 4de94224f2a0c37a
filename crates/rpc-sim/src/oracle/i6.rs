//! I6: what is kept of replies is bounded by what was agreed. Streams are looked at where callers are.

use std::collections::BTreeMap;

use rpc_core::record::{CallRecord, Change};

use super::i5::slot;
use crate::witness::Seen;

//= I6
pub(super) fn check(seen: &Seen) -> Vec<String> {
    let mut wrong = Vec::new();
    let (mut agreed, mut kept) = (BTreeMap::new(), BTreeMap::new());
    for entry in seen.journal.iter().filter(|entry| entry.answer.is_ok()) {
        let session = entry.write.session;
        if let Change::Create(record) = &entry.write.change {
            agreed.insert(session, (record.agreement.slots, record.agreement.reply_bytes));
        }
        let Some(slot) = slot(&entry.write.change) else { continue };
        let Some((slots, reply_bytes)) = agreed.get(&session) else { continue };
        let bytes = match &slot.call {
            CallRecord::Done(_, reply) | CallRecord::ReplyDropped(_, reply) => reply.bytes(),
            CallRecord::Streamed(_, reply, _) => reply.bytes(),
            CallRecord::Begun(_)
            | CallRecord::Streaming(..)
            | CallRecord::Working(..)
            | CallRecord::Unknown(_)
            | CallRecord::Settled => 0,
        };
        let of_session: &mut BTreeMap<_, usize> = kept.entry(session).or_default();
        of_session.insert(slot.slot, bytes);
        if of_session.len() > *slots as usize || bytes > *reply_bytes as usize {
            let count = of_session.len();
            wrong.push(format!("session {session} keeps {bytes} bytes in one of {count} slots"));
        }
    }
    wrong
}
