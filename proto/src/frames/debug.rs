//! `Debug` of the frames that hold what users sent: lengths instead of bytes.

use std::fmt;

use crate::pb::session::v1::control_frame::{Sync, SyncAck, head::Entry};

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, value } = self;
        write!(f, "Entry(<{} and {} bytes>)", name.len(), value.len())
    }
}

impl fmt::Debug for Sync {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { serial, position, crc32c, blake3, state } = self;
        f.debug_struct("Sync")
            .field("serial", serial)
            .field("position", position)
            .field("crc32c", crc32c)
            .field("blake3", &!blake3.is_empty())
            .field("state_bytes", &state.len())
            .finish()
    }
}

impl fmt::Debug for SyncAck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { serial, state } = self;
        f.debug_struct("SyncAck").field("serial", serial).field("state_bytes", &state.len()).finish()
    }
}
