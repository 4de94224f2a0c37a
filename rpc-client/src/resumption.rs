//! From where a stream can go on, as a server says it.

use rpc_core::frame::STATE_BYTES_MAX;
use rpc_core::stream::digest::Digest;
use rpc_core::stream::position::{Position, Serial};
use rpc_core::stream::secured::{Resumption, Secured};
use rpc_proto::pb::session::v1 as pb;

/// What the answer says; nothing secured where it says nothing. `None`: it breaks the protocol.
pub(crate) fn read(answer: Option<pb::Resumption>) -> Option<Box<Resumption>> {
    let pb::Resumption { requests, responses } = answer.unwrap_or_default();
    let requests = requests.map(secured).map_or(Some(None), |secured| secured.map(Some))?;
    let responses = responses.map(secured).map_or(Some(None), |secured| secured.map(Some))?;
    Some(Box::new(Resumption { requests, responses }))
}

fn secured(point: pb::Secured) -> Option<Secured> {
    let pb::Secured { serial, position, crc32c, blake3, sender_state, receiver_state } = point;
    let pb::Position { messages, bytes } = position?;
    let blake3 = if blake3.is_empty() { None } else { Some(<[u8; 32]>::try_from(&blake3[..]).ok()?) };
    let bounded = sender_state.len() <= STATE_BYTES_MAX && receiver_state.len() <= STATE_BYTES_MAX;
    (serial > 0 && bounded).then_some(Secured {
        serial: Serial(serial),
        position: Position { messages, bytes },
        digest: Digest { crc: crc32c, blake3 },
        sender_state,
        receiver_state,
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn point() -> pb::Secured {
        pb::Secured {
            serial: 3,
            position: Some(pb::Position { messages: 120, bytes: 4_000 }),
            crc32c: 77,
            blake3: Bytes::new(),
            sender_state: Bytes::from_static(b"mine"),
            receiver_state: Bytes::from_static(b"yours"),
        }
    }

    #[test]
    fn what_is_not_said_is_not_secured() {
        assert_eq!(read(None), Some(Box::default()));
        let read = read(Some(pb::Resumption { requests: Some(point()), responses: None })).unwrap();
        assert_eq!(read.responses, None);
        let requests = read.requests.unwrap();
        assert_eq!(requests.serial, Serial(3));
        assert_eq!(requests.position, Position { messages: 120, bytes: 4_000 });
        assert_eq!(requests.digest, Digest { crc: 77, blake3: None });
        assert_eq!((&requests.sender_state[..], &requests.receiver_state[..]), (&b"mine"[..], &b"yours"[..]));
    }

    #[test]
    fn a_point_that_cannot_be_is_refused() {
        let long = || Bytes::from(vec![0; STATE_BYTES_MAX + 1]);
        for wrong in [
            pb::Secured { serial: 0, ..point() },
            pb::Secured { position: None, ..point() },
            pb::Secured { blake3: Bytes::from_static(b"short"), ..point() },
            pb::Secured { sender_state: long(), ..point() },
            pb::Secured { receiver_state: long(), ..point() },
        ] {
            assert_eq!(read(Some(pb::Resumption { requests: Some(wrong.clone()), responses: None })), None);
            assert_eq!(read(Some(pb::Resumption { requests: None, responses: Some(wrong) })), None);
        }
    }
}
