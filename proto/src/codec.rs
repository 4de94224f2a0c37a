//! How the messages of the session protocol are encoded: as everywhere, with little room.

use std::fmt;
use std::marker::PhantomData;

use prost::Message;
use tonic::codec::{BufferSettings, Codec};
use tonic_prost::{ProstCodec, ProstDecoder, ProstEncoder};

/// Room that is made before a message is there. Most have some ten bytes; for a larger one the buffer grows.
const BUFFER_BYTES: usize = 256;
/// Messages that are ready at the same time share frames up to here.
const YIELD_BYTES: usize = 4_096;

/// As [`ProstCodec`], whose two buffers of 8 KiB are two thirds of what an idle `Attach` would take: each client keeps one
/// open on each connection, and says something every twenty seconds.
pub struct SmallCodec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for SmallCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> fmt::Debug for SmallCodec<T, U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SmallCodec")
    }
}

impl<T, U> Codec for SmallCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = ProstDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<T, U>::raw_encoder(settings())
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstCodec::<T, U>::raw_decoder(settings())
    }
}

fn settings() -> BufferSettings {
    BufferSettings::new(BUFFER_BYTES, YIELD_BYTES)
}

#[cfg(test)]
mod tests {
    use tonic::codec::{EncodeBody, Streaming};
    use tonic::codegen::tokio_stream;

    use super::*;
    use crate::pb::session::v1::{Keepalive, OpenRequest};

    /// What is encoded for one side and decoded by the other.
    async fn through<M: Message + Default + Clone + 'static>(messages: Vec<M>) -> Vec<M> {
        let mut codec = SmallCodec::<M, M>::default();
        let source = tokio_stream::iter(messages.into_iter().map(Ok));
        let body = EncodeBody::new_client(codec.encoder(), source, None, None);
        let mut decoded = Streaming::new_request(codec.decoder(), body, None, None);
        let mut all = Vec::new();
        while let Some(message) = decoded.message().await.unwrap() {
            all.push(message);
        }
        all
    }

    #[tokio::test]
    async fn messages_of_any_size_pass() {
        let keepalives: Vec<_> = (0..2_000).map(|id| Keepalive { id, answer: id % 2 == 0 }).collect();
        assert_eq!(through(keepalives.clone()).await, keepalives);
        let sizes = [0, BUFFER_BYTES - 7, BUFFER_BYTES, YIELD_BYTES, 200_000];
        let opens: Vec<_> =
            sizes.map(|size| OpenRequest { client: "x".repeat(size), ..OpenRequest::default() }).into();
        assert_eq!(through(opens.clone()).await, opens);
    }
}
