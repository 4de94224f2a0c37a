//! One call with its two applications and its two layers.

use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use rpc_core::id::Attempt;
use rpc_core::stream::Config;
use rpc_core::stream::flow::Side;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tonic::Status;

use super::link::{Piece, Way, connection, pipe};
use super::{Random, frame, messages, ok_trailers};
use crate::{AppBody, AppEnd, Frames, How, Stream};

/// What is done to one call.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) config: Config,
    /// Lengths of the messages of the request and of the response.
    pub(super) lengths: [Vec<usize>; 2],
    /// For how long an application thinks before it asks for more, at most.
    pub(super) slowness: [Duration; 2],
    /// Pieces that a connection takes in while the other side does not read.
    pub(super) transport_pieces: usize,
    /// Connections stop for a while now and then.
    pub(super) stalls: bool,
    pub(super) cuts: Cuts,
}

/// When connections die.
#[derive(Debug, Clone)]
pub(super) enum Cuts {
    Never,
    /// The first one, after so many bytes of one way.
    At(usize, usize),
    /// The first so many, after a random number of bytes each; some of them half-open.
    Random {
        deaths: u32,
        life_bytes: usize,
    },
}

impl Plan {
    pub(super) fn new(lengths: [&[usize]; 2]) -> Self {
        let mut config = Config::default();
        config.keepalive = NO_KEEPALIVE;
        Self {
            seed: 1,
            config,
            lengths: lengths.map(<[usize]>::to_vec),
            slowness: [Duration::ZERO; 2],
            transport_pieces: 4,
            stalls: false,
            cuts: Cuts::Never,
        }
    }

    fn ways(&self, attempt: u32) -> [Way; 2] {
        let mut ways = [0, 1].map(|way| Way::new(self.seed ^ u64::from(attempt) << 8 ^ way));
        match self.cuts {
            Cuts::Never => {}
            Cuts::At(way, bytes) => {
                ways.iter_mut().for_each(|way| way.piece_bytes = 700);
                ways[way].life_bytes = (attempt == 0).then_some(bytes);
            }
            Cuts::Random { deaths, life_bytes } => {
                for way in &mut ways {
                    let long = self.lengths.iter().flatten().any(|length| *length > 300);
                    way.piece_bytes =
                        [if long { 600 } else { 3 }, 100 << way.random.below(2), 5_000, 1 << 20]
                            [way.random.below(4)];
                    way.stalls = (self.stalls && way.random.one_in(3)).then_some(20);
                    way.life_bytes = (attempt < deaths).then(|| way.random.below(life_bytes));
                }
            }
        }
        ways
    }
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Report {
    /// Bytes and DATA frames of the first connection, each way.
    pub(super) bytes: [usize; 2],
    pub(super) frames: [usize; 2],
    pub(super) resumes: u32,
}

/// Longer than any call may take: a keepalive must not hide that somebody was not woken.
pub(super) const NO_KEEPALIVE: Duration = Duration::from_secs(100_000);

/// Makes the call, and checks that both applications get everything once, and notice nothing.
//= test I6, I9, S-23
pub(super) async fn call(plan: &Plan) -> Report {
    let streams = [Side::Client, Side::Server].map(|side| Stream::new(side, &plan.config));
    match timeout(Duration::from_secs(3_600), make(plan, streams.clone())).await {
        Ok(report) => report,
        Err(_) => panic!("no end: {plan:?} {:#?}", streams.map(|stream| stream.watch().borrow().clone())),
    }
}

async fn make(plan: &Plan, [client, server]: [Stream; 2]) -> Report {
    let request = tokio::spawn(give(client.clone(), plan.clone()));
    let handler = tokio::spawn(handle(server.clone(), plan.clone()));
    let caller = tokio::spawn(read(client.app_body(), plan.clone(), 1, None));
    let report = carry(plan, &client, &server).await;
    let trailers = caller.await.unwrap().unwrap_or_else(|status| panic!("{status}: {plan:?}"));
    assert_eq!(trailers, Some(ok_trailers()), "{plan:?}");
    handler.await.unwrap();
    request.await.unwrap();
    report
}

/// Carries a call over as many connections as it takes, and concludes the client's side.
pub(super) async fn carry(plan: &Plan, client: &Stream, server: &Stream) -> Report {
    let mut report = Report { bytes: [0; 2], frames: [0; 2], resumes: 0 };
    let mut half_open = Vec::new();
    let mut random = Random::new(plan.seed ^ 0xF00D);
    let mut deaths = 0;
    for number in 0.. {
        let mut ways = plan.ways(number);
        let attempt = client.attempt(Attempt(number), None, Frames::On).unwrap();
        let resume = attempt.resume().copied();
        let (client_body, client_feed) = attempt.split();
        let answer = server.attempt(Attempt(number), resume.as_ref(), Frames::On);
        let (server_body, server_feed) = answer.unwrap_or_else(|error| panic!("{error}: {plan:?}")).split();
        let (to_server, request) = pipe(plan.transport_pieces);
        let (to_client, response) = pipe(plan.transport_pieces);
        let server_feed = tokio::spawn(server_feed.run(request));
        let is_half_open = random.one_in(3);
        let bodies = [client_body, server_body];
        let link = connection(bodies, [to_server, to_client], &mut ways, is_half_open);
        let (left, ended) = tokio::join!(link, client_feed.run(response));
        let noticed = left.is_none();
        half_open.extend(left);
        check(plan, &[client, server]);
        if number == 0 {
            report.bytes = [0, 1].map(|way| ways[way].bytes);
            report.frames = [0, 1].map(|way| ways[way].frames);
        }
        match ended.how {
            How::Complete if ended.trailers.is_some() => {
                client.conclude(ended.trailers.unwrap());
                if noticed {
                    assert!(!matches!(server_feed.await.unwrap().how, How::Failed(_)));
                }
                break;
            }
            How::Broken(_) => deaths += 1,
            how => panic!("attempt {number} {how:?}: {plan:?}"),
        }
    }
    report.resumes = client.progress().resumes;
    assert_eq!(report.resumes, deaths);
    report
}

/// The caller's request.
async fn give(stream: Stream, plan: Plan) {
    let (to, body) = pipe(1);
    let source = async {
        let mut random = Random::new(plan.seed ^ 0xCA11);
        let mut rest = messages(&plan.lengths[0]);
        while !rest.is_empty() {
            let batch = rest.split_to((1 + random.below(300)).min(rest.len()));
            if to.send(Piece::Data(batch)).await.is_err() {
                return;
            }
        }
        let _ = to.send(Piece::End).await;
    };
    let (end, ()) = tokio::join!(stream.pump_app(body), source);
    assert!(matches!(end, AppEnd::Done(None) | AppEnd::Stopped), "{end:?}");
}

/// The handler: it answers as it reads, and the rest at the end.
async fn handle(stream: Stream, plan: Plan) {
    let (to, body) = pipe(1);
    let answer = Answer { to, given: 0, rest: messages(&plan.lengths[1]) };
    let handler = read(stream.app_body(), plan.clone(), 0, Some(answer));
    let (end, read) = tokio::join!(stream.pump_app(body), handler);
    assert_eq!(read.unwrap_or_else(|status| panic!("{status}: {plan:?}")), None);
    let AppEnd::Done(Some(trailers)) = end else { panic!("{end:?}: {plan:?}") };
    stream.conclude(trailers);
}

struct Answer {
    to: mpsc::Sender<Piece>,
    given: usize,
    rest: Bytes,
}

impl Answer {
    /// Gives as much of the answer as was read of the request.
    async fn give(&mut self, plan: &Plan, read: usize) {
        let [requests, answers] = [0, 1].map(|way| plan.lengths[way].len());
        self.give_up_to(plan, (answers * read).checked_div(requests).unwrap_or(0)).await;
    }

    async fn give_up_to(&mut self, plan: &Plan, messages: usize) {
        while self.given < messages {
            let bytes = 5 + plan.lengths[1][self.given];
            self.given += 1;
            let _ = self.to.send(Piece::Data(self.rest.split_to(bytes))).await;
        }
    }

    async fn finish(mut self, plan: &Plan) {
        self.give_up_to(plan, plan.lengths[1].len()).await;
        let _ = self.to.send(Piece::Trailers(ok_trailers())).await;
        let _ = self.to.send(Piece::End).await;
    }
}

/// Reads one way to its end, and checks each byte.
async fn read(
    mut body: AppBody,
    plan: Plan,
    way: usize,
    mut answer: Option<Answer>,
) -> Result<Option<HeaderMap>, Status> {
    let mut random = Random::new(plan.seed ^ way as u64);
    let expected = messages(&plan.lengths[way]);
    let (mut got, mut messages, mut trailers) = (0, Messages::default(), None);
    while let Some(next) = frame(&mut body).await {
        assert!(trailers.is_none(), "something after the trailers: {plan:?}");
        match next? {
            Ok(data) => {
                assert_eq!(data, expected[got..got + data.len()], "{plan:?}");
                got += data.len();
                messages.count_in(&expected[..got]);
            }
            Err(last) => trailers = Some(last),
        }
        if let Some(answer) = &mut answer
            && way == 0
        {
            answer.give(&plan, messages.whole).await;
        }
        sleep(plan.slowness[way].mul_f32(random.below(100) as f32 / 100.0)).await;
    }
    assert_eq!(got, expected.len(), "{plan:?}");
    assert_eq!(messages.whole, plan.lengths[way].len());
    assert!(frame(&mut body).await.is_none(), "ended twice");
    if let Some(answer) = answer {
        answer.finish(&plan).await;
    }
    Ok(trailers)
}

/// Whole messages among the bytes that came.
#[derive(Debug, Default)]
struct Messages {
    whole: usize,
    end: usize,
}

impl Messages {
    fn count_in(&mut self, bytes: &[u8]) {
        while let Some(length) = bytes.get(self.end + 1..self.end + 5) {
            let end = self.end + 5 + usize::try_from(u32::from_be_bytes(length.try_into().unwrap())).unwrap();
            if end > bytes.len() {
                break;
            }
            (self.whole, self.end) = (self.whole + 1, end);
        }
    }
}

/// What is kept stays within the window.
//= test S-31
fn check(plan: &Plan, streams: &[&Stream; 2]) {
    let longest = plan.lengths.iter().flatten().max().map_or(0, |length| *length as u64 + 5);
    for stream in streams {
        stream.shared.with(|state| {
            let (kept, waiting) = (state.flow.sender().kept_bytes(), state.flow.receiver().kept_bytes());
            let window = plan.config.window_bytes;
            assert!(kept <= window + longest + 300 + 40 * 96, "{kept} kept: {plan:?}");
            assert!(waiting <= window.max(longest), "{waiting} waiting: {plan:?}");
        });
    }
}
