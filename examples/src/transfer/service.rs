//! The archive as a service: ordinary tonic handlers.

use std::pin::Pin;

use futures_util::{Stream, TryStreamExt as _};
use rpc_server::CheckpointsExt as _;
use tonic::{Request, Response, Status, Streaming};

use super::directory::Directory;
use super::mark::{Announced, Mark};
use super::name::Name;
use super::receive::{first_page, receive};
use crate::archive::archive_server::Archive;
use crate::archive::{DownloadRequest, File, ListReply, ListRequest, Page, Receipt};

/// The pages of a download.
type Pages = Pin<Box<dyn Stream<Item = Result<Page, Status>> + Send>>;

#[tonic::async_trait]
impl Archive for Directory {
    async fn upload(&self, request: Request<Streaming<Page>>) -> Result<Response<Receipt>, Status> {
        let mut pages = request.into_checkpointed()?;
        // Only a caller who died and came back has secured anything before. A connection that is lost is not noticed here.
        let part = match pages.resumed() {
            Some(point) => self.resume(Mark::decode(point.state())?).await?,
            None => {
                let mut page = first_page(&mut pages).await?;
                let announced = Announced::read(page.file.take(), page.replace)?;
                self.begin(announced).await?.append(page).await?
            }
        };
        let part = receive(&mut pages, part, |_| ()).await?;
        let file = Some(part.announced().message());
        let digest = part.finish().await?.as_bytes().to_vec();
        Ok(Response::new(Receipt { file, digest }))
    }

    type DownloadStream = Pages;

    async fn download(&self, request: Request<DownloadRequest>) -> Result<Response<Pages>, Status> {
        let checkpoints = request.checkpoints()?;
        let mut source = self.source(Name::new(&request.into_inner().name)?).await?;
        if let Some(point) = checkpoints.resumed() {
            source = source.resume(Mark::at(&point)?).await?;
        }
        let pages = checkpoints.outgoing_results(source.pages().map_err(Status::from));
        Ok(Response::new(Box::pin(pages)))
    }

    async fn list(&self, request: Request<ListRequest>) -> Result<Response<ListReply>, Status> {
        let found = self.files_after(request.into_inner().after).await?;
        let files = found.into_iter().map(|(name, size)| File { name: name.to_string(), size }).collect();
        Ok(Response::new(ListReply { files }))
    }
}
