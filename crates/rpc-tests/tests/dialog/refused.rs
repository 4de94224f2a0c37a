//! Calls that cannot have the dialog that their method needs.

use rpc_client::Unit;
use rpc_core::error::Outcome;
use rpc_proto::pb::session::v1::{OpenRequest, Unit as PbUnit};
use rpc_tests::session::{Opened, nonce};

use super::*;

const RADIO: &str = "/dialog.v1.TestDialog/Radio";
const ECHO: &str = "/dialog.v1.TestDialog/Echo";

fn proposal(units: &[PbUnit]) -> OpenRequest {
    let units = units.iter().map(|unit| i32::from(*unit)).collect();
    OpenRequest { nonce: nonce(), units, ..OpenRequest::default() }
}

//= test O-27
#[tokio::test]
async fn a_method_that_takes_turns_is_refused_without_the_unit_or_the_frames() {
    let (server, _handlers) = served().await;
    let channel = server.connect().await;
    let streams = [PbUnit::ExactlyOnce, PbUnit::Resume, PbUnit::MinorSynchronize];
    let with = |more: &[PbUnit]| proposal(&[&streams[..], more].concat());
    let without = Opened::propose(&channel, "alice", with(&[])).await.unwrap();
    let half = Opened::propose(&channel, "alice", with(&[PbUnit::HalfDuplex])).await.unwrap();
    let kernel = Opened::propose(&channel, "alice", proposal(&[PbUnit::HalfDuplex])).await.unwrap();
    for (session, frames, reason) in [
        (&without, true, Reason::UnitUnsupported),
        (&without, false, Reason::UnitUnsupported),
        (&half, false, Reason::DialogRequired),
        (&kernel, true, Reason::DialogRequired),
    ] {
        let mut channel = session.channel_for("0.1.0");
        if frames {
            channel = channel.with_header("session-frames", "1");
        }
        let answer = soon("the call", channel.call(RADIO, &word(1))).await.unwrap();
        assert_eq!(answer.reason(), Some(reason), "{frames}");
    }
    // Nor without a session.
    let plain = channel.bearer(&token::token("alice", &[]));
    let answer = soon("the call", plain.call(RADIO, &word(1))).await.unwrap();
    assert_eq!(answer.reason(), Some(Reason::DialogRequired));
}

//= test O-27
#[tokio::test]
async fn a_caller_whose_session_has_no_turns_is_told_before_it_calls() {
    let (server, _handlers) = served().await;
    let session = open(server.address(), |builder| builder.without_unit(Unit::HalfDuplex)).await;
    let words = tokio_stream::iter([word(1)]);
    let status = soon("the call", Client::new(session).radio(words)).await.unwrap_err();
    assert_eq!(status.reason(), Some(Reason::UnitUnsupported));
    assert_eq!(status.outcome(), Some(Outcome::NotExecuted));
}

/// Its session has a dialog in other streams.
#[tokio::test]
async fn a_method_without_a_dialog_says_nothing_beside_its_messages() {
    let (server, handlers) = served().await;
    let session = open(server.address(), |builder| builder).await;
    let checkpoints = Checkpoints::new();
    let request = checkpoints.request(tokio_stream::iter((1..=30).map(word)));
    let mut words = soon("the head", Client::new(session).echo(request)).await.unwrap().into_inner();
    for number in 1..=30 {
        assert_eq!(soon("a word", words.message()).await.unwrap().unwrap().number, number);
    }
    let status = checkpoints.dialog().send_typed("typed").await.unwrap_err();
    assert_eq!(status.reason(), Some(Reason::DialogRequired));
    assert!(soon("the end", words.message()).await.unwrap().is_none());
    handlers.assert_well();
}

//= test O-27
#[tokio::test]
async fn where_all_take_turns_a_method_without_a_dialog_is_refused() {
    let (server, _handlers) = served().await;
    let session = open(server.address(), |builder| builder.without_unit(Unit::Duplex)).await;
    let words = tokio_stream::iter([word(1)]);
    let status = soon("the call", Client::new(session).echo(words)).await.unwrap_err();
    assert_eq!(status.reason(), Some(Reason::UnitUnsupported));
    assert_eq!(status.outcome(), Some(Outcome::NotExecuted));
    let units = [PbUnit::Resume, PbUnit::MinorSynchronize, PbUnit::HalfDuplex];
    let opened = Opened::propose(&server.connect().await, "alice", proposal(&units)).await.unwrap();
    let channel = opened.channel_for("0.1.0").with_header("session-frames", "1");
    let answer = soon("the call", channel.call(ECHO, &word(1))).await.unwrap();
    assert_eq!(answer.reason(), Some(Reason::UnitUnsupported));
}
