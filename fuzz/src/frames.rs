//! The body of a stream: messages and control frames, in pieces of any length.

use bytes::Bytes;
use rpc_core::frame::dialog::{
    DETAIL_BYTES_MAX, EXPEDITED_BYTES_MAX, Exception, Numbered, Primitive, TYPED_BYTES_MAX,
};
use rpc_core::frame::{Frame, STATE_BYTES_MAX};
use rpc_core::stream::position::Serial;
use rpc_proto::frames::{Arrived, Incoming, decode, encode};

use super::choices::Choices;

const MESSAGE_BYTES_MAX: u32 = 1 << 20;
const PIECES_MAX: usize = 16;

/// The first bytes say how long the pieces are in which the rest arrives: that must make no difference to what is found.
/// Each frame that is found is within its bounds and reads the same when it is written again. The rest is read as a bare
/// control frame, too.
pub fn run(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let pieces: Vec<usize> = (0..1 + choices.below(PIECES_MAX)).map(|_| 1 + choices.below(256)).collect();
    let body = choices.rest();
    let whole = arrived(body, &[body.len().max(1)]);
    assert_eq!(merged(&whole), merged(&arrived(body, &pieces)));
    for found in &whole {
        if let Ok(Arrived::Control(frame)) = found {
            check(frame);
        }
    }
    match decode(Bytes::copy_from_slice(body)) {
        Ok(Some(frame)) => check(&frame),
        Ok(None) => {}
        Err(error) => assert_eq!(decode(Bytes::copy_from_slice(body)), Err(error)),
    }
}

fn check(frame: &Frame) {
    let written = encode(frame);
    assert_eq!(arrived(&written, &[written.len()]), [Ok(Arrived::Control(frame.clone()))]);
    assert!(is_bounded(frame), "{frame:?}");
    assert_eq!(format!("{frame:?}"), format!("{:?}", blank(frame.clone())), "what users sent is shown");
}

/// Whether everything in it is within what `rpc_core::frame` says.
fn is_bounded(frame: &Frame) -> bool {
    match frame {
        Frame::Head(head) => head.fits(),
        Frame::Sync(point) => point.serial > Serial::NONE && point.state.len() <= STATE_BYTES_MAX,
        Frame::SyncAck(ack) => ack.serial > Serial::NONE && ack.state.len() <= STATE_BYTES_MAX,
        Frame::Dialog(Numbered { number, primitive, .. }) => {
            *number > 0
                && match primitive {
                    Primitive::Give(holdings) => holdings.len() <= 4,
                    Primitive::Please(_) => true,
                    Primitive::Typed(bytes) => bytes.len() <= TYPED_BYTES_MAX,
                    Primitive::Expedited(bytes) => bytes.len() <= EXPEDITED_BYTES_MAX,
                    Primitive::Exception(exception) => exception.detail.len() <= DETAIL_BYTES_MAX,
                    Primitive::Resync(resync) => {
                        resync.wishes.len() <= 8 && resync.state.len() <= STATE_BYTES_MAX
                    }
                    Primitive::ResyncAck(ack) => {
                        ack.holdings.len() <= 4 && ack.state.len() <= STATE_BYTES_MAX
                    }
                }
        }
        Frame::DialogAck(ack) => ack.holdings.len() <= 4,
        Frame::At(_)
        | Frame::Received(_)
        | Frame::Credit(_)
        | Frame::Keepalive
        | Frame::Cancel
        | Frame::End(_) => true,
    }
}

/// The same frame with zeros in place of what applications left in it: `Debug` must not know the difference.
fn blank(mut frame: Frame) -> Frame {
    let zeros = |bytes: &mut Bytes| *bytes = vec![0; bytes.len()].into();
    match &mut frame {
        Frame::Head(head) => head.entries.iter_mut().for_each(|(name, value)| {
            zeros(name);
            zeros(value);
        }),
        Frame::Sync(point) => zeros(&mut point.state),
        Frame::SyncAck(ack) => zeros(&mut ack.state),
        Frame::Dialog(numbered) => match &mut numbered.primitive {
            Primitive::Typed(bytes) | Primitive::Expedited(bytes) => zeros(bytes),
            Primitive::Exception(Exception { detail, .. }) => *detail = "0".repeat(detail.len()),
            Primitive::Resync(resync) => zeros(&mut resync.state),
            Primitive::ResyncAck(ack) => zeros(&mut ack.state),
            Primitive::Give(_) | Primitive::Please(_) => {}
        },
        Frame::At(_)
        | Frame::Received(_)
        | Frame::Credit(_)
        | Frame::Keepalive
        | Frame::Cancel
        | Frame::End(_)
        | Frame::DialogAck(_) => {}
    }
    frame
}

type Found = Result<Arrived, String>;

fn arrived(body: &[u8], pieces: &[usize]) -> Vec<Found> {
    let mut incoming = Incoming::new(MESSAGE_BYTES_MAX);
    let mut found = Vec::new();
    let (mut rest, mut lengths) = (body, pieces.iter().cycle());
    while !rest.is_empty() {
        let (piece, more) = rest.split_at(rest.len().min(*lengths.next().expect("at least one")));
        rest = more;
        incoming.push(Bytes::copy_from_slice(piece));
        loop {
            match incoming.next() {
                Ok(None) => break,
                Ok(Some(next)) => found.push(Ok(next)),
                Err(violation) => {
                    found.push(Err(violation.to_string()));
                    return found;
                }
            }
        }
    }
    found
}

/// What stands between messages, after how many bytes of them.
type Between = (usize, Result<Frame, String>);

/// What was found, however the messages were grouped: their bytes, and what stands between them.
fn merged(found: &[Found]) -> (Vec<u8>, Vec<Between>) {
    let (mut bytes, mut others) = (Vec::new(), Vec::new());
    for next in found {
        match next {
            Ok(Arrived::Messages(run)) => run.parts().iter().for_each(|part| bytes.extend_from_slice(part)),
            Ok(Arrived::Control(frame)) => others.push((bytes.len(), Ok(frame.clone()))),
            Err(violation) => others.push((bytes.len(), Err(violation.clone()))),
        }
    }
    (bytes, others)
}
