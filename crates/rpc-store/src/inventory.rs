//! Judges every record of a store, in the order of the keys: what opening, a check and a backup have in common.

use rpc_core::checksum::crc32c;
use rpc_core::id::SessionId;
use rpc_core::store::Stored;
use rpc_core::store::operations::Contents;

use crate::contents::Count;
use crate::encode::{Key, Life, decode_activity, decode_session, decode_slot, decode_value};

/// What was found so far.
#[derive(Debug)]
pub(crate) struct Inventory {
    pub(crate) contents: Contents,
    /// The number of the last commit: no value is of a later one.
    commits: u64,
    /// The session last seen, if slots may follow it.
    owner: Option<SessionId>,
}

impl Inventory {
    pub(crate) fn new(commits: u64) -> Self {
        Self { contents: Contents::default(), commits, owner: None }
    }

    /// Counts the next record; says what is wrong with it. Keys of the application stay out of the text.
    pub(crate) fn take(&mut self, key: &[u8], value: &[u8]) -> Result<(), String> {
        let bytes = key.len() + value.len();
        match Key::parse(key) {
            // Whoever takes an inventory has read these already.
            Some(Key::Own) => {}
            Some(Key::Session(session)) => {
                // If the record is damaged its slots are not to blame for it.
                self.owner = Some(session);
                let stored = decode_session(session, value)
                    .map_err(|error| format!("the record of session {session}: {error}"))?;
                let life = match stored {
                    Stored::Live(epoch, ..) => Life::Live(epoch),
                    Stored::Ended(epoch, _) => {
                        self.owner = None;
                        Life::Ended(epoch)
                    }
                };
                self.contents.add_session(life, bytes);
            }
            Some(Key::Slot(session, slot)) => {
                decode_slot(session, slot, value)
                    .map_err(|error| format!("the record of slot {slot} of session {session}: {error}"))?;
                if self.owner != Some(session) {
                    return Err(format!(
                        "slot {slot} of session {session} is there, and no such live session"
                    ));
                }
                self.contents.replace_slot(None, Some(bytes));
            }
            Some(Key::Value(name)) => {
                let place = || value_name(name);
                let version =
                    decode_value(name, value).map_err(|error| format!("{}: {error}", place()))?.version;
                if version.0 > self.commits {
                    return Err(format!(
                        "{}: of commit {}, the last is {}",
                        place(),
                        version.0,
                        self.commits
                    ));
                }
                self.contents.replace_value(None, Some(bytes));
            }
            Some(Key::Activity(activity)) => {
                decode_activity(key, activity, value)
                    .map_err(|error| format!("{}: {error}", activity_name(key)))?;
                self.contents.replace_activity(None, Some(bytes));
            }
            None => {
                let shown = &key[..key.len().min(16)];
                return Err(format!("the key \"{}\" is not one of ours", shown.escape_ascii()));
            }
        }
        Ok(())
    }
}

/// Names an activity for whoever knows its key, and for nobody else.
pub(crate) fn activity_name(key: &[u8]) -> String {
    format!("the activity whose key has {} bytes and the CRC-32C {:08x}", key.len(), crc32c(key))
}

/// Names a value of the application for whoever knows its keys, and for nobody else.
pub(crate) fn value_name(key: &[u8]) -> String {
    format!("the value whose key has {} bytes and the CRC-32C {:08x}", key.len(), crc32c(key))
}
