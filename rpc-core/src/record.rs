//! What is remembered: of calls in a slot, of sessions in the store.

use std::sync::Arc;

use bytes::Bytes;

use crate::activity::{Key, Name, Worker, state_bytes};
use crate::id::{CallId, Epoch, Fingerprint, Nonce, Sequence, SessionId, SlotId, TicketHash};
use crate::negotiate::Agreement;
use crate::principal::Principal;
use crate::session::Kept;
use crate::stream::position::Position;
use crate::stream::secured::Resumption;
use crate::transaction::Transaction;

/// The recorded reply of a call. The shell made the parts and reads them; the core keeps and counts them.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Reply {
    /// gRPC status code; 0: the call succeeded.
    pub code: u8,
    /// Header of the response beyond what every response has; empty in the common case.
    pub head: Bytes,
    /// The response message as it went on the wire; empty if the call failed.
    pub message: Bytes,
    /// Trailer of the response beyond `grpc-status: 0`; empty in the common case.
    pub trailer: Bytes,
}

impl Reply {
    /// What the record takes of the session's memory.
    pub fn bytes(&self) -> usize {
        self.head.len() + self.message.len() + self.trailer.len()
    }
}

impl std::fmt::Debug for Reply {
    /// Shows sizes; payloads stay out of logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reply")
            .field("code", &self.code)
            .field("bytes", &self.bytes())
            .finish_non_exhaustive()
    }
}

/// The tickets that prove ownership of a session, as hashes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TicketHashes {
    /// The one in use.
    pub current: TicketHash,
    /// One that was issued and not used yet. Its first use makes it the current one.
    ///
    /// In a box, since most sessions have none for most of their life.
    pub pending: Option<Box<TicketHash>>,
}

/// A session as the store keeps it.
///
/// Leases are kept as durations (in the agreement) and start again on load; the end of the session's authority is a
/// time of the world, because it comes from a token.
///
/// Who has the session and who keeps it share one: it is what most of an idle session is made of.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SessionRecord {
    /// Whose it is.
    pub principal: Principal,
    /// What named its opening.
    pub nonce: Nonce,
    /// What it may use. Sessions that agreed on the same may share it.
    pub agreement: Arc<Agreement>,
    /// Who may use it.
    pub tickets: TicketHashes,
    /// When its authority ends, in seconds of Unix time; `None`: when the session does.
    pub authority_unix_s: Option<u64>,
    /// Scopes that its authority holds.
    pub scopes: Arc<[Box<str>]>,
}

/// What a slot remembers of its last call, as the store keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SlotRecord {
    /// The slot.
    pub slot: SlotId,
    /// The last call that was admitted or settled there.
    pub sequence: Sequence,
    /// What became of it.
    pub call: CallRecord,
}

/// An activity as the store keeps it, from the call that begins it on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ActivityRecord {
    /// Whose, and which.
    pub key: Key,
    /// Path of its method.
    pub method: Arc<str>,
    /// The call that works on it, or did last.
    pub worker: Worker,
    /// Up to where both sides have secured it.
    pub at: Resumption,
    /// What its call answered, where it is done.
    pub done: Option<Kept>,
}

/// Stands for the fields of a record whose size does not vary much.
const RECORD_BYTES: usize = 256;

impl SlotRecord {
    /// About how many bytes the store writes for it.
    fn bytes(&self) -> usize {
        let varying = match &self.call {
            CallRecord::Done(_, reply) | CallRecord::ReplyDropped(_, reply) => reply.bytes(),
            CallRecord::Streaming(_, at) => state_bytes(at),
            CallRecord::Streamed(_, kept, end) => kept.bytes() + state_bytes(end),
            CallRecord::Begun(_) | CallRecord::Working(..) | CallRecord::Unknown(_) | CallRecord::Settled => {
                0
            }
        };
        RECORD_BYTES + varying
    }
}

/// What the store knows of a call.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum CallRecord {
    /// It was admitted. Its handler may have begun, and nobody knows how far it came if its server is gone.
    Begun(Fingerprint),
    /// The same, of a stream that is kept: its handler begins again where both sides have secured it.
    Streaming(Fingerprint, Box<Resumption>),
    /// The same, of a stream that works on the activity of that name, whose record says where.
    Working(Fingerprint, Name),
    /// It ran, and this is its reply.
    Done(Fingerprint, Reply),
    /// It ran, and its reply was over the bound: the status only, in a reply without message.
    ReplyDropped(Fingerprint, Reply),
    /// It streamed and ran, and this is its reply, and where its stream came to its end.
    Streamed(Fingerprint, Kept, Box<Resumption>),
    /// It was begun and given up, or may have been, and nobody knows how far it came. `None`: it was not seen again.
    Unknown(Option<Fingerprint>),
    /// It never ran and never will.
    Settled,
}

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum End {
    /// In order: nothing was under way.
    Released,
    /// By either side, at once.
    Aborted,
    /// Nobody was there for longer than lease or linger.
    Expired,
}

/// What was exchanged in a session, over its whole life as far as the server that says this knows: of the time of a server
/// that is gone, what the slots remember.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Summary {
    /// Protected calls that were admitted, and streams with checkpoints. The next three numbers together.
    pub calls: u64,
    /// Calls that ended well.
    pub done: u64,
    /// Calls whose handlers answered with an error.
    pub failed: u64,
    /// Calls that were begun, and nobody knows how far they came: their handlers were stopped, or their server is gone.
    pub unknown: u64,
    /// What the initiator sent in streams with checkpoints, all together, and the acceptor has secured.
    pub requests: Position,
    /// What the acceptor sent in them, and the initiator has secured.
    pub responses: Position,
}

/// What is kept of a release, so that its answer can be asked for again.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Receipt {
    /// Who may ask.
    pub tickets: TicketHashes,
    /// The answer.
    pub summary: Summary,
}

/// What is remembered of an ended session for the retention time.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Tombstone {
    /// Whose it was.
    pub principal: Principal,
    /// What named its opening.
    pub nonce: Nonce,
    /// How it ended.
    pub end: End,
    /// Of one that was released: the answer to that.
    pub receipt: Option<Box<Receipt>>,
}

/// One change of one session.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Change {
    /// The session begins. Refused if the store knows the number already.
    Create(Arc<SessionRecord>),
    /// The session is now this.
    Update(Arc<SessionRecord>),
    /// Another server owns the session from here on, under this epoch, which is higher.
    Claim(Epoch),
    /// The slot's last call is now this.
    Slot(Box<SlotRecord>),
    /// The same, together with the effects of that call: all or nothing. Refused with
    /// [`WriteError::Conflict`](crate::store::WriteError::Conflict) if what the transaction has read is no longer so.
    Commit(Box<SlotRecord>, Box<Transaction>),
    /// The activity is now this, and so is the slot of the call that works on it, where that has changed. The session is
    /// the worker's.
    Activity(Box<ActivityRecord>, Option<Box<SlotRecord>>),
    /// The retention of an activity is over on which that call of the session worked last. The session may have been
    /// forgotten before, and its epoch is not asked for. Refused with
    /// [`WriteError::Missing`](crate::store::WriteError::Missing) if there is no such activity, or another call has worked
    /// on it since.
    ForgetActivity(Box<Key>, CallId),
    /// The session has ended; what its slots remember is forgotten.
    End(Box<Tombstone>),
    /// The retention time is over.
    Forget,
}

impl Change {
    /// Whether the store has to be asked for this however much waits for it: it says what has happened already. Those
    /// are never more than what runs and lives.
    pub fn has_happened(&self) -> bool {
        match self {
            Self::Create(_) | Self::Update(_) => false,
            Self::Slot(slot) | Self::Activity(_, Some(slot)) => match &slot.call {
                CallRecord::Begun(_) | CallRecord::Working(..) | CallRecord::Settled => false,
                CallRecord::Streaming(_, at) => **at != Resumption::default(),
                CallRecord::Done(..)
                | CallRecord::ReplyDropped(..)
                | CallRecord::Streamed(..)
                | CallRecord::Unknown(_) => true,
            },
            Self::Activity(_, None)
            | Self::Claim(_)
            | Self::Commit(..)
            | Self::End(_)
            | Self::Forget
            | Self::ForgetActivity(..) => true,
        }
    }

    /// About how many bytes the store writes for it.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Create(record) | Self::Update(record) => {
                let names = record.agreement.services.iter().map(|service| service.name.len());
                let scopes = record.scopes.iter().map(|scope| scope.len());
                RECORD_BYTES + names.chain(scopes).sum::<usize>()
            }
            Self::Slot(slot) => slot.bytes(),
            Self::Commit(slot, transaction) => slot.bytes() + transaction.bytes(),
            Self::Activity(activity, slot) => {
                let done = activity.done.as_ref().map_or(0, Kept::bytes);
                let slot = slot.as_ref().map_or(0, |slot| slot.bytes());
                RECORD_BYTES + state_bytes(&activity.at) + done + slot
            }
            Self::Claim(_) | Self::End(_) | Self::Forget | Self::ForgetActivity(..) => RECORD_BYTES,
        }
    }
}

/// A change with the epoch under which it is made. It succeeds only while the stored epoch is this one (I7).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Write {
    /// The session.
    pub session: SessionId,
    /// The epoch of the server that writes.
    pub epoch: Epoch,
    /// What it writes.
    pub change: Change,
}
