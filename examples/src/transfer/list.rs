//! Naming what is in the archive.

use rpc_client::Session;

use super::directory::LISTED_MAX;
use super::failure::Failure;
use crate::archive::archive_client::ArchiveClient;
use crate::archive::{File, ListRequest};

/// Shows each file to `show`, in the order of the names, a thousand to a call.
///
/// # Errors
///
/// In one sentence.
pub async fn list(session: &Session, mut show: impl FnMut(&File)) -> Result<(), Failure> {
    let mut archive = ArchiveClient::new(session.clone());
    let mut after = String::new();
    loop {
        let reply = archive.list(ListRequest { after }).await;
        let files = reply.map_err(|status| Failure::of_call("ls", &status))?.into_inner().files;
        files.iter().for_each(&mut show);
        match files.last() {
            Some(last) if files.len() == LISTED_MAX => after = last.name.clone(),
            Some(_) | None => return Ok(()),
        }
    }
}
