//! Asking for tokens, and giving them.

use rpc_core::dialog::{Token, TokenSet};
use rpc_core::frame::dialog::Cause;
use tokio::time::{Instant, sleep, timeout};

use super::super::run;
use super::*;

//= test D-6
#[test]
fn who_asks_politely_is_heard_with_its_priority() {
    run(async {
        let pair = pair(true, Side::Client);
        let _connected = pair.connect(0);
        let (client, server) = apps(&pair);
        let speaking = client.dialog.turn().wait().await.unwrap();
        let asking = tokio::spawn({
            let turn = server.dialog.turn();
            async move { turn.ask(7, Duration::from_secs(60)).await }
        });
        let please = timeout(LONG, client.dialog.asked()).await.unwrap().unwrap().unwrap();
        assert_eq!((please.tokens, please.priority), (TokenSet::of(Token::Data).with(Token::Minor), 7));
        assert!(please.within_ms <= 60_000 && please.within_ms > 59_000, "{please:?}");
        assert_eq!(client.dialog.turn().wanted(), Some(please));
        // Told once.
        assert!(timeout(Duration::from_secs(1), client.dialog.asked()).await.is_err());
        speaking.give();
        let speaking = asking.await.unwrap().unwrap();
        assert_eq!((client.dialog.wanted(), speaking.is_valid()), (None, true));
    });
}

//= test D-6
#[test]
fn a_request_that_nobody_answers_is_withdrawn_at_its_time() {
    run(async {
        let pair = pair(true, Side::Client);
        let _connected = pair.connect(0);
        let (client, server) = apps(&pair);
        let asked = Instant::now();
        assert_eq!(
            reason(server.dialog.turn().ask(1, Duration::from_secs(5)).await),
            Reason::DialogUnanswered
        );
        assert_eq!(asked.elapsed(), Duration::from_secs(5));
        sleep(Duration::from_secs(1)).await;
        assert_eq!(client.dialog.wanted(), None);
        // The same where the future is dropped.
        let please = server.dialog.please(Token::Major, 2, LONG);
        assert!(timeout(Duration::from_secs(1), please).await.is_err());
        sleep(Duration::from_secs(1)).await;
        assert_eq!(client.dialog.wanted(), None);
        // And where there is no connection at all.
        let other = super::pair(true, Side::Client);
        let (_client, server) = apps(&other);
        let asking = server.dialog.please(Token::Data, 0, Duration::from_secs(5));
        assert_eq!(reason(asking.await), Reason::DialogUnanswered);
    });
}

#[test]
fn requests_of_several_tasks_are_one_to_the_other_side() {
    run(async {
        let pair = pair(true, Side::Client);
        let _connected = pair.connect(0);
        let (client, server) = apps(&pair);
        let ask = |token: Token, priority| {
            let dialog = server.dialog.clone();
            tokio::spawn(async move { dialog.please(token, priority, Duration::from_secs(60)).await })
        };
        let asks = [ask(Token::Data, 1), ask(Token::Major, 9)];
        let both = TokenSet::of(Token::Data).with(Token::Major);
        timeout(LONG, async {
            while client.dialog.wanted().is_none_or(|please| please.tokens != both) {
                let _ = client.dialog.asked().await.unwrap();
            }
        })
        .await
        .unwrap();
        assert_eq!(client.dialog.wanted().unwrap().priority, 9);
        client.dialog.give(Token::Major).unwrap();
        let [data, major] = asks;
        major.await.unwrap().unwrap();
        assert_eq!(client.dialog.wanted().unwrap().tokens, TokenSet::of(Token::Data));
        client.dialog.give_all().unwrap();
        data.await.unwrap().unwrap();
        assert_eq!(client.dialog.owned(), TokenSet::NONE);
        assert_eq!(server.dialog.owned(), both.with(Token::Minor));
        assert_eq!(reason(server.dialog.please(Token::Release, 0, LONG).await), Reason::UnitUnsupported);
        assert_eq!(reason(client.dialog.give(Token::Data)), Reason::DialogTokenMissing);
    });
}

#[test]
fn a_side_has_so_many_requests_and_no_more() {
    run(async {
        let pair = pair(true, Side::Client);
        let _connected = pair.connect(0);
        let (_client, server) = apps(&pair);
        let ask = || {
            let dialog = server.dialog.clone();
            tokio::spawn(async move { dialog.please(Token::Data, 1, Duration::from_secs(60)).await })
        };
        let asks: Vec<_> = (0..17).map(|_| ask()).collect();
        let mut refused = 0;
        for asked in asks {
            let status = asked.await.unwrap().unwrap_err();
            refused += usize::from(status.code() == tonic::Code::ResourceExhausted);
        }
        assert_eq!(refused, 1);
    });
}

#[test]
fn only_who_listens_reports_and_once() {
    run(async {
        let pair = pair(true, Side::Client);
        let _connected = pair.connect(0);
        let (client, server) = apps(&pair);
        assert_eq!(reason(client.dialog.report(Cause::Local, "mine")), Reason::FieldInvalid);
        server.dialog.report(Cause::ReceivingJeopardized, "slower").unwrap();
        assert_eq!(reason(server.dialog.report(Cause::Local, "again")), Reason::DialogUnanswered);
        let told = timeout(LONG, client.dialog.exception()).await.unwrap().unwrap().unwrap();
        assert_eq!((told.cause, &told.detail[..]), (Cause::ReceivingJeopardized, "slower"));
        client.dialog.turn().give().unwrap();
        server.dialog.turn().wait().await.unwrap().give();
        client.dialog.turn().wait().await.unwrap().keep();
        server.dialog.report(Cause::Local, "and now").unwrap();
    });
}
