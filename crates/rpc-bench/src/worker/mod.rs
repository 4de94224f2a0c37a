//! A process that is measured: a server or a client of one variant.

mod client;
mod counters;
mod lines;
mod server;
mod usage;

pub(crate) use counters::Counters;

use std::process::ExitCode;

use crate::error::BenchError;
use crate::protocol::{Answer, Launch};

/// The whole life of a worker.
pub(crate) fn run() -> ExitCode {
    match live() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // If the driver is gone, too, there is nobody to tell.
            let _ = lines::say(&Answer::Failed(error.to_string()));
            ExitCode::FAILURE
        }
    }
}

fn live() -> Result<(), BenchError> {
    let Some(launch) = lines::first()? else {
        return Err(BenchError::new("this program is started by rpc-bench"));
    };
    let variant = match &launch {
        Launch::Server { variant, .. } | Launch::Client { variant, .. } => *variant,
    };
    usage::allow_files();
    let runtime = variant.runtime()?;
    let lived = runtime.block_on(async {
        match launch {
            Launch::Server { variant, store } => server::run(variant, store.as_deref()).await,
            Launch::Client { variant, address, scratch } => client::run(variant, address, &scratch).await,
        }
    });
    // Whatever still runs need not be waited for.
    runtime.shutdown_background();
    lived
}
