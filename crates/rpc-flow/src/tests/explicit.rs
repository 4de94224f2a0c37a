//! The form with sync points, and what watchers see.

use bytes::Bytes;
use rpc_core::stream::Config;

use super::link::{Piece, pipe};
use super::pair::Pair;
use super::{count, message, run};
use crate::{AppEnd, Item};

/// An upload of ten messages with a point in the middle, over two connections.
//= test S-10
#[test]
fn points_and_states_make_the_way_and_are_watched() {
    run(async {
        let pair = Pair::new(&Config::default());
        let mut watch = pair.client.watch();
        let client = pair.client.clone();
        let (to, body) = pipe(1);
        let upload = tokio::spawn(async move { client.pump_app(body).await });
        let five = (0..5).map(|index| message(index, 10));
        to.send(Piece::Data(five.collect::<Vec<_>>().concat().into())).await.unwrap();
        tokio::task::yield_now().await;
        pair.client.sync_point(Bytes::from_static(b"sent five")).unwrap();
        let first = pair.connect(0);
        let mut items = pair.server.items();
        let Ok(Some(Item::Run(five))) = items.next_item().await else { panic!() };
        assert_eq!(count(&five), 5);
        let Ok(Some(Item::SyncPoint(point))) = items.next_item().await else { panic!() };
        assert_eq!(&point.get().state[..], b"sent five");
        assert_eq!(point.get().position.messages, 5);
        point.secure(Bytes::from_static(b"stored five")).unwrap();
        first.link.abort();
        let _second = pair.connect(1);
        let rest = (5..10).map(|index| message(index, 10));
        to.send(Piece::Data(rest.collect::<Vec<_>>().concat().into())).await.unwrap();
        to.send(Piece::End).await.unwrap();
        assert!(matches!(upload.await.unwrap(), AppEnd::Done(None)));
        let Ok(Some(Item::Run(more))) = items.next_item().await else { panic!() };
        assert_eq!(count(&more), 5);
        let Ok(Some(Item::SyncPoint(last))) = items.next_item().await else { panic!() };
        last.secure(Bytes::new()).unwrap();
        assert!(matches!(items.next_item().await, Ok(None)));
        assert_eq!(items.trailers(), None);
        let view = watch.wait_for(|view| view.is_secured).await.unwrap().clone();
        assert_eq!(view.progress.resumes, 1);
        assert_eq!(view.progress.sent_secured.messages, 10);
        assert_eq!(view.confirmed.map(|ack| ack.serial), Some(last.get().serial));
    });
}
