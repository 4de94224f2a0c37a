//! What is on the wire: a unit that is off leaves no frame of its kind.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message as _;
use rpc_client::Unit;
use rpc_proto::pb::session::v1::ControlFrame;
use rpc_proto::pb::session::v1::control_frame::Frame;
use rpc_proto::pb::session::v1::control_frame::dialog::Primitive;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// A relay that keeps what passes, in each direction.
struct Tap {
    address: SocketAddr,
    passed: [Arc<Mutex<Vec<u8>>>; 2],
}

impl Tap {
    /// Takes one connection.
    async fn start(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let passed: [Arc<Mutex<Vec<u8>>>; 2] = Default::default();
        let [up, down] = passed.clone();
        tokio::spawn(async move {
            let (client, _) = listener.accept().await.unwrap();
            let server = TcpStream::connect(upstream).await.unwrap();
            let ((from_client, to_client), (from_server, to_server)) =
                (client.into_split(), server.into_split());
            tokio::join!(copy(from_client, to_server, up), copy(from_server, to_client, down));
        });
        Self { address, passed }
    }

    /// The kinds of control frames that passed.
    fn kinds(&self) -> BTreeSet<&'static str> {
        let [up, down] = self.passed.clone().map(|passed| passed.lock().unwrap().clone());
        // What a client says before its first frame.
        kinds(&up[24..]).into_iter().chain(kinds(&down)).collect()
    }
}

async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, passed: Arc<Mutex<Vec<u8>>>) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        passed.lock().unwrap().extend_from_slice(&buffer[..read]);
        if to.write_all(&buffer[..read]).await.is_err() {
            break;
        }
    }
}

/// Takes HTTP/2 apart (RFC 9113, section 4.1), and then what DATA carries.
fn kinds(mut bytes: &[u8]) -> BTreeSet<&'static str> {
    let mut bodies: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
    while bytes.len() >= 9 {
        let length = u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]) as usize;
        let stream = u32::from_be_bytes([bytes[5], bytes[6], bytes[7], bytes[8]]);
        let Some(payload) = bytes.get(9..9 + length) else { break };
        if bytes[3] == 0 {
            bodies.entry(stream).or_default().extend_from_slice(payload);
        }
        bytes = &bytes[9 + length..];
    }
    bodies.values().flat_map(|body| frames(body)).collect()
}

fn frames(mut body: &[u8]) -> Vec<&'static str> {
    let mut kinds = Vec::new();
    while body.len() >= 5 {
        let length = u32::from_be_bytes([body[1], body[2], body[3], body[4]]) as usize;
        let Some(message) = body.get(5..5 + length) else { break };
        if let Some(rest) = message.strip_prefix(&[0xfa, 0xff, 0xff, 0xff, 0x0f]) {
            let frame = ControlFrame::decode_length_delimited(rest).expect("a control frame");
            kinds.push(kind(&frame));
        }
        body = &body[5 + length..];
    }
    kinds
}

fn kind(frame: &ControlFrame) -> &'static str {
    match frame.frame.as_ref().expect("a frame") {
        Frame::Dialog(dialog) => match dialog.primitive.as_ref().expect("a primitive") {
            Primitive::Give(_) => "give",
            Primitive::Please(_) => "please",
            Primitive::Typed(_) => "typed",
            Primitive::Expedited(_) => "expedited",
            Primitive::Exception(_) => "exception",
            Primitive::Resync(_) => "resync",
            Primitive::ResyncAck(_) => "resync_ack",
        },
        Frame::DialogAck(_) => "dialog_ack",
        Frame::Sync(_) => "sync",
        _ => "other",
    }
}

/// A chat of some words, with whatever else `talk` says.
async fn chat<F: Future<Output = ()>>(
    without: &[Unit],
    talk: impl FnOnce(Dialog) -> F,
) -> BTreeSet<&'static str> {
    let (server, handlers) = served().await;
    let tap = Tap::start(server.address()).await;
    let session = open(tap.address, |builder| {
        without.iter().fold(builder, |builder, unit| builder.without_unit(*unit))
    })
    .await;
    let checkpoints = Checkpoints::new();
    let (say, said) = mpsc::channel(64);
    let request = saying(ReceiverStream::new(said), &checkpoints);
    let mut words = soon("the head", Client::new(session).phone(request)).await.unwrap().into_inner();
    talk(checkpoints.dialog()).await;
    for number in 1..=12 {
        say.send(word(number)).await.unwrap();
        assert_eq!(soon("a word", words.message()).await.unwrap().unwrap().number, number);
    }
    drop((say, words));
    handlers.assert_well();
    tap.kinds()
}

const DIALOG_UNITS: [Unit; 5] =
    [Unit::HalfDuplex, Unit::TypedData, Unit::ExpeditedData, Unit::MajorSynchronize, Unit::Resynchronize];

const OF_A_DIALOG: [&str; 8] =
    ["give", "please", "typed", "expedited", "exception", "resync", "resync_ack", "dialog_ack"];

//= test O-21
#[tokio::test]
async fn a_unit_that_is_off_leaves_no_frame_of_its_kind_on_the_wire() {
    let off = chat(&DIALOG_UNITS, |dialog| async move {
        assert!(dialog.send_typed("typed").await.is_err());
        assert!(dialog.send_expedited("expedited").await.is_err());
        assert!(dialog.major("major").await.is_err());
    })
    .await;
    assert!(off.contains("sync"), "nothing was proved: {off:?}");
    assert!(OF_A_DIALOG.iter().all(|kind| !off.contains(kind)), "{off:?}");

    let unused = chat(&[], |_| async {}).await;
    assert!(OF_A_DIALOG.iter().all(|kind| !unused.contains(kind)), "not used: {unused:?}");

    let both = |dialog: Dialog| async move {
        let _ = dialog.send_typed("typed").await;
        let _ = dialog.send_expedited("expedited").await;
        let piece = soon("an echo", async {
            tokio::select! {
                typed = if_on(dialog.typed()) => typed.unwrap().unwrap().bytes,
                piece = if_on(dialog.expedited()) => piece.unwrap().unwrap(),
            }
        });
        piece.await;
    };
    let no_typed = chat(&[Unit::TypedData], both).await;
    assert!(no_typed.contains("expedited") && !no_typed.contains("typed"), "{no_typed:?}");
    let no_expedited = chat(&[Unit::ExpeditedData], both).await;
    assert!(no_expedited.contains("typed") && !no_expedited.contains("expedited"), "{no_expedited:?}");
}
