//! One connection between the two bodies of an attempt.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame};
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::{Random, frame};
use crate::NetBody;

/// What travels.
#[derive(Debug)]
pub(super) enum Piece {
    Data(Bytes),
    Trailers(HeaderMap),
    End,
}

/// The connection was lost.
#[derive(Debug, thiserror::Error)]
#[error("the connection was lost")]
pub(super) struct Lost;

/// A body that comes out of a channel. Without [`Piece::End`] its end is an error.
#[derive(Debug)]
pub(super) struct Pipe {
    pieces: mpsc::Receiver<Piece>,
    ended: bool,
}

pub(super) fn pipe(pieces: usize) -> (mpsc::Sender<Piece>, Pipe) {
    let (sender, pieces) = mpsc::channel(pieces);
    (sender, Pipe { pieces, ended: false })
}

impl Body for Pipe {
    type Data = Bytes;
    type Error = Lost;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Lost>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        self.pieces.poll_recv(cx).map(|piece| match piece {
            Some(Piece::Data(bytes)) => Some(Ok(Frame::data(bytes))),
            Some(Piece::Trailers(trailers)) => Some(Ok(Frame::trailers(trailers))),
            Some(Piece::End) => {
                self.ended = true;
                None
            }
            None => Some(Err(Lost)),
        })
    }
}

/// What is done to one way of a connection.
#[derive(Debug, Clone)]
pub(super) struct Way {
    /// After how many bytes it dies; ends and trailers are written only while it has some left.
    pub(super) life_bytes: Option<usize>,
    /// Longest piece in which it delivers.
    pub(super) piece_bytes: usize,
    /// It stops for a while once in so many pieces.
    pub(super) stalls: Option<usize>,
    pub(super) random: Random,
    /// What it carried.
    pub(super) bytes: usize,
    pub(super) frames: usize,
}

impl Way {
    pub(super) fn new(seed: u64) -> Self {
        let random = Random::new(seed);
        Self { life_bytes: None, piece_bytes: 1 << 20, stalls: None, random, bytes: 0, frames: 0 }
    }

    /// Carries what `body` writes to its end, or until it dies.
    async fn carry(&mut self, body: &mut NetBody, to: &mpsc::Sender<Piece>) -> Result<(), Lost> {
        while let Some(next) = frame(body).await {
            match next.map_err(|_| Lost)? {
                Ok(data) => {
                    self.frames += 1;
                    self.data(data, to).await?;
                }
                Err(trailers) => {
                    self.lives()?;
                    to.send(Piece::Trailers(trailers)).await.map_err(|_| Lost)?;
                    break;
                }
            }
        }
        self.lives()?;
        // A peer that has what it wants may have stopped reading.
        let _ = to.send(Piece::End).await;
        Ok(())
    }

    async fn data(&mut self, mut data: Bytes, to: &mpsc::Sender<Piece>) -> Result<(), Lost> {
        while !data.is_empty() {
            self.lives()?;
            if self.stalls.is_some_and(|times| self.random.one_in(times)) {
                sleep(Duration::from_millis(self.random.below(40) as u64)).await;
            }
            let most = 1 + self.random.below(self.piece_bytes);
            let piece = data.split_to(data.len().min(most).min(self.life_bytes.unwrap_or(usize::MAX)));
            self.bytes += piece.len();
            self.life_bytes = self.life_bytes.map(|left| left - piece.len());
            to.send(Piece::Data(piece)).await.map_err(|_| Lost)?;
        }
        Ok(())
    }

    fn lives(&self) -> Result<(), Lost> {
        if self.life_bytes == Some(0) { Err(Lost) } else { Ok(()) }
    }
}

/// What a side that has not noticed the loss of its connection still holds.
pub(super) type HalfOpen = (NetBody, mpsc::Sender<Piece>);

/// Joins the two bodies until both have ended or the connection dies. Then both sides notice at once, or the server does
/// not: what it holds is returned.
pub(super) async fn connection(
    bodies: [NetBody; 2],
    to: [mpsc::Sender<Piece>; 2],
    ways: &mut [Way; 2],
    half_open: bool,
) -> Option<HalfOpen> {
    let [mut client, mut server] = bodies;
    let [to_server, to_client] = to;
    let [up, down] = ways;
    let lost =
        tokio::try_join!(up.carry(&mut client, &to_server), down.carry(&mut server, &to_client)).is_err();
    (lost && half_open).then_some((server, to_server))
}
