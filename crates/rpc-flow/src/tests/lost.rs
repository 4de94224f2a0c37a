//! A connection is lost at a server: its two bodies learn of it one after the other.
//!
//! HTTP/2 drops the response as soon as nothing can be written, while what came before lies in its buffers. A stream that
//! was detached at that moment took nothing of it; on links that live for 20 kB, and whose client sends at once, uploads
//! did not get on for minutes.

use rpc_core::id::Attempt;
use rpc_core::stream::Config;
use rpc_core::stream::flow::Side;

use super::link::{Piece, pipe};
use super::{message, run};
use crate::{Feed, Frames, How, NetBody, Stream};

fn attempt(stream: &Stream) -> (NetBody, Feed) {
    stream.attempt(Attempt(0), None, Frames::On).unwrap().split()
}

#[test]
fn what_came_before_is_taken_when_the_response_is_lost_first() {
    run(async {
        let stream = Stream::new(Side::Server, &Config::default());
        let (body, feed) = attempt(&stream);
        let (request, incoming) = pipe(4);
        for index in 0..3 {
            request.send(Piece::Data(message(index, 10))).await.unwrap();
        }
        drop(body);
        let ended = feed.run(incoming).await;
        assert!(matches!(ended.how, How::Broken(_)), "{ended:?}");
        assert_eq!(stream.progress().received.messages, 3);
        assert_eq!(stream.watch().borrow().attempt, None);
    });
}

#[test]
fn the_attempt_is_over_when_both_bodies_are_in_either_order() {
    run(async {
        for response_first in [true, false] {
            let stream = Stream::new(Side::Server, &Config::default());
            let (body, feed) = attempt(&stream);
            let (request, incoming) = pipe(4);
            request.send(Piece::End).await.unwrap();
            let body = (!response_first).then_some(body);
            // The request ends in order, and the direction does not: the attempt goes on for the response.
            let ended = feed.run(incoming).await;
            assert!(matches!(ended.how, How::Short), "{ended:?}");
            drop(body);
            assert_eq!(stream.watch().borrow().attempt, None, "response first: {response_first}");
        }
    });
}
