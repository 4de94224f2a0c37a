//! The server's end.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, HeaderValue, Request, Response};
use prost::Message as _;
use tokio::net::{TcpListener, TcpStream};

use super::framing::{self, Messages};
use super::{BOTH, DOWN, ECHO, UP};
use crate::error::BenchError;
use crate::payload::{self, Tally};
use crate::pb::shared::{Order, Receipt};
use crate::variants::{
    CONCURRENT_STREAMS, CONNECTION_WINDOW_BYTES, FRAME_BYTES, STREAM_WINDOW_BYTES, Serving,
};
use crate::worker::Counters;

/// Serves with all that makes it fast.
pub(in crate::variants) async fn serve(counters: &Arc<Counters>) -> Result<Serving, BenchError> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let counters = Arc::clone(counters);
    let serve = Box::pin(async move {
        loop {
            let (socket, _) = listener.accept().await?;
            tokio::spawn(connection(socket, Arc::clone(&counters)));
        }
    });
    Ok(Serving { address, serve })
}

/// A connection that fails ends; the client then says that its calls failed.
async fn connection(socket: TcpStream, counters: Arc<Counters>) -> Result<(), BenchError> {
    socket.set_nodelay(true)?;
    let mut connection = h2::server::Builder::new()
        .max_frame_size(FRAME_BYTES)
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(CONCURRENT_STREAMS)
        .handshake::<_, Bytes>(socket)
        .await?;
    while let Some(accepted) = connection.accept().await {
        let (request, respond) = accepted?;
        tokio::spawn(answer(request, respond, Arc::clone(&counters)));
    }
    Ok(())
}

/// What fails is not answered: its stream is reset when it is dropped.
async fn answer(
    request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
    counters: Arc<Counters>,
) -> Result<(), BenchError> {
    let path = request.uri().path().to_owned();
    let body = request.into_body();
    match path.as_str() {
        ECHO => echo(body, respond, &counters).await,
        DOWN => down(body, respond, &counters).await,
        UP => up(body, respond, &counters).await,
        BOTH => both(body, respond, &counters).await,
        _ => Err(BenchError::new("no such method")),
    }
}

async fn echo(
    mut body: RecvStream,
    respond: SendResponse<Bytes>,
    counters: &Counters,
) -> Result<(), BenchError> {
    let message = framing::whole(&mut body).await?;
    counters.call();
    let mut stream = head(respond)?;
    framing::send(&mut stream, message).await?;
    end(stream)
}

async fn down(
    mut body: RecvStream,
    respond: SendResponse<Bytes>,
    counters: &Counters,
) -> Result<(), BenchError> {
    counters.stream();
    let mut order = None;
    Messages::default().take(framing::whole(&mut body).await?, |message| {
        order = Some(Order::decode(message)?);
        Ok(())
    })?;
    let Order { nanoseconds, size } = order.ok_or_else(|| BenchError::new("no order"))?;
    let size = usize::try_from(size).map_err(|_| BenchError::new("no such size"))?;
    let mut stream = head(respond)?;
    let data = payload::data(size).into();
    let tally = framing::send_for(&mut stream, Duration::from_nanos(nanoseconds), size, &data).await?;
    counters.streamed(0, tally.messages);
    end(stream)
}

async fn up(
    mut body: RecvStream,
    respond: SendResponse<Bytes>,
    counters: &Counters,
) -> Result<(), BenchError> {
    counters.stream();
    let (mut messages, mut tally, mut expected) = (Messages::default(), Tally::default(), Vec::new());
    while let Some(piece) = framing::chunk(&mut body).await? {
        messages.take(piece, |message| take(message, &mut tally, &mut expected))?;
    }
    counters.streamed(tally.messages, 0);
    let mut stream = head(respond)?;
    let receipt = Receipt { messages: tally.messages, checksum: tally.checksum };
    framing::send(&mut stream, framing::framed(&receipt)).await?;
    end(stream)
}

async fn both(
    mut body: RecvStream,
    respond: SendResponse<Bytes>,
    counters: &Counters,
) -> Result<(), BenchError> {
    counters.stream();
    let (mut messages, mut tally, mut expected) = (Messages::default(), Tally::default(), Vec::new());
    let (mut stream, mut batch) = (head(respond)?, BytesMut::new());
    while let Some(piece) = framing::chunk(&mut body).await? {
        messages.take(piece, |message| {
            take(message.clone(), &mut tally, &mut expected)?;
            framing::put_raw(&message, &mut batch);
            Ok(())
        })?;
        framing::send(&mut stream, batch.split().freeze()).await?;
    }
    counters.streamed(tally.messages, tally.messages);
    end(stream)
}

fn take(message: Bytes, tally: &mut Tally, expected: &mut Vec<u8>) -> Result<(), BenchError> {
    let message = framing::payload(message)?;
    if tally.messages == 0 {
        *expected = payload::pattern(message.data.len());
    }
    Ok(tally.take(message.index, &message.data, expected)?)
}

fn head(mut respond: SendResponse<Bytes>) -> Result<SendStream<Bytes>, BenchError> {
    let mut response = Response::new(());
    response.headers_mut().insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    Ok(respond.send_response(response, false)?)
}

fn end(mut stream: SendStream<Bytes>) -> Result<(), BenchError> {
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    Ok(stream.send_trailers(trailers)?)
}
