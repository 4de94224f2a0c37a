//! From where a stream can go on, as `Query` tells it.

use rpc_core::stream::digest::Digest;
use rpc_core::stream::secured::{Resumption, Secured};

use super::Malformed;
use super::wire::{
    blake3_from_wire, blake3_to_wire, position_from_wire, position_to_wire, serial_from_wire, state_from_wire,
};
use crate::pb::session::v1 as pb;

/// From where a stream can go on, as a message.
pub fn resumption_to_wire(at: &Resumption) -> pb::Resumption {
    pb::Resumption {
        requests: at.requests.as_ref().map(secured_to_wire),
        responses: at.responses.as_ref().map(secured_to_wire),
    }
}

/// What a message says of that; nothing is secured where it says nothing.
///
/// # Errors
///
/// It states points that cannot be.
pub fn resumption_from_wire(at: Option<pb::Resumption>) -> Result<Resumption, Malformed> {
    let pb::Resumption { requests, responses } = at.unwrap_or_default();
    Ok(Resumption {
        requests: requests.map(secured_from_wire).transpose()?,
        responses: responses.map(secured_from_wire).transpose()?,
    })
}

fn secured_to_wire(point: &Secured) -> pb::Secured {
    pb::Secured {
        serial: point.serial.0,
        position: Some(position_to_wire(point.position)),
        crc32c: point.digest.crc,
        blake3: blake3_to_wire(point.digest.blake3),
        sender_state: point.sender_state.clone(),
        receiver_state: point.receiver_state.clone(),
    }
}

fn secured_from_wire(point: pb::Secured) -> Result<Secured, Malformed> {
    let pb::Secured { serial, position, crc32c, blake3, sender_state, receiver_state } = point;
    Ok(Secured {
        serial: serial_from_wire(serial)?,
        position: position_from_wire(position)?,
        digest: Digest { crc: crc32c, blake3: blake3_from_wire(&blake3)? },
        sender_state: state_from_wire(sender_state)?,
        receiver_state: state_from_wire(receiver_state)?,
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use rpc_core::frame::STATE_BYTES_MAX;
    use rpc_core::stream::digest::Digest;
    use rpc_core::stream::position::{Position, Serial};

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
        assert_eq!(resumption_from_wire(None), Ok(Resumption::default()));
        let message = pb::Resumption { requests: Some(point()), responses: None };
        let read = resumption_from_wire(Some(message.clone())).unwrap();
        assert_eq!(resumption_to_wire(&read), message);
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
            let requests = pb::Resumption { requests: Some(wrong.clone()), responses: None };
            assert!(resumption_from_wire(Some(requests)).is_err());
            let responses = pb::Resumption { requests: None, responses: Some(wrong) };
            assert!(resumption_from_wire(Some(responses)).is_err());
        }
    }
}
