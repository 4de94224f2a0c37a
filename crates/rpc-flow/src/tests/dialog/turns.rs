//! Who speaks.

use rpc_core::dialog::{Token, TokenSet};
use tokio::time::{Instant, sleep, timeout};

use super::super::run;
use super::*;

/// Says a burst of words in each of its turns, as often as `turns`, and gives the turn by what `how` says.
async fn talk(app: App, side: Side, turns: u64, seen: Seen) {
    let turn = app.dialog.turn();
    let mut reader = app.read(side);
    let (mut said, mut heard) = (0, 0);
    for round in 0..turns {
        let speaking = turn.wait().await.unwrap();
        for _ in 0..3 {
            said += 1;
            app.say(said).await;
        }
        // The ways to give the turn all hand over behind what was said.
        match round % 3 {
            0 => speaking.give(),
            1 => drop(speaking),
            _ => {
                speaking.keep();
                app.item(Outgoing::Give(TokenSet::of(Token::Data).with(Token::Minor))).await;
                // Until it is taken the turn is still this side's.
                while app.say.capacity() < 64 {
                    sleep(Duration::from_millis(1)).await;
                }
            }
        }
        for _ in 0..3 {
            let Some(number) = next(&mut reader).await else { break };
            heard += 1;
            assert_eq!(number, heard, "{side:?}");
            seen.add(format!("{side:?} {number}"));
        }
    }
    // The caller ends first: the end of the response is the end of the call.
    let mut say = Some(app.say);
    if side == Side::Client {
        say.take();
    }
    assert_eq!(next(&mut reader).await, None, "one too many");
    drop(say);
    assert_eq!(heard, 3 * turns);
    app.pump.await.unwrap();
}

async fn conversation(first: Side, lives: Vec<(usize, usize)>) -> usize {
    let pair = pair(true, first);
    let (client, server) = apps(&pair);
    let seen = Seen::default();
    let talking = async {
        let client = tokio::spawn(talk(client, Side::Client, 4, seen.clone()));
        let server = tokio::spawn(talk(server, Side::Server, 4, seen.clone()));
        client.await.unwrap();
        server.await.unwrap();
    };
    let (_, carried) = timeout(LONG, async { tokio::join!(talking, carry(&pair, lives.clone())) })
        .await
        .unwrap_or_else(|_| panic!("no end: {first:?} {lives:?} {:?} {pair:?}", seen.all()));
    assert!(carried as usize <= lives.len());
    seen.all().len()
}

/// Both hear everything in their turns, wherever the connection is lost.
//= test D-1, D-3, D-4, I15, I16
#[test]
fn a_conversation_goes_on_wherever_a_connection_is_cut() {
    run(async {
        for first in [Side::Client, Side::Server] {
            assert_eq!(conversation(first, Vec::new()).await, 24);
            for way in [0, 1] {
                for bytes in (1..900).step_by(7) {
                    conversation(first, vec![(way, bytes)]).await;
                }
            }
            conversation(first, (0..40).map(|turn| (turn % 2, 60 + turn * 3)).collect()).await;
        }
    });
}

/// The stream of messages may lag behind its application: the turn goes behind what was said before it was given.
#[test]
fn a_turn_is_given_behind_what_was_said_before() {
    run(async {
        let pair = pair(true, Side::Client);
        let _connected = pair.connect(0);
        let (client, server) = apps(&pair);
        let mut reader = server.read(Side::Server);
        let speaking = client.dialog.turn().wait().await.unwrap();
        for number in 1..=60 {
            client.say.try_send(Outgoing::Message(Page { number, filler: Bytes::new() })).unwrap();
        }
        // At once, before anything of it was read.
        speaking.give();
        assert_eq!(reason(client.dialog.turn().try_speak()), Reason::DialogTokenMissing);
        let turn = server.dialog.turn();
        let speaking = turn.wait().await.unwrap();
        assert_eq!(server.stream.progress().received.messages, 60, "all came before the turn");
        for number in 1..=60 {
            assert_eq!(next(&mut reader).await, Some(number));
        }
        drop(speaking);
    });
}

/// An application is read a little ahead of what is written, and the turn waits for all of it.
#[test]
fn what_is_said_in_a_turn_may_be_longer_than_what_is_read_ahead() {
    const PAGES: u64 = 60;
    async fn say(app: App, side: Side) -> App {
        let filler = Bytes::from(vec![7; 20_000]);
        for round in 0..3 {
            let speaking = app.dialog.turn().wait().await.unwrap();
            for number in 1..=PAGES {
                app.item(Outgoing::Message(Page { number, filler: filler.clone() })).await;
            }
            match round {
                0 => speaking.give(),
                1 => drop(speaking),
                _ => {
                    speaking.keep();
                    app.item(Outgoing::Give(TokenSet::of(Token::Data).with(Token::Minor))).await;
                }
            }
            assert!(app.stream.progress().sent.messages < (round + 1) * PAGES, "{side:?}: nothing was ahead");
        }
        app
    }
    async fn hear(mut reader: Checkpointed<Page>) {
        for _ in 0..3 {
            for number in 1..=PAGES {
                assert_eq!(next(&mut reader).await, Some(number));
            }
        }
    }
    run(async {
        let pair = pair(true, Side::Client);
        let (client, server) = apps(&pair);
        let heard = [hear(client.read(Side::Client)), hear(server.read(Side::Server))].map(tokio::spawn);
        let said = [tokio::spawn(say(client, Side::Client)), tokio::spawn(say(server, Side::Server))];
        let _connected = pair.connect(0);
        for hearing in heard {
            timeout(LONG, hearing).await.unwrap_or_else(|_| panic!("no end: {pair:?}")).unwrap();
        }
        for saying in said {
            drop(saying.await.unwrap());
        }
    });
}

/// Who let go of the turn and wanted it back before it had left was refused, since the token was still there; and was told
/// that the other side wanted what it was being given.
#[test]
fn a_turn_may_be_asked_for_again_as_soon_as_it_is_given() {
    run(async {
        let pair = pair(true, Side::Client);
        let _connected = pair.connect(0);
        let (client, server) = apps(&pair);
        let mut reader = server.read(Side::Server);
        let turns = [client.dialog.turn(), server.dialog.turn()];
        let speaking = turns[0].wait().await.unwrap();
        client.say.try_send(Outgoing::Message(Page { number: 1, filler: Bytes::new() })).unwrap();
        let wanted = tokio::spawn({
            let turn = turns[1].clone();
            async move { turn.ask(1, LONG).await.map(crate::Speaking::keep) }
        });
        assert_eq!(client.dialog.asked().await.unwrap().map(|please| please.priority), Some(1));
        speaking.give();
        assert_eq!(turns[0].wanted(), None, "it is given");
        let again = tokio::spawn({
            let turn = turns[0].clone();
            async move { turn.ask(2, LONG).await.map(crate::Speaking::keep) }
        });
        wanted.await.unwrap().unwrap();
        assert_eq!(next(&mut reader).await, Some(1));
        assert_eq!(server.dialog.asked().await.unwrap().map(|please| please.priority), Some(2));
        turns[1].give().unwrap();
        again.await.unwrap().unwrap();
    });
}

#[test]
fn a_side_that_speaks_out_of_turn_waits_or_is_refused() {
    run(async {
        let pair = pair(true, Side::Client);
        let _connected = pair.connect(0);
        let (client, server) = apps(&pair);
        let mut reader = client.read(Side::Client);
        server.say(1).await;
        let turn = server.dialog.turn();
        assert_eq!(reason(turn.try_speak()), Reason::DialogTokenMissing);
        assert_eq!(reason(turn.give()), Reason::DialogTokenMissing);
        assert_eq!(reason(server.dialog.give(Token::Data)), Reason::DialogTokenMissing);
        let until = Instant::now() + Duration::from_secs(3);
        assert_eq!(reason(turn.wait_until(until).await), Reason::DialogUnanswered);
        assert_eq!(Instant::now(), until);
        assert_eq!(pair.server.progress().sent.messages, 0);
        client.dialog.turn().wait().await.unwrap().give();
        assert_eq!(next(&mut reader).await, Some(1));
    });
}

#[test]
fn one_task_of_a_side_has_the_turn_at_a_time() {
    run(async {
        let pair = pair(true, Side::Client);
        let _connected = pair.connect(0);
        let (client, server) = apps(&pair);
        let turn = client.dialog.turn();
        let speaking = turn.try_speak().unwrap();
        assert!(speaking.is_valid());
        assert_eq!(reason(turn.try_speak()), Reason::DialogTokenMissing);
        let second = tokio::spawn({
            let turn = turn.clone();
            async move { turn.wait().await }
        });
        sleep(Duration::from_secs(1)).await;
        speaking.keep();
        let speaking = second.await.unwrap().unwrap();
        // A wait that is given up leaves the turn where it is.
        assert!(timeout(Duration::from_secs(1), turn.wait()).await.is_err());
        speaking.keep();
        turn.wait().await.unwrap().give();
        server.dialog.turn().wait().await.unwrap().keep();
        assert!(server.dialog.owns(Token::Data));
        assert_eq!(client.dialog.owned(), TokenSet::of(Token::Major));
    });
}

//= test D-31
#[test]
fn the_end_of_a_sides_messages_gives_the_turn() {
    run(async {
        let pair = pair(true, Side::Client);
        let _connected = pair.connect(0);
        let (client, server) = apps(&pair);
        client.say(1).await;
        drop(client.say);
        let speaking = timeout(LONG, server.dialog.turn().wait()).await.unwrap().unwrap();
        let mut reader = server.read(Side::Server);
        assert_eq!(next(&mut reader).await, Some(1));
        assert_eq!(next(&mut reader).await, None);
        drop(speaking);
        // Nobody takes it.
        server.dialog.turn().wait().await.unwrap().keep();
    });
}

/// Its body is not there yet, so it has nothing more to say.
#[test]
fn a_handler_gives_the_turn_before_it_has_answered() {
    run(async {
        let pair = pair(true, Side::Server);
        let _connected = pair.connect(0);
        let client = App::new(&pair.client, Side::Client);
        Checkpoints::of_stream(&pair.server).dialog().turn().give().unwrap();
        timeout(LONG, client.dialog.turn().wait()).await.unwrap().unwrap().give();
        let server = App::new(&pair.server, Side::Server);
        timeout(LONG, server.dialog.turn().wait()).await.unwrap().unwrap().give();
    });
}

#[test]
fn a_duplex_stream_has_no_turn() {
    run(async {
        let pair = pair(false, Side::Client);
        let _connected = pair.connect(0);
        let (client, _server) = apps(&pair);
        let turn = client.dialog.turn();
        assert_eq!(reason(turn.try_speak()), Reason::UnitUnsupported);
        assert_eq!(reason(turn.wait().await), Reason::UnitUnsupported);
        assert_eq!(reason(turn.ask(1, LONG).await), Reason::UnitUnsupported);
    });
}

#[test]
fn a_call_without_a_dialog_says_so() {
    run(async {
        let stream = Stream::new(Side::Server, &Config::default());
        let dialog = Checkpoints::of_stream(&stream).dialog();
        assert_eq!(reason(dialog.check()), Reason::DialogRequired);
        assert_eq!(reason(dialog.begun().await), Reason::DialogRequired);
        assert_eq!(reason(dialog.turn().wait().await), Reason::DialogRequired);
        assert_eq!(reason(dialog.send_typed("x").await), Reason::DialogRequired);
        // Of a call that never begins.
        let checkpoints = Checkpoints::new();
        let dialog = checkpoints.dialog();
        assert_eq!(reason(dialog.give_all()), Reason::DialogRequired);
        drop(checkpoints.request(()));
        assert_eq!(reason(dialog.turn().wait().await), Reason::DialogRequired);
    });
}

#[test]
fn who_waits_for_a_turn_hears_of_the_end() {
    run(async {
        let pair = pair(true, Side::Client);
        let (_client, server) = apps(&pair);
        let waiting = tokio::spawn({
            let turn = server.dialog.turn();
            async move { turn.wait().await.map(drop) }
        });
        sleep(Duration::from_secs(1)).await;
        pair.server.abandon(Status::aborted("by hand"));
        assert_eq!(waiting.await.unwrap().unwrap_err().message(), "by hand");
    });
}
