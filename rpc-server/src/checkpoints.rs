//! Checkpoints in handlers: `request.into_checkpointed()?`.

use rpc_core::error::Reason;
use rpc_flow::{Checkpointed, Checkpoints};
use rpc_proto::status::Refusal;
use tonic::{Request, Status, Streaming};

/// What a handler does with the sync points of its call.
///
/// The messages of a stream are secured when the handler takes them, unless the policy of its method says
/// `secure: EXPLICIT` or it reads them as here:
///
/// ```
/// # use rpc_server::{CheckpointsExt as _, Item};
/// # use tonic::{Request, Response, Status, Streaming};
/// # struct Page;
/// # struct Receipt;
/// # struct File;
/// # impl File {
/// #     fn open_at(state: Option<&[u8]>) -> Result<Self, Status> { Ok(File) }
/// #     fn append(&mut self, page: &Page) -> Result<(), Status> { Ok(()) }
/// #     fn sync(&mut self) -> Result<Vec<u8>, Status> { Ok(Vec::new()) }
/// # }
/// async fn upload(request: Request<Streaming<Page>>) -> Result<Response<Receipt>, Status> {
///     let mut pages = request.into_checkpointed()?;
///     // What was secured before, by a call that another program or an earlier process made for the same activity.
///     let mut file = File::open_at(pages.resumed().map(|resumed| &resumed.state()[..]))?;
///     while let Some(item) = pages.next().await? {
///         match item {
///             Item::Message(page) => file.append(&page)?,
///             Item::SyncPoint(point) => point.secure(file.sync()?).await?,
///         }
///     }
///     Ok(Response::new(Receipt))
/// }
/// ```
pub trait CheckpointsExt: Sized {
    /// The checkpoints of the call: how far it has come, where it goes on, and a way to place sync points in a response.
    ///
    /// # Errors
    ///
    /// FAILED_PRECONDITION with the reason CHECKPOINTS_REQUIRED: the call has none, because it was made without a session,
    /// or in one without the unit *resume*, or because its method has no `checkpoint`.
    fn checkpoints(&self) -> Result<Checkpoints, Status>;

    /// The messages of the request with the sync points between them, which the handler secures from here on.
    ///
    /// # Errors
    ///
    /// As [`checkpoints`](Self::checkpoints).
    fn into_checkpointed<T>(self) -> Result<Checkpointed<T>, Status>
    where
        Self: Into<Request<Streaming<T>>>,
    {
        let checkpoints = self.checkpoints()?;
        Checkpointed::new(self.into().into_inner(), &checkpoints)
    }
}

impl<M> CheckpointsExt for Request<M> {
    fn checkpoints(&self) -> Result<Checkpoints, Status> {
        self.extensions().get::<Checkpoints>().cloned().ok_or_else(|| {
            let text = "the handler works with sync points, and the call has none: it needs a session with the unit \
                        resume, and its method a `checkpoint`";
            Refusal::new(Reason::CheckpointsRequired, text).into()
        })
    }
}

#[cfg(test)]
mod tests {
    use rpc_core::stream::Config;
    use rpc_core::stream::flow::Side;
    use rpc_flow::Stream;
    use rpc_proto::status::Details;

    use super::*;

    #[test]
    fn a_call_without_checkpoints_says_what_it_lacks() {
        let status = Request::new(()).checkpoints().unwrap_err();
        assert_eq!(Details::of(&status).reason, Some(Reason::CheckpointsRequired));
    }

    #[tokio::test]
    async fn a_call_with_checkpoints_has_them() {
        let mut request = Request::new(());
        let stream = Stream::new(Side::Server, &Config::default());
        request.extensions_mut().insert(Checkpoints::of_stream(&stream));
        assert!(request.checkpoints().unwrap().resumed().is_none());
    }
}
