//! Where a dialogue unit ends.

use rpc_core::dialog::Token;
use tokio::time::{sleep, timeout};

use super::super::run;
use super::*;

/// Reads to the end; a major point is secured only when `may` says so.
async fn read(app: &App, side: Side, seen: Seen) {
    let mut reader = app.read(side);
    while let Some(item) = reader.next().await.unwrap() {
        match item {
            Item::Message(page) => seen.add(page.number.to_string()),
            Item::SyncPoint(point) => {
                if point.is_major() {
                    seen.add(format!("major {}", std::str::from_utf8(point.state()).unwrap()));
                }
                point.secure("").await.unwrap();
            }
        }
    }
}

/// What is sent after a major point is not delivered before both sides have closed the unit.
//= test I17, S-6, S-7
#[test]
fn a_unit_closes_wherever_a_connection_is_cut() {
    run(async {
        for way in [0, 1] {
            for bytes in (0..900).step_by(13) {
                let pair = pair(false, Side::Client);
                let (client, server) = apps(&pair);
                let seen = Seen::default();
                let talking = async {
                    let sending = async {
                        client.say(1).await;
                        client.say(2).await;
                        client.dialog.major("one").await.unwrap();
                        seen.add("closed");
                        client.say(3).await;
                        client.item(Outgoing::MajorPoint(Bytes::from_static(b"two"))).await;
                        client.say(4).await;
                        drop(client.say);
                        client.pump.await.unwrap();
                    };
                    let taking = async {
                        read(&server, Side::Server, seen.clone()).await;
                        drop(server.say);
                        server.pump.await.unwrap();
                    };
                    let answers = async {
                        let mut reader = App::read_of(&pair.client);
                        assert_eq!(next(&mut reader).await, None);
                    };
                    tokio::join!(sending, taking, answers);
                };
                let carried = carry(&pair, (bytes > 0).then_some((way, bytes)));
                let both = async { tokio::join!(talking, carried) };
                timeout(LONG, both)
                    .await
                    .unwrap_or_else(|_| panic!("no end: {way} {bytes} {:?}", seen.all()));
                assert_eq!(seen.all(), ["1", "2", "major one", "closed", "3", "major two", "4"]);
            }
        }
    });
}

#[test]
fn a_major_point_needs_its_token() {
    run(async {
        let pair = pair(true, Side::Client);
        let _connected = pair.connect(0);
        let (client, server) = apps(&pair);
        assert_eq!(reason(server.dialog.major("mine").await), Reason::DialogTokenMissing);
        client.dialog.give(Token::Major).unwrap();
        server.dialog.please(Token::Major, 0, LONG).await.unwrap();
        // In half duplex the others, too.
        assert_eq!(reason(server.dialog.major("mine").await), Reason::DialogTokenMissing);
    });
}

#[test]
fn a_major_point_that_nobody_waits_for_is_not_placed_or_is_answered_all_the_same() {
    run(async {
        let pair = pair(false, Side::Client);
        let (client, server) = apps(&pair);
        let _connected = pair.connect(0);
        // Placed as soon as the application's body has nothing ready, which takes no time here; nobody secures it.
        assert!(timeout(Duration::from_secs(1), client.dialog.major("dropped")).await.is_err());
        client.say(1).await;
        sleep(Duration::from_secs(1)).await;
        assert_eq!(pair.server.progress().received.messages, 0, "what follows waits");
        let mut reader = server.read(Side::Server);
        let Some(Item::SyncPoint(point)) = reader.next().await.unwrap() else { panic!("no point") };
        assert!(point.is_major());
        point.secure("").await.unwrap();
        let mut answers = client.read(Side::Client);
        let reading = tokio::spawn(async move { next(&mut answers).await });
        timeout(LONG, client.dialog.unit_closed()).await.unwrap().unwrap();
        assert_eq!(next(&mut reader).await, Some(1));
        reading.abort();
    });
}
