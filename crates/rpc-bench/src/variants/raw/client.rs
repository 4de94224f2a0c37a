//! The client's end.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{HeaderValue, Method, Request, Uri, Version};
use prost::Message as _;
use tokio::net::TcpStream;

use super::framing::{self, Messages};
use super::{BOTH, DOWN, ECHO, UP};
use crate::error::BenchError;
use crate::payload::{self, Tally};
use crate::pb::shared::{Order, Payload, Receipt};
use crate::variants::{
    CONNECTION_WINDOW_BYTES, Echo, EchoNeeds, FRAME_BYTES, Flow, FlowNeeds, STREAM_WINDOW_BYTES,
};

/// Callers, one for each connection.
pub(in crate::variants) async fn echo(
    address: SocketAddr,
    needs: EchoNeeds,
) -> Result<Vec<Caller>, BenchError> {
    let mut callers = Vec::with_capacity(needs.connections);
    for _ in 0..needs.connections {
        callers.push(Caller::connect(address, needs.size).await?);
    }
    Ok(callers)
}

/// Streams.
pub(in crate::variants) async fn flow(address: SocketAddr, needs: FlowNeeds) -> Result<Caller, BenchError> {
    Caller::connect(address, needs.size).await
}

/// One connection.
#[derive(Clone)]
pub(in crate::variants) struct Caller {
    requests: SendRequest<Bytes>,
    authority: String,
    size: usize,
    data: Bytes,
}

impl Caller {
    async fn connect(address: SocketAddr, size: usize) -> Result<Self, BenchError> {
        let socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        let (requests, connection) = h2::client::Builder::new()
            .max_frame_size(FRAME_BYTES)
            .initial_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .enable_push(false)
            .handshake(socket)
            .await?;
        tokio::spawn(connection);
        let data = payload::data(size).into();
        Ok(Self { requests, authority: address.to_string(), size, data })
    }

    /// Sends the headers that every gRPC call has.
    async fn begin(&mut self, path: &'static str) -> Result<(ResponseFuture, SendStream<Bytes>), BenchError> {
        let uri = Uri::builder().scheme("http").authority(self.authority.as_str()).path_and_query(path);
        let mut request = Request::new(());
        *request.method_mut() = Method::POST;
        *request.version_mut() = Version::HTTP_2;
        *request.uri_mut() = uri.build()?;
        let headers = request.headers_mut();
        headers.insert(http::header::TE, HeaderValue::from_static("trailers"));
        headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        self.requests = self.requests.clone().ready().await?;
        Ok(self.requests.send_request(request, false)?)
    }

    async fn read(&self, mut body: RecvStream) -> Result<Tally, BenchError> {
        let (mut messages, mut tally) = (Messages::default(), Tally::default());
        while let Some(piece) = framing::chunk(&mut body).await? {
            messages.take(piece, |message| {
                let message = framing::payload(message)?;
                Ok(tally.take(message.index, &message.data, &self.data)?)
            })?;
        }
        ended(&mut body).await?;
        Ok(tally)
    }
}

/// Reads the trailers: without them a reply may be cut short.
async fn ended(body: &mut RecvStream) -> Result<(), BenchError> {
    let trailers = body.trailers().await?;
    let status = trailers.as_ref().and_then(|trailers| trailers.get("grpc-status"));
    if status.is_none_or(|status| status != "0") {
        return Err(BenchError::new("no grpc-status of 0"));
    }
    Ok(())
}

impl Echo for Caller {
    async fn echo(&mut self, index: u64) -> Result<(), BenchError> {
        let message = framing::framed(&Payload { index, data: self.data.clone() });
        let (response, mut stream) = self.begin(ECHO).await?;
        stream.send_data(message.clone(), true)?;
        let mut body = response.await?.into_body();
        let reply = framing::whole(&mut body).await?;
        ended(&mut body).await?;
        if reply != message {
            return Err(BenchError::new(format!("call {index} was answered with what another sent")));
        }
        Ok(())
    }
}

impl Flow for Caller {
    async fn down(&mut self, time: Duration) -> Result<Tally, BenchError> {
        let (response, mut stream) = self.begin(DOWN).await?;
        let order = Order { nanoseconds: time.as_nanos() as u64, size: self.size as u64 };
        stream.send_data(framing::framed(&order), true)?;
        self.read(response.await?.into_body()).await
    }

    async fn up(&mut self, time: Duration) -> Result<Tally, BenchError> {
        let (response, mut stream) = self.begin(UP).await?;
        let sent = framing::send_for(&mut stream, time, self.size, &self.data).await?;
        stream.send_data(Bytes::new(), true)?;
        let mut body = response.await?.into_body();
        let mut receipt = None;
        Messages::default().take(framing::whole(&mut body).await?, |message| {
            receipt = Some(Receipt::decode(message)?);
            Ok(())
        })?;
        ended(&mut body).await?;
        let Receipt { messages, checksum } = receipt.ok_or_else(|| BenchError::new("no receipt"))?;
        agree(sent, Tally { messages, checksum })
    }

    async fn both(&mut self, time: Duration) -> Result<Tally, BenchError> {
        let (response, mut stream) = self.begin(BOTH).await?;
        let sending = async {
            let sent = framing::send_for(&mut stream, time, self.size, &self.data).await?;
            stream.send_data(Bytes::new(), true)?;
            Ok::<_, BenchError>(sent)
        };
        let reading = async { self.read(response.await?.into_body()).await };
        let (sent, arrived) = futures_util::future::try_join(sending, reading).await?;
        agree(sent, arrived)
    }
}

fn agree(sent: Tally, arrived: Tally) -> Result<Tally, BenchError> {
    if sent != arrived {
        return Err(BenchError::new(format!("{sent:?} was sent, {arrived:?} has arrived")));
    }
    Ok(arrived)
}
