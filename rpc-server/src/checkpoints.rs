//! Checkpoints in handlers: `request.into_checkpointed()?`.

use rpc_core::error::Reason;
use rpc_flow::{Checkpointed, Checkpoints, Dialog};
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

    /// The dialog of the call: who speaks, what passes by the messages, going back.
    ///
    /// ```
    /// # use rpc_server::CheckpointsExt as _;
    /// # use tokio::sync::mpsc;
    /// # use tokio_stream::wrappers::ReceiverStream;
    /// # use tonic::{Request, Response, Status, Streaming};
    /// # struct Word;
    /// # type Words = ReceiverStream<Result<Word, Status>>;
    /// // A method that is `half_duplex`: it answers in its turn, word by word.
    /// async fn talk(request: Request<Streaming<Word>>) -> Result<Response<Words>, Status> {
    ///     let turn = request.dialog()?.turn();
    ///     let mut words = request.into_inner();
    ///     let (say, said) = mpsc::channel(1);
    ///     tokio::spawn(async move {
    ///         while let Ok(Some(word)) = words.message().await {
    ///             let Ok(speaking) = turn.wait().await else { return };
    ///             let _ = say.send(Ok(word)).await;
    ///             speaking.give(); // over to you, when the word is on its way
    ///         }
    ///     });
    ///     Ok(Response::new(ReceiverStream::new(said)))
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// FAILED_PRECONDITION with the reason DIALOG_REQUIRED: the call has none, because it was made without a session, or in
    /// one without the unit *resume* or any unit of the dialog, by a caller that reads no control frames, or because its
    /// method has no `checkpoint`.
    fn dialog(&self) -> Result<Dialog, Status>;

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

    fn dialog(&self) -> Result<Dialog, Status> {
        let dialog = self.extensions().get::<Checkpoints>().map(Checkpoints::dialog);
        let Some(dialog) = dialog.filter(|dialog| dialog.check().is_ok()) else {
            let text = "the handler works by dialog, and the call has none: it needs a caller that reads control frames, a \
                        session with the unit resume and a unit of the dialog, and its method a `checkpoint` and a \
                        `dialog`, which those have that stream both ways";
            return Err(Refusal::new(Reason::DialogRequired, text).into());
        };
        Ok(dialog)
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
    async fn a_call_without_a_dialog_says_what_it_lacks() {
        let mut request = Request::new(());
        let reason = |status| Details::of(&status).reason;
        assert_eq!(request.dialog().map_err(reason).unwrap_err(), Some(Reason::DialogRequired));
        let stream = Stream::new(Side::Server, &Config::default());
        request.extensions_mut().insert(Checkpoints::of_stream(&stream));
        assert_eq!(request.dialog().map_err(reason).unwrap_err(), Some(Reason::DialogRequired));
    }

    #[tokio::test]
    async fn a_call_with_checkpoints_has_them() {
        let mut request = Request::new(());
        let stream = Stream::new(Side::Server, &Config::default());
        request.extensions_mut().insert(Checkpoints::of_stream(&stream));
        assert!(request.checkpoints().unwrap().resumed().is_none());
    }
}
