//! Applications whose sources can be read again: nothing is kept of what was sent.

use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use rpc_core::dialog::Terms;
use rpc_core::error::Reason;
use rpc_core::negotiate::{Unit, Units};
use rpc_core::stream::Config;
use rpc_core::stream::flow::Side;
use rpc_proto::status::Details;
use tokio::time::timeout;
use tokio_stream::{Stream as Messages, StreamExt as _, iter};
use tonic::{Code, Status};

use super::call::{Cuts, NO_KEEPALIVE};
use super::explicit::{at_every_byte, call, cut_at_every_byte, on_several_threads, plan};
use super::link::Way;
use super::pair::Pair;
use super::run;
use super::typed::{
    Log, Page, Script, Seen, read_plain, request_body, request_of, response_body, response_of,
};
use crate::{AppEnd, Checkpointed, Checkpoints, How, Item, Outgoing};

/// Streams in one direction, the other, and both; and who keeps nothing.
fn kinds() -> [[Script; 2]; 4] {
    let many = |rereads| Script { rereads, ..Script::new(12, [0, 3, 4, 9]) };
    let few = |rereads| Script { rereads, ..Script::new(7, [2, 7]) };
    let one = || Script::new(1, []);
    [[many(true), one()], [one(), many(true)], [many(true), few(true)], [many(false), few(true)]]
}

//= test I6, I9, S-1, S-9, S-20
#[test]
fn every_page_and_point_comes_once_after_a_cut_at_every_byte() {
    kinds().iter().for_each(cut_at_every_byte);
}

/// Both processes die, and the sources of the next ones begin at the last secured points.
//= test S-10
#[test]
fn a_source_begins_where_the_stream_was_secured_after_a_cut_at_every_byte() {
    let resumed: u32 = kinds().iter().map(at_every_byte).sum();
    assert!(resumed > 1_000, "{resumed} went on from a point");
}

/// Long batches of the encoder, windows that are full, and links that die at random.
#[test]
fn the_same_holds_for_many_pages_over_links_that_die_at_random() {
    let mut resumes = 0;
    for seed in 0..60 {
        let mut plan = plan();
        (plan.seed, plan.stalls) = (seed, true);
        plan.config.window_bytes = 2_000 << (seed % 6);
        plan.cuts = Cuts::Random { deaths: 6, life_bytes: 5_000 };
        resumes += run(async { call(&plan, &[many_pages(3), many_pages(50)]).await }).resumes;
    }
    assert!(resumes > 200, "{resumes} resumes");
}

/// The source's signal and its turns from several threads at once.
#[test]
fn the_same_holds_on_several_threads() {
    on_several_threads(many_pages);
}

fn many_pages(step: usize) -> Script {
    Script { rereads: true, ..Script::new(400, (0..=400).step_by(step)) }
}

fn page(number: u64, filler: &'static [u8]) -> Outgoing<Page> {
    Outgoing::Message(Page { number, filler: Bytes::from_static(filler) })
}

fn pages(numbers: RangeInclusive<u64>) -> impl Messages<Item = Result<Outgoing<Page>, Status>> {
    iter(numbers.map(|number| Ok(page(number, b"page"))))
}

/// Where a source was opened.
type Opened = Arc<Mutex<Vec<u64>>>;

/// A handler's response from `source`, which is told how often it was opened; what the caller's application reads of it
/// over a first connection that dies after `life_bytes` and others that live.
async fn download<S>(
    life_bytes: usize,
    mut source: impl FnMut(u64, usize) -> S + Send + 'static,
) -> (Result<Vec<Seen>, Status>, Vec<u64>)
where
    S: Messages<Item = Result<Outgoing<Page>, Status>> + Send + 'static,
{
    let mut config = Config::default();
    config.keepalive = NO_KEEPALIVE;
    let pair = Pair::new(&config);
    let opened = Opened::default();
    let log = Arc::clone(&opened);
    let checkpoints = Checkpoints::of_stream(&pair.server);
    let messages = checkpoints.reread_results(move |after| {
        let mut opened = log.lock().unwrap();
        opened.push(after);
        source(after, opened.len())
    });
    let server = pair.server.clone();
    let handler = tokio::spawn(async move {
        let end = server.pump_app(response_body(messages, None)).await;
        if let AppEnd::Done(Some(trailers)) = end {
            server.conclude(trailers);
        }
    });
    let log = Log::default();
    let caller = tokio::spawn(read_plain(response_of(&pair.client, None), Arc::clone(&log)));
    let client = pair.client.clone();
    tokio::spawn(async move { client.pump_app(request_body(iter([]), None)).await });
    for number in 0.. {
        let mut ways = [Way::new(1), Way::new(2)];
        ways[1].life_bytes = (number == 0).then_some(life_bytes);
        ways[1].piece_bytes = 50;
        let ended = pair.connect_over(number, ways).client.await.unwrap();
        let trailers = ended.trailers.unwrap_or_default();
        match ended.how {
            How::Complete => pair.client.conclude(trailers),
            How::Short => pair.client.conclude(trailers),
            How::Broken(_) => continue,
            how => panic!("{how:?}"),
        }
        break;
    }
    handler.await.unwrap();
    let read = caller.await.unwrap().map(|()| log.lock().unwrap().clone());
    let opened = opened.lock().unwrap().clone();
    (read, opened)
}

fn numbers(to: u64) -> Vec<Seen> {
    (1..=to).map(Seen::Page).collect()
}

#[test]
fn a_source_is_opened_again_at_the_last_point_that_the_other_side_has() {
    run(async {
        let source = |after: u64, _| {
            let items = (after + 1..=60).flat_map(|number| {
                let point = (number % 10 == 0).then_some(Outgoing::SyncPoint(Bytes::from_static(b"ten")));
                [Some(page(number, b"twenty bytes of text")), point].into_iter().flatten()
            });
            iter(items.map(Ok))
        };
        let (read, opened) = download(1_000, source).await;
        assert_eq!(read.unwrap(), numbers(60));
        let [0, again] = opened[..] else { panic!("{opened:?}") };
        assert!(again > 0 && again % 10 == 0, "{again}");
    });
}

//= test S-20
#[test]
fn a_source_that_gives_something_else_ends_the_call() {
    for lie in 1..=60 {
        run(async {
            let source = move |after: u64, opened: usize| {
                iter((after + 1..=60).map(move |number| {
                    let filler = if opened > 1 && number == lie { b"lies" } else { b"true" };
                    Ok(page(number, filler))
                }))
            };
            let (read, opened) = download(300, source).await;
            let status = read.unwrap_err();
            assert_eq!(opened.len(), 2);
            assert_eq!(Details::of(&status).reason, Some(Reason::StreamDiverged), "{lie}: {status}");
        });
    }
}

/// It has changed meanwhile: what was sent is not there any more.
#[test]
fn a_source_that_is_shorter_than_before_ends_the_call() {
    run(async {
        let source = |after: u64, opened| {
            let most = if opened > 1 { 5 } else { 60 };
            pages(after + 1..=most)
        };
        let status = download(300, source).await.0.unwrap_err();
        assert_eq!(Details::of(&status).reason, Some(Reason::StreamDiverged), "{status}");
    });
}

/// A log that is written to while it is read.
#[test]
fn a_source_that_has_more_at_its_end_than_before_goes_on() {
    run(async {
        let source = |after: u64, opened| {
            let most = if opened > 1 { 60 } else { 30 };
            let pages = pages(after + 1..=most);
            // The first one waits for more when the connection is lost.
            pages.chain(tokio_stream::pending().take(usize::from(opened == 1)))
        };
        let (read, opened) = download(200, source).await;
        assert_eq!((read.unwrap(), opened), (numbers(60), vec![0, 0]));
    });
}

#[test]
fn an_error_of_the_source_is_the_answer_wherever_it_comes() {
    for (first, second) in [(60, 60), (60, 40), (60, 3), (8, 60)] {
        run(async {
            let source = move |after: u64, opened| {
                let most = if opened > 1 { second } else { first };
                let fails = opened > 1 || first < 60;
                let error = fails.then(|| Err(Status::unavailable("the disk")));
                pages(after + 1..=most).chain(iter(error))
            };
            let (read, opened) = download(200, source).await;
            let status = read.unwrap_err();
            assert_eq!(
                (status.code(), status.message()),
                (Code::Unavailable, "the disk"),
                "{first} {second}"
            );
            assert!(opened.len() == 2 || first < 60, "{opened:?}");
        });
    }
}

/// The end of a source is not the end of its messages: they may be asked for again.
#[test]
fn a_source_that_has_ended_is_read_again() {
    run(async {
        let source = |after: u64, _| pages(after + 1..=6);
        let whole = 6 * 13;
        let mut rereads = 0;
        for life_bytes in 0..whole + 60 {
            let (read, opened) = download(life_bytes, source).await;
            assert_eq!(read.unwrap(), numbers(6));
            rereads += opened.len() - 1;
        }
        assert!(rereads > whole / 2, "{rereads}");
    });
}

/// It may wait with that for the end of the response: what it has, it has as long as the call lives.
#[test]
fn a_reader_that_secures_nothing_comes_to_the_end_all_the_same() {
    run(async {
        let pair = Pair::new(&Config::default());
        let checkpoints = Checkpoints::of_stream(&pair.server);
        let source = |after: u64| pages(after + 1..=20);
        let messages = checkpoints.reread_results(source);
        let server = pair.server.clone();
        tokio::spawn(async move {
            let AppEnd::Done(Some(trailers)) = server.pump_app(response_body(messages, None)).await else {
                panic!("it has all of it")
            };
            server.conclude(trailers);
        });
        let checkpoints = Checkpoints::new();
        checkpoints.bind(&pair.client);
        let mut incoming = Checkpointed::new(response_of(&pair.client, None), &checkpoints).unwrap();
        let reader = tokio::spawn(async move {
            let mut points = Vec::new();
            while let Some(item) = incoming.next().await.unwrap() {
                points.extend(match item {
                    Item::SyncPoint(point) => Some(point),
                    Item::Message(_) => None,
                });
            }
            points
        });
        let client = pair.client.clone();
        tokio::spawn(async move { client.pump_app(request_body(iter([]), None)).await });
        let ended = pair.connect(0).client.await.unwrap();
        pair.client.conclude(ended.trailers.unwrap());
        let points = reader.await.unwrap();
        assert_eq!(points.last().map(|point| point.position().messages), Some(20));
        assert_eq!(pair.server.resumption().responses, None, "nothing was secured");
    });
}

/// What is on its way is not kept, and what is read ahead is bounded.
//= test S-31
#[test]
fn what_is_kept_is_what_was_not_sent() {
    run(async {
        let pair = Pair::new(&Config::default());
        let connected = pair.connect(0);
        let checkpoints = Checkpoints::new();
        checkpoints.bind(&pair.client);
        let filler = Bytes::from(vec![7; 10_000]);
        let messages = checkpoints.reread(move |after| {
            let filler = filler.clone();
            iter((after..2_000).map(move |number| Outgoing::Message(Page { number, filler: filler.clone() })))
        });
        // Nobody reads: the window is full, of what was sent.
        let client = pair.client.clone();
        let pump = tokio::spawn(async move { client.pump_app(request_body(messages, None)).await });
        let mut views = pair.client.watch();
        views.wait_for(|view| view.progress.sent_received.bytes > 3 << 20).await.unwrap();
        // The clock moves on when nobody has anything to do.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let [kept, sent] = pair.client.shared.with(|state| {
            let sender = state.flow.sender();
            [sender.kept_bytes(), sender.sent().bytes]
        });
        assert!(kept < 400 << 10 && sent > 3 << 20, "{kept} kept, {sent} sent");
        let log = Log::default();
        let handler = tokio::spawn(read_plain(request_of(&pair.server, None), Arc::clone(&log)));
        handler.await.unwrap().unwrap();
        assert_eq!(log.lock().unwrap().len(), 2_000);
        assert!(matches!(pump.await.unwrap(), AppEnd::Done(None)), "all is secured");
        drop(connected);
    });
}

#[test]
fn a_dialog_has_no_such_sources() {
    run(async {
        let units = [Unit::TypedData].into_iter().collect::<Units>();
        let mut config = Config::default();
        let terms = |side| Terms { side, units, half_duplex: false, first_turn: Side::Client };
        config.dialog = Some(terms(Side::Server));
        let pair = Pair::new(&config);
        let source = |_| iter([Ok(page(1, b"page"))]);
        let mut messages = Checkpoints::of_stream(&pair.server).reread_results(source);
        let status = messages.next().await.unwrap().unwrap_err();
        assert_eq!(status.code(), Code::FailedPrecondition, "{status}");
        config.dialog = Some(terms(Side::Client));
        let pair = Pair::new(&config);
        let checkpoints = Checkpoints::new();
        checkpoints.bind(&pair.client);
        let mut messages = checkpoints.reread(|_| iter([page(1, b"page")]));
        assert_eq!(messages.next().await, None);
        assert_eq!(pair.client.failure().unwrap().code(), Code::FailedPrecondition);
    });
}

/// Over a channel without sessions it is an ordinary stream.
#[test]
fn without_a_call_that_has_checkpoints_the_messages_pass() {
    run(async {
        let items = || [page(1, b"page"), Outgoing::SyncPoint(Bytes::new()), page(2, b"page")];
        let messages = Checkpoints::new().reread(|after| {
            assert_eq!(after, 0);
            iter(items())
        });
        assert_eq!(messages.map(|page| page.number).collect::<Vec<_>>().await, [1, 2]);
    });
}

/// Of a request nothing can be said to have failed but by its call.
#[test]
fn a_source_that_fails_ends_a_call_that_has_checkpoints() {
    run(async {
        let items = || iter([Ok(page(1, b"page")), Err(Status::unavailable("the disk"))]);
        let pair = Pair::new(&Config::default());
        let checkpoints = Checkpoints::new();
        checkpoints.bind(&pair.client);
        let mut kept = checkpoints.outgoing(items());
        assert_eq!(kept.next().await.map(|page| page.number), Some(1));
        assert_eq!(kept.next().await, None);
        assert_eq!(pair.client.failure().unwrap().message(), "the disk");
        // Without one they wait for their caller, and are not taken for the whole.
        let second = Duration::from_secs(1);
        let mut plain = Checkpoints::new().outgoing(items());
        assert_eq!(plain.next().await.map(|page| page.number), Some(1));
        assert!(timeout(second, plain.next()).await.is_err() && timeout(second, plain.next()).await.is_err());
        let mut plain = Checkpoints::new().reread(|_| items());
        assert_eq!(plain.next().await.map(|page| page.number), Some(1));
        assert!(timeout(second, plain.next()).await.is_err() && timeout(second, plain.next()).await.is_err());
    });
}
