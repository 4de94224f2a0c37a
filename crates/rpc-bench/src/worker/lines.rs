//! Lines from the driver and to it.

use std::io::{self, BufRead as _, Write as _};
use std::thread;

use tokio::sync::mpsc;

use crate::error::BenchError;
use crate::protocol::{Answer, Command, Launch};

/// Lines that may wait: the driver says one at a time.
const WAITING: usize = 4;

/// Says a line.
///
/// # Errors
///
/// The driver is gone.
pub(super) fn say(answer: &Answer) -> Result<(), BenchError> {
    let mut line = serde_json::to_string(answer)?;
    line.push('\n');
    let mut out = io::stdout().lock();
    out.write_all(line.as_bytes())?;
    Ok(out.flush()?)
}

/// The first line, or `None` where there is none.
///
/// # Errors
///
/// It is not what the driver says.
pub(super) fn first() -> Result<Option<Launch>, BenchError> {
    let mut line = String::new();
    if io::stdin().lock().read_line(&mut line)? == 0 {
        return Ok(None);
    }
    Ok(Some(serde_json::from_str(&line)?))
}

/// All further lines, read by a thread of their own, which sleeps while nothing is said. It ends with the process.
pub(super) fn commands() -> Result<mpsc::Receiver<Result<Command, BenchError>>, BenchError> {
    let (say, said) = mpsc::channel(WAITING);
    thread::Builder::new().name("commands".into()).spawn(move || {
        for line in io::stdin().lines() {
            let command = line.map_err(BenchError::from).and_then(|line| Ok(serde_json::from_str(&line)?));
            if say.blocking_send(command).is_err() {
                return;
            }
        }
    })?;
    Ok(said)
}
