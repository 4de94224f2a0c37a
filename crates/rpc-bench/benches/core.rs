//! What the core costs by itself: no runtime, no sockets, no HTTP.
//!
//! ```sh
//! cargo bench -p rpc-bench --bench core
//! ```

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rpc_core::config::Terms;
use rpc_core::frame::{At, Credit, Frame, Head, PointKind, Received, SyncAck, SyncPoint};
use rpc_core::id::{
    Attempt, CallAttempt, CallId, ConnectionId, Fingerprint, Nonce, Sequence, SessionId, SlotId, TicketHash,
};
use rpc_core::negotiate::{self, Offer};
use rpc_core::policy::{Cancellation, Checkpoint, Secure};
use rpc_core::principal::Principal;
use rpc_core::record::Reply;
use rpc_core::session::{Admit, Authority, Effect, Keeping, Opening, RequestId, Session, Step};
use rpc_core::stream::Config;
use rpc_core::stream::digest::Digest;
use rpc_core::stream::position::{Generation, Position, Serial};
use rpc_core::stream::sender::{Out, Sender};
use rpc_core::stream::splitter::Splitter;
use rpc_core::time::Timestamp;

const TICKET: TicketHash = TicketHash([1; 32]);

/// Some time.
fn now() -> Timestamp {
    Timestamp::from_origin(Duration::from_secs(100))
}

/// A session that is open, with a store that keeps everything at once.
fn session() -> Session {
    let agreement =
        negotiate::answer(&Offer::default(), &Terms::default(), &[]).expect("the default is agreed on");
    let opening = Opening {
        principal: Principal::new("https://issuer.example", "bench"),
        nonce: Nonce([1; Nonce::BYTES]),
        agreement: Arc::new(agreement),
        ticket: TICKET,
        authority: Authority { until: Timestamp::NEVER, unix_s: None, scopes: Arc::from([]) },
    };
    let id = SessionId::new(4_711).expect("not zero");
    let mut session = Session::open(now(), id, opening, RequestId(0));
    drain(&mut session);
    session.present(now(), &TICKET, Some(ConnectionId(7))).expect("it is the ticket");
    drain(&mut session);
    session
}

/// Does what the session wants done.
fn drain(session: &mut Session) {
    while let Step::Do(effect) = session.poll() {
        if let Effect::Persist { record, .. } = black_box(effect) {
            session.durable(record);
        }
    }
}

fn call(sequence: u64, attempt: u32, keeping: Keeping) -> Admit {
    let call = CallId { slot: SlotId(0), sequence: Sequence(sequence) };
    Admit {
        attempt: CallAttempt { call, attempt: Attempt(attempt) },
        fingerprint: Fingerprint(u128::from(sequence)),
        streams: false,
        cancellation: Cancellation::Finish,
        keeping,
    }
}

fn reply() -> Reply {
    Reply { code: 0, head: Bytes::new(), message: Bytes::from_static(&[7; 16]), trailer: Bytes::new() }
}

fn calls(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("session");
    let kinds = [
        ("a call, memory", Keeping::Memory),
        ("a call, intent and reply recorded", Keeping::Store { idempotent: false }),
    ];
    for (name, keeping) in kinds {
        let (mut session, mut sequence) = (session(), 0);
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                sequence += 1;
                let admit = call(sequence, 0, keeping);
                let _ = black_box(session.admit(admit));
                drain(&mut session);
                black_box(session.complete(admit.attempt.call, reply(), None));
                drain(&mut session);
            });
        });
    }
    let (mut session, mut attempt) = (session(), 0);
    let _ = session.admit(call(1, 0, Keeping::Memory));
    session.complete(call(1, 0, Keeping::Memory).attempt.call, reply(), None);
    group.bench_function("a retry that gets its reply", |bencher| {
        bencher.iter(|| {
            attempt += 1;
            black_box(session.admit(call(1, attempt, Keeping::Memory)))
        });
    });
    group.bench_function("a call that is out of order", |bencher| {
        bencher.iter(|| black_box(session.admit(call(9, 0, Keeping::Memory))));
    });
    group.bench_function("a request shows its ticket", |bencher| {
        bencher.iter(|| {
            let shown = session.present(now(), &TICKET, Some(ConnectionId(7)));
            drain(&mut session);
            black_box(shown)
        });
    });
    group.bench_function("poll, nothing to do", |bencher| bencher.iter(|| black_box(session.poll())));
    group.finish();
}

/// One of each, as they are in the middle of a stream.
fn frames() -> Vec<(&'static str, Frame)> {
    let position = Position { messages: 1_000_000, bytes: 1 << 30 };
    let digest = Digest { crc: 0xDEAD_BEEF, blake3: None };
    let (serial, generation) = (Serial(25_000), Generation::default());
    let entry =
        |name: &'static [u8], value: &'static [u8]| (Bytes::from_static(name), Bytes::from_static(value));
    let head =
        Head { entries: vec![entry(b"content-type", b"application/grpc"), entry(b"x-version", b"1.2.3")] };
    let received = Received {
        generation,
        position,
        crc: 0xDEAD_BEEF,
        secured: serial,
        limit: position,
        next: Serial(25_001),
    };
    let point = SyncPoint { serial, position, digest, state: Bytes::new(), kind: PointKind::Minor };
    vec![
        ("HEAD", Frame::Head(head)),
        ("AT", Frame::At(At { generation, position, crc: 0xDEAD_BEEF })),
        ("RECEIVED", Frame::Received(received)),
        ("SYNC", Frame::Sync(point)),
        ("SYNC_ACK", Frame::SyncAck(SyncAck { serial, state: Bytes::new() })),
        ("CREDIT", Frame::Credit(Credit { received: position, limit: position })),
        ("KEEPALIVE", Frame::Keepalive),
        ("CANCEL", Frame::Cancel),
        ("END", Frame::End(position)),
    ]
}

fn control_frames(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("control frame");
    for (name, frame) in frames() {
        group.bench_function(format!("{name}, encode"), |bencher| {
            bencher.iter(|| rpc_proto::frames::encode(black_box(&frame)));
        });
        let mut incoming = Splitter::new(4 << 20);
        incoming.push(rpc_proto::frames::encode(&frame));
        let bytes = match incoming.next() {
            Ok(Some(rpc_core::stream::splitter::Piece::Control(bytes))) => bytes,
            other => panic!("a control frame is no {other:?}"),
        };
        group.bench_function(format!("{name}, decode"), |bencher| {
            bencher.iter(|| rpc_proto::frames::decode(black_box(bytes.clone())));
        });
    }
    group.finish();
}

/// Messages with their framing, a KiB together.
fn batch(message_bytes: usize) -> Bytes {
    let payload = message_bytes - 5;
    let message = [&[0][..], &(payload as u32).to_be_bytes(), &vec![7; payload]].concat();
    message.repeat(1_024 / message_bytes).into()
}

/// A peer that has everything at once and secures each point.
fn written(sender: &mut Sender) {
    while let Some(out) = sender.step(now()) {
        if let Out::Frame(Frame::Sync(point)) = black_box(out) {
            sender.ack(SyncAck { serial: point.serial, state: Bytes::new() }).expect("it was placed");
        }
    }
    let received = sender.sent();
    let limit = received.plus(1 << 20, 1 << 30);
    sender.credit(Credit { received, limit }).expect("it was sent");
}

fn sender(checkpoint: Option<Checkpoint>) -> Sender {
    let mut config = Config::default();
    config.checkpoint = checkpoint;
    let mut sender = Sender::new(&config);
    sender.attempt(false, None).expect("it is the first");
    sender
}

fn streams(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("stream, 1 KiB");
    group.throughput(Throughput::Bytes(1_024));
    let kept =
        Checkpoint { every_messages: Some(40), every_bytes: None, every: None, secure: Secure::Automatic };
    for (points, checkpoint) in [("no points", None), ("a point each 40 messages", Some(kept))] {
        for message_bytes in [64, 1_024] {
            let (mut sender, batch) = (sender(checkpoint), batch(message_bytes));
            group.bench_function(format!("sender, messages of {message_bytes} bytes, {points}"), |bencher| {
                bencher.iter(|| {
                    sender.push(batch.clone()).expect("whole messages");
                    written(&mut sender);
                });
            });
        }
    }
    for message_bytes in [64, 1_024] {
        let batch = batch(message_bytes);
        let mut splitter = Splitter::new(4 << 20);
        group.bench_function(format!("splitter, messages of {message_bytes} bytes"), |bencher| {
            bencher.iter(|| {
                splitter.push(batch.clone());
                while let Ok(Some(piece)) = splitter.next() {
                    black_box(piece);
                }
            });
        });
        group.bench_function(format!("splitter, the same in two halves, {message_bytes} bytes"), |bencher| {
            bencher.iter(|| {
                for half in [batch.slice(..500), batch.slice(500..)] {
                    splitter.push(half);
                    while let Ok(Some(piece)) = splitter.next() {
                        black_box(piece);
                    }
                }
            });
        });
    }
    group.finish();
}

criterion_group!(benches, calls, control_frames, streams);
criterion_main!(benches);
