//! One direction of a connection on which each byte takes its time.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::End;
use super::relay::Standing;

/// Pieces that are under way at a time. Beyond it nothing more is read, and the sender waits.
const UNDER_WAY: usize = 4_096;

/// Moves bytes, each `one_way` later, until the connection is to be cut or ends.
pub(super) async fn delayed(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    one_way: Duration,
    mut standing: Standing,
) -> io::Result<End> {
    let (sent, mut arriving) = mpsc::channel::<(Instant, Vec<u8>)>(UNDER_WAY);
    let read = async move {
        loop {
            let mut piece = vec![0; 16 << 10];
            let read = from.read(&mut piece).await?;
            if read == 0 {
                return io::Result::Ok(());
            }
            piece.truncate(read);
            // Closed when nothing can be written any more, which that side tells.
            let _ = sent.send((Instant::now() + one_way, piece)).await;
        }
    };
    let write = async move {
        while let Some((at, piece)) = arriving.recv().await {
            sleep_until(at).await;
            to.write_all(&piece).await?;
        }
        io::Result::Ok(())
    };
    tokio::select! {
        end = standing.cut() => Ok(end),
        // What was read arrives before the end does.
        ended = async { tokio::try_join!(read, write) } => ended.map(|_| End::Fin),
    }
}
