//! A worker that serves.

use std::path::Path;
use std::sync::Arc;

use super::counters::Counters;
use super::{lines, usage};
use crate::error::BenchError;
use crate::protocol::{Answer, Command};
use crate::variants::{self, Serving, Variant};

/// Serves until the driver says nothing more.
pub(super) async fn run(variant: Variant, store: Option<&Path>) -> Result<(), BenchError> {
    let counters = Arc::new(Counters::default());
    let Serving { address, mut serve } = variants::serve(variant, &counters, store).await?;
    let mut commands = lines::commands()?;
    lines::say(&Answer::Listening(address))?;
    loop {
        let command = tokio::select! {
            served = &mut serve => return served,
            command = commands.recv() => command,
        };
        match command.transpose()? {
            None => return Ok(()),
            Some(Command::Mark) => lines::say(&Answer::Mark(usage::mark(counters.counts())))?,
            Some(Command::Prepare(_) | Command::Run { .. }) => {
                return Err(BenchError::new("a server calls nobody"));
            }
        }
    }
}
