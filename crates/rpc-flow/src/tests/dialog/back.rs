//! Going back.

use rpc_core::dialog::{ResyncKind, Token};
use rpc_core::frame::dialog::Wish;
use rpc_core::stream::position::Serial;
use tokio::time::{sleep, timeout};

use super::super::run;
use super::*;
use crate::shared::State;
use crate::{Resynchronize, Resynchronized};

/// Reads until the point with that state, which it does not secure.
async fn until_point(reader: &mut Checkpointed<Page>, state: &str, seen: &Seen) -> crate::Point {
    loop {
        match reader.next().await.unwrap().expect("not the end") {
            Item::Message(page) => seen.add(page.number.to_string()),
            Item::SyncPoint(point) if point.state()[..] == *state.as_bytes() => return point,
            Item::SyncPoint(point) => point.secure("").await.unwrap(),
        }
    }
}

/// Waits for what becomes true inside a stream.
async fn until(stream: &Stream, is_so: impl Fn(&State) -> bool) {
    let waiting = async {
        while !stream.shared.with(|state| is_so(state)) {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(LONG, waiting).await.unwrap_or_else(|_| panic!("never: {stream:?}"));
}

/// An upload that its sender takes back to its first point: what was under way is dropped, at both sides.
async fn restart(lives: Vec<(usize, usize)>) {
    let pair = pair(false, Side::Client);
    let (client, server) = apps(&pair);
    let seen = Seen::default();
    let talking = async {
        let sending = async {
            client.say(1).await;
            client.item(Outgoing::SyncPoint(Bytes::from_static(b"one"))).await;
            for number in 2..=40 {
                client.say(number).await;
            }
            // Some of it is under way, some with the other side, nothing is taken.
            while pair.client.progress().sent.messages < 40 || client.say.capacity() < 64 {
                sleep(Duration::from_millis(1)).await;
            }
            let to = Resynchronize::restart().requests(Serial(2));
            let back = client.dialog.resynchronize(to, "again", LONG).await.unwrap();
            assert_eq!(
                (back.kind(), back.requests(), back.responses()),
                (ResyncKind::Restart, Some(Serial(2)), None)
            );
            assert_eq!(&back.state()[..], b"as you say");
            for number in 2..=4 {
                client.say(number * 100).await;
            }
            sleep(Duration::from_millis(50)).await;
            let sent = pair.client.progress().sent;
            back.go_on();
            client.item(Outgoing::SyncPoint(Bytes::from_static(b"two"))).await;
            client.say(500).await;
            drop(client.say);
            client.pump.await.unwrap();
            assert!(pair.client.progress().sent.messages >= sent.messages + 4);
        };
        let taking = async {
            let mut reader = server.read(Side::Server);
            let point = until_point(&mut reader, "one", &seen).await;
            // One message is taken, and its decoder may hold more.
            assert_eq!(next(&mut reader).await, Some(2));
            let request = server.dialog.resynchronization().await.unwrap().unwrap();
            assert_eq!(
                (request.kind(), request.requests(), request.responses()),
                (ResyncKind::Restart, Some(Serial(2)), None)
            );
            assert_eq!(&request.state()[..], b"again");
            assert!(
                timeout(Duration::from_secs(1), reader.next()).await.is_err(),
                "held from the request on"
            );
            // It is not lost when it is dropped.
            drop(request);
            let request = server.dialog.resynchronization().await.unwrap().unwrap();
            let back = request.confirm("as you say").await.unwrap();
            assert!(timeout(Duration::from_secs(1), reader.next()).await.is_err(), "held until it goes on");
            drop(back);
            assert_eq!(point.secure("late").await.unwrap_err().code(), tonic::Code::Aborted);
            let point = until_point(&mut reader, "two", &seen).await;
            assert_eq!(point.serial(), Serial(2));
            point.secure("").await.unwrap();
            seen.add("|");
            while let Some(number) = next(&mut reader).await {
                seen.add(number.to_string());
            }
            drop(server.say);
            server.pump.await.unwrap();
        };
        let answers = async {
            let mut reader = App::read_of(&pair.client);
            assert_eq!(next(&mut reader).await, None);
        };
        tokio::join!(sending, taking, answers);
    };
    let both = async { tokio::join!(talking, carry(&pair, lives.clone())) };
    timeout(LONG, both).await.unwrap_or_else(|_| panic!("no end: {lives:?} {:?} {pair:?}", seen.all()));
    assert_eq!(seen.all(), ["1", "200", "300", "400", "|", "500"], "{lives:?}");
}

//= test D-12, D-16, I14
#[test]
fn nothing_of_the_time_before_is_delivered_wherever_a_connection_is_cut() {
    run(async {
        restart(Vec::new()).await;
        for way in [0, 1] {
            for bytes in (1..2_000).step_by(23) {
                restart(vec![(way, bytes)]).await;
            }
        }
    });
}

//= test D-13
#[test]
fn what_is_abandoned_leaves_both_directions_at_new_points_and_moves_tokens() {
    run(async {
        let pair = pair(true, Side::Client);
        let _connected = pair.connect(0);
        let (client, server) = apps(&pair);
        let mut reader = server.read(Side::Server);
        let mut answers = client.read(Side::Client);
        client.say(1).await;
        assert_eq!(next(&mut reader).await, Some(1));
        let speaking = client.dialog.turn().wait().await.unwrap();
        let asking = tokio::spawn({
            let dialog = server.dialog.clone();
            let to =
                Resynchronize::abandon().token(Token::Data, Wish::Mine).token(Token::Minor, Wish::Choose);
            async move { dialog.resynchronize(to, "enough", LONG).await.map(Resynchronized::go_on) }
        });
        let request = timeout(LONG, client.dialog.resynchronization()).await.unwrap().unwrap().unwrap();
        assert_eq!((request.kind(), request.choices()), (ResyncKind::Abandon, Token::Minor.into()));
        assert!(request.requests() >= Some(Serial(1)) && request.responses() == Some(Serial(1)));
        assert!(!speaking.is_valid());
        request.confirm_with("", Token::Minor.into()).await.unwrap().go_on();
        asking.await.unwrap().unwrap();
        assert!(server.dialog.owns(Token::Data) && client.dialog.owns(Token::Minor));
        // What was given away meanwhile is not.
        drop(speaking);
        server.say(7).await;
        assert_eq!(next(&mut answers).await, Some(7));
    });
}

//= test D-15, I20
#[test]
fn of_two_that_cross_one_wins_and_the_other_side_answers() {
    run(async {
        let pair = pair(false, Side::Client);
        let (client, server) = apps(&pair);
        let (mut reader, mut answers) = (server.read(Side::Server), client.read(Side::Client));
        let ask = |dialog: &Dialog, to: Resynchronize| {
            let dialog = dialog.clone();
            tokio::spawn(async move { dialog.resynchronize(to, "", LONG).await.map(Resynchronized::go_on) })
        };
        let losing = ask(&client.dialog, Resynchronize::set().requests(Serial(5)));
        let winning = ask(&server.dialog, Resynchronize::abandon());
        sleep(Duration::from_secs(1)).await;
        let _connected = pair.connect(0);
        assert_eq!(reason(timeout(LONG, losing).await.unwrap().unwrap()), Reason::DialogUnanswered);
        let request = timeout(LONG, client.dialog.resynchronization()).await.unwrap().unwrap().unwrap();
        assert_eq!(request.kind(), ResyncKind::Abandon);
        request.confirm("").await.unwrap().go_on();
        timeout(LONG, winning).await.unwrap().unwrap().unwrap();
        client.say(1).await;
        assert_eq!(next(&mut reader).await, Some(1));
        server.say(2).await;
        assert_eq!(next(&mut answers).await, Some(2));
    });
}

/// The stream stands still, and what comes of the request can be asked for later.
#[test]
fn a_request_that_is_not_answered_in_time_is_not_lost() {
    run(async {
        let pair = pair(false, Side::Client);
        let _connected = pair.connect(0);
        let (client, server) = apps(&pair);
        let mut reader = server.read(Side::Server);
        let to = Resynchronize::set().requests(Serial(5));
        let asked = client.dialog.resynchronize(to.clone(), "", Duration::from_secs(5)).await;
        assert_eq!(reason(asked), Reason::DialogUnanswered);
        assert_eq!(reason(client.dialog.resynchronize(to, "", LONG).await), Reason::DialogUnanswered);
        client.say(1).await;
        let request = server.dialog.resynchronization().await.unwrap().unwrap();
        // The future that was to tell is dropped, too.
        assert!(timeout(Duration::ZERO, request.confirm("")).await.is_err());
        server.dialog.resynchronized().await.unwrap().go_on();
        let back = timeout(LONG, client.dialog.resynchronized()).await.unwrap().unwrap();
        assert_eq!(back.requests(), Some(Serial(5)));
        assert!(timeout(Duration::from_secs(1), reader.next()).await.is_err());
        back.go_on();
        assert_eq!(next(&mut reader).await, Some(1));
    });
}

/// An answer came, and what lies before a separating point is still to be read. Its point was refused as one that was not
/// delivered, as if the application had done something wrong; or, held until one of the same number came, it secured that.
//= test D-16, I14
#[test]
fn a_point_of_the_time_before_is_void_when_it_comes_after() {
    for is_newer_there in [false, true] {
        run(async move {
            let pair = pair(false, Side::Client);
            let _connected = pair.connect(0);
            let (client, server) = apps(&pair);
            let mut reader = client.read(Side::Client);
            server.say(1).await;
            server.item(Outgoing::SeparatingPoint(Bytes::from_static(b"kept"))).await;
            until(&pair.client, |state| state.flow.receiver().serials().next == Serial(2)).await;
            let asking = tokio::spawn({
                let dialog = client.dialog.clone();
                let to = Resynchronize::restart().responses(Serial(1));
                async move { dialog.resynchronize(to, "", LONG).await.map(Resynchronized::go_on) }
            });
            let request = timeout(LONG, server.dialog.resynchronization()).await.unwrap().unwrap().unwrap();
            request.confirm("").await.unwrap().go_on();
            until(&pair.client, |state| state.flow.resets() == 1).await;
            let seen = Seen::default();
            let mut old = Some(until_point(&mut reader, "kept", &seen).await);
            assert_eq!(seen.all(), ["1"]);
            let is_void = async |old: crate::Point| {
                assert_eq!(old.serial(), Serial(1));
                assert_eq!(old.secure("").await.unwrap_err().code(), tonic::Code::Aborted);
                assert_eq!(pair.client.progress().received_secured.messages, 1, "as far as its base");
            };
            if !is_newer_there {
                is_void(old.take().unwrap()).await;
            }
            server.say(2).await;
            server.item(Outgoing::SyncPoint(Bytes::from_static(b"new"))).await;
            let new = until_point(&mut reader, "new", &seen).await;
            timeout(LONG, asking).await.unwrap().unwrap().unwrap();
            assert_eq!((new.serial(), seen.all()), (Serial(1), vec!["1".to_owned(), "2".to_owned()]));
            if let Some(old) = old {
                is_void(old).await;
            }
            new.secure("").await.unwrap();
            assert_eq!(pair.client.progress().received_secured.messages, 2);
        });
    }
}

/// Its peer has said it, since all that is safe has arrived; an application that does not read would find itself asked to
/// go back behind what it is still to be given.
//= test D-16, D-34
#[test]
fn a_request_is_heard_when_what_lies_before_a_separating_point_was_read() {
    run(async {
        let pair = pair(false, Side::Client);
        let _connected = pair.connect(0);
        let (client, server) = apps(&pair);
        let mut reader = server.read(Side::Server);
        client.say(1).await;
        client.item(Outgoing::SeparatingPoint(Bytes::from_static(b"kept"))).await;
        client.say(2).await;
        until(&pair.server, |state| state.flow.receiver().received().messages == 2).await;
        let asking = tokio::spawn({
            let dialog = client.dialog.clone();
            let to = Resynchronize::restart().requests(Serial(1));
            async move { dialog.resynchronize(to, "", LONG).await.map(Resynchronized::go_on) }
        });
        until(&pair.server, |state| state.flow.dialog().unwrap().is_resynchronizing()).await;
        let hears = timeout(Duration::from_secs(1), server.dialog.resynchronization());
        assert!(hears.await.is_err(), "it has not read what is safe");
        let seen = Seen::default();
        let point = until_point(&mut reader, "kept", &seen).await;
        let request = timeout(LONG, server.dialog.resynchronization()).await.unwrap().unwrap().unwrap();
        assert!(timeout(Duration::from_secs(1), reader.next()).await.is_err(), "the rest is given up");
        point.secure("").await.unwrap();
        request.confirm("").await.unwrap().go_on();
        timeout(LONG, asking).await.unwrap().unwrap().unwrap();
        client.say(3).await;
        assert_eq!(next(&mut reader).await, Some(3));
        assert_eq!(seen.all(), ["1"]);
    });
}

/// It would get messages of the time before out of its decoder.
#[test]
fn a_reader_without_points_cannot_go_back() {
    run(async {
        let pair = pair(false, Side::Client);
        let _connected = pair.connect(0);
        let (client, server) = apps(&pair);
        let mut plain = request_of(&pair.server, None);
        let reading = tokio::spawn(async move { plain.message().await });
        let asking = tokio::spawn({
            let dialog = client.dialog.clone();
            async move { dialog.resynchronize(Resynchronize::set().requests(Serial(5)), "", LONG).await }
        });
        let request = timeout(LONG, server.dialog.resynchronization()).await.unwrap().unwrap().unwrap();
        assert_eq!(reason(request.confirm("").await), Reason::CheckpointsIgnored);
        let to = Resynchronize::set().responses(Serial(5));
        let other = super::pair(false, Side::Client);
        let (client, _server) = apps(&other);
        assert_eq!(reason(client.dialog.resynchronize(to, "", LONG).await), Reason::CheckpointsIgnored);
        reading.abort();
        asking.abort();
    });
}
