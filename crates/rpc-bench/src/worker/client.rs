//! A worker that calls.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use super::{lines, usage};
use crate::cases::Load;
use crate::error::BenchError;
use crate::protocol::{Answer, Command, Counts};
use crate::variants::Variant;

/// Calls until the driver says nothing more.
pub(super) async fn run(variant: Variant, address: SocketAddr, scratch: &Path) -> Result<(), BenchError> {
    let mut commands = lines::commands()?;
    let mut prepared: Option<Box<dyn Load>> = None;
    while let Some(command) = commands.recv().await {
        let answer = match command? {
            Command::Mark => Answer::Mark(usage::mark(Counts::default())),
            Command::Prepare(case) => {
                if let Some(before) = prepared.take() {
                    before.finish().await?;
                }
                prepared = Some(case.prepare(variant, address, scratch).await?);
                Answer::Prepared
            }
            Command::Run { seconds } => {
                let load = prepared.as_mut().ok_or_else(|| BenchError::new("nothing is prepared"))?;
                let time = Duration::try_from_secs_f64(seconds).map_err(|error| BenchError::of(&error))?;
                let before = usage::cpu_ns();
                let mut measured = load.run(time).await?;
                measured.cpu_ns = usage::cpu_ns() - before;
                Answer::Measured(Box::new(measured))
            }
        };
        lines::say(&answer)?;
    }
    Ok(())
}
