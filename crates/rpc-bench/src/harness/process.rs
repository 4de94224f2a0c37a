//! A worker, as the driver sees it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command as Program, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use serde::Serialize;

use crate::error::BenchError;
use crate::protocol::{Answer, Command, Launch};

/// How long a worker may take beyond what it is told to.
const PATIENCE: Duration = Duration::from_secs(60);

/// A worker. It is killed when it is dropped.
#[derive(Debug)]
pub(super) struct Worker {
    child: Child,
    say: ChildStdin,
    said: Receiver<std::io::Result<String>>,
}

impl Worker {
    /// Starts a worker and tells it what it is.
    ///
    /// # Errors
    ///
    /// It does not start.
    pub(super) fn start(mut program: Program, launch: &Launch) -> Result<Self, BenchError> {
        let mut child = program.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (Some(say), Some(out)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(BenchError::new("a worker without pipes"));
        };
        let (tell, said) = mpsc::channel();
        thread::spawn(move || {
            // Ends with the worker, or when nobody listens any more.
            for line in BufReader::new(out).lines() {
                if tell.send(line).is_err() {
                    return;
                }
            }
        });
        let mut worker = Self { child, say, said };
        worker.line(launch)?;
        Ok(worker)
    }

    /// Tells it to do something that takes about this long, and waits for the answer.
    ///
    /// # Errors
    ///
    /// It failed, is gone, or says nothing.
    pub(super) fn ask(&mut self, command: &Command, time: Duration) -> Result<Answer, BenchError> {
        self.line(command)?;
        self.answer(time)
    }

    /// Waits for what it says.
    ///
    /// # Errors
    ///
    /// It failed, is gone, or says nothing.
    pub(super) fn answer(&mut self, time: Duration) -> Result<Answer, BenchError> {
        let line = match self.said.recv_timeout(time + PATIENCE) {
            Ok(line) => line?,
            Err(mpsc::RecvTimeoutError::Disconnected) => return Err(BenchError::new("the worker is gone")),
            Err(mpsc::RecvTimeoutError::Timeout) => return Err(BenchError::new("the worker says nothing")),
        };
        match serde_json::from_str(&line)? {
            Answer::Failed(why) => Err(BenchError::new(why)),
            answer => Ok(answer),
        }
    }

    fn line(&mut self, what: &impl Serialize) -> Result<(), BenchError> {
        let mut line = serde_json::to_string(what)?;
        line.push('\n');
        Ok(self.say.write_all(line.as_bytes())?)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
