//! `Debug` of the frames that hold what users sent: lengths instead of bytes.

use std::fmt;

use crate::pb::session::v1::control_frame::dialog::Primitive;
use crate::pb::session::v1::control_frame::{
    Dialog, Exception, Resync, ResyncAck, Sync, SyncAck, head::Entry,
};

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, value } = self;
        write!(f, "Entry(<{} and {} bytes>)", name.len(), value.len())
    }
}

impl fmt::Debug for Sync {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { serial, position, crc32c, blake3, state, kind: _ } = self;
        f.debug_struct("Sync")
            .field("serial", serial)
            .field("position", position)
            .field("crc32c", crc32c)
            .field("blake3", &!blake3.is_empty())
            .field("state_bytes", &state.len())
            .field("kind", &self.kind().as_str_name())
            .finish()
    }
}

impl fmt::Debug for SyncAck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { serial, state } = self;
        f.debug_struct("SyncAck").field("serial", serial).field("state_bytes", &state.len()).finish()
    }
}

impl fmt::Debug for Dialog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, after, primitive } = self;
        let mut shown = f.debug_struct("Dialog");
        shown.field("number", number).field("after", after);
        match primitive {
            Some(Primitive::Typed(bytes)) => shown.field("typed_bytes", &bytes.len()),
            Some(Primitive::Expedited(bytes)) => shown.field("expedited_bytes", &bytes.len()),
            Some(Primitive::Give(give)) => shown.field("give", give),
            Some(Primitive::Please(please)) => shown.field("please", please),
            Some(Primitive::Exception(exception)) => shown.field("exception", exception),
            Some(Primitive::Resync(resync)) => shown.field("resync", resync),
            Some(Primitive::ResyncAck(ack)) => shown.field("resync_ack", ack),
            None => shown.field("primitive", &()),
        };
        shown.finish()
    }
}

impl fmt::Debug for Exception {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cause: _, detail } = self;
        f.debug_struct("Exception")
            .field("cause", &self.cause().as_str_name())
            .field("detail_bytes", &detail.len())
            .finish()
    }
}

impl fmt::Debug for Resync {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind: _, own, other, wishes, state } = self;
        f.debug_struct("Resync")
            .field("kind", &self.kind().as_str_name())
            .field("own", own)
            .field("other", other)
            .field("wishes", wishes)
            .field("state_bytes", &state.len())
            .finish()
    }
}

impl fmt::Debug for ResyncAck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { own, other, holdings, state } = self;
        f.debug_struct("ResyncAck")
            .field("own", own)
            .field("other", other)
            .field("holdings", holdings)
            .field("state_bytes", &state.len())
            .finish()
    }
}
