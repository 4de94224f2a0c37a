//! What passes by the messages.

use rpc_core::stream::Config;
use tokio::time::{sleep, timeout};

use super::super::run;
use super::*;

//= test D-8
#[test]
fn typed_data_passes_against_the_turn_and_behind_what_was_said() {
    run(async {
        let pair = pair(true, Side::Client);
        let _connected = pair.connect(0);
        let (client, server) = apps(&pair);
        let mut reader = server.read(Side::Server);
        // The listener, at once.
        server.dialog.send_typed("slower, please").await.unwrap();
        let typed = timeout(LONG, client.dialog.typed()).await.unwrap().unwrap().unwrap();
        assert_eq!(&typed.bytes[..], b"slower, please");
        assert!(!format!("{typed:?}").contains("slower"));
        // The speaker, behind its words.
        client.say(1).await;
        while pair.client.progress().sent.messages == 0 {
            sleep(Duration::from_millis(1)).await;
        }
        client.dialog.send_typed("comma").await.unwrap();
        assert_eq!(
            &timeout(LONG, server.dialog.typed()).await.unwrap().unwrap().unwrap().bytes[..],
            b"comma"
        );
        assert_eq!(pair.server.progress().received.messages, 1);
        assert_eq!(next(&mut reader).await, Some(1));
    });
}

/// Each side sends as much as may wait and then waits itself, until the other application takes a piece.
#[test]
fn pieces_that_nobody_takes_hold_their_sender() {
    run(async {
        let pair = pair(false, Side::Client);
        let _connected = pair.connect(0);
        let (client, server) = apps(&pair);
        for number in 0..16_u8 {
            timeout(LONG, client.dialog.send_expedited(vec![number])).await.unwrap().unwrap();
            timeout(LONG, client.dialog.send_typed(vec![number])).await.unwrap().unwrap();
        }
        assert!(timeout(LONG, client.dialog.send_expedited("17")).await.is_err());
        assert!(timeout(LONG, client.dialog.send_typed("17")).await.is_err());
        let waiting = tokio::spawn({
            let dialog = client.dialog.clone();
            async move { dialog.send_expedited(vec![16]).await }
        });
        for number in 0..17_u8 {
            let piece = timeout(LONG, server.dialog.expedited()).await.unwrap().unwrap().unwrap();
            assert_eq!(piece[..], [number], "what was given up was not sent");
        }
        waiting.await.unwrap().unwrap();
        assert_eq!(reason(client.dialog.send_expedited(vec![0; 4_097]).await), Reason::FieldInvalid);
        assert_eq!(server.dialog.typed().await.unwrap().unwrap().bytes[..], [0]);
        assert_eq!(reason(client.dialog.send_typed(vec![0; 65_537]).await), Reason::FieldInvalid);
    });
}

/// A reader that does not read stops the messages and nothing else.
#[test]
fn expedited_data_passes_a_full_window() {
    run(async {
        let small = |side| {
            let mut config = terms(side, all_units(), false, Side::Client);
            (config.window_bytes, config.window_messages) = (2_000, 50);
            Stream::new(side, &config)
        };
        let pair = Pair { client: small(Side::Client), server: small(Side::Server) };
        let _connected = pair.connect(0);
        let (client, server) = apps(&pair);
        let talking = tokio::spawn(async move {
            for number in 1..=500 {
                client.say(number).await;
            }
            client
        });
        sleep(Duration::from_secs(1)).await;
        let stuck = pair.client.progress().sent;
        sleep(Duration::from_secs(1)).await;
        assert_eq!(pair.client.progress().sent, stuck);
        let dialog = Checkpoints::of_stream(&pair.client).dialog();
        dialog.send_expedited("stop").await.unwrap();
        assert_eq!(&timeout(LONG, server.dialog.expedited()).await.unwrap().unwrap().unwrap()[..], b"stop");
        let mut reader = server.read(Side::Server);
        for number in 1..=500 {
            assert_eq!(next(&mut reader).await, Some(number));
        }
        drop(talking.await.unwrap());
    });
}

/// All of it comes once and in order, wherever the connection is lost.
//= test D-9, D-29
#[test]
fn nothing_that_was_said_apart_is_lost_with_a_connection() {
    run(async {
        for way in [0, 1] {
            for bytes in (1..1_300).step_by(11) {
                let pair = pair(true, Side::Client);
                let (client, server) = apps(&pair);
                let talking = async {
                    let sending = async {
                        for number in 0..20_u8 {
                            client.dialog.send_typed(vec![number]).await.unwrap();
                            client.dialog.send_expedited(vec![number]).await.unwrap();
                            client.say(u64::from(number) + 1).await;
                        }
                        drop(client.say);
                        client.pump.await.unwrap();
                    };
                    let taking = async {
                        let mut reader = server.read(Side::Server);
                        for number in 0..20_u8 {
                            assert_eq!(server.dialog.expedited().await.unwrap().unwrap()[..], [number]);
                            assert_eq!(server.dialog.typed().await.unwrap().unwrap().bytes[..], [number]);
                            assert_eq!(next(&mut reader).await, Some(u64::from(number) + 1));
                        }
                        assert_eq!(next(&mut reader).await, None);
                        drop(server.say);
                        server.pump.await.unwrap();
                    };
                    tokio::join!(sending, taking);
                    let mut answer = App::read_of(&pair.client);
                    assert_eq!(next(&mut answer).await, None);
                };
                let both = async { tokio::join!(talking, carry(&pair, [(way, bytes)])) };
                timeout(LONG, both).await.unwrap_or_else(|_| panic!("no end: {way} {bytes} {pair:?}"));
            }
        }
    });
}

//= test O-21
#[test]
fn a_unit_that_is_off_is_refused_before_anything_is_written() {
    run(async {
        let none = Units::KERNEL.with(Unit::MinorSynchronize).with(Unit::Resume).with(Unit::HalfDuplex);
        let pair = with_units(none, true, Side::Client);
        let (client, server) = apps(&pair);
        let off = Reason::UnitUnsupported;
        assert_eq!(reason(client.dialog.send_typed("x").await), off);
        assert_eq!(reason(client.dialog.typed().await), off);
        assert_eq!(reason(client.dialog.send_expedited("x").await), off);
        assert_eq!(reason(client.dialog.expedited().await), off);
        assert_eq!(reason(client.dialog.major("x").await), off);
        assert_eq!(reason(server.dialog.report(Default::default(), "x")), off);
        assert_eq!(reason(server.dialog.exception().await), off);
        assert_eq!(reason(client.dialog.resynchronization().await), off);
        let back = crate::Resynchronize::abandon().requests(rpc_core::stream::position::Serial(9));
        assert_eq!(reason(client.dialog.resynchronize(back, "", LONG).await), off);
        // And a stream without a dialog is as it was.
        assert!(Config::default().dialog.is_none());
    });
}

#[test]
fn who_waits_for_pieces_hears_of_the_end() {
    run(async {
        let pair = pair(false, Side::Client);
        let (client, server) = apps(&pair);
        let (dialog, end) = (client.dialog.clone(), server.dialog.clone());
        let waiting = tokio::spawn(async move { (dialog.typed().await, dialog.asked().await) });
        let end = tokio::spawn(async move { end.expedited().await });
        let talking = async {
            drop(client.say);
            drop(server.say);
            client.pump.await.unwrap();
            server.pump.await.unwrap();
            let mut reader = App::read_of(&pair.client);
            assert_eq!(next(&mut reader).await, None);
        };
        timeout(LONG, async { tokio::join!(talking, carry(&pair, [])) }).await.unwrap();
        let (typed, asked) = waiting.await.unwrap();
        assert!(typed.unwrap().is_none() && asked.unwrap().is_none());
        assert!(end.await.unwrap().unwrap().is_none());
        assert_eq!(reason(client.dialog.send_typed("late").await), Reason::DialogUnanswered);
    });
}
