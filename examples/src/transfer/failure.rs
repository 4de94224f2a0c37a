//! How the program says that it did not do what it was asked: in one sentence.

use std::error::Error;
use std::fmt;
use std::process::ExitCode;

use rpc_client::{OpenError, OutcomeExt as _, Reason};
use tonic::{Code, Status};

use super::trouble::Trouble;

/// Why the program ends without success. Its text is the sentence.
#[derive(Debug)]
pub struct Failure {
    sentence: String,
    exit: u8,
}

impl Failure {
    /// With this sentence, and exit code 1.
    pub fn new(sentence: impl Into<String>) -> Self {
        Self { sentence: sentence.into(), exit: 1 }
    }

    /// Somebody pressed Ctrl-C; exit code 130, as shells have it.
    pub fn interrupted() -> Self {
        Self { sentence: "interrupted: the same command goes on where it was".into(), exit: 130 }
    }

    /// Trouble with a file on this side.
    pub fn with_file(file: impl fmt::Display, trouble: &Trouble) -> Self {
        let cause = trouble.source().map_or(String::new(), |cause| format!(": {cause}"));
        Self::new(format!("{file}: {trouble}{cause}{}", hint(trouble.code())))
    }

    /// A call about a file that came to nothing.
    pub fn of_call(file: impl fmt::Display, status: &Status) -> Self {
        let said = status.message();
        let Some(reason) = status.reason() else {
            return Self::new(format!("{file}: the archive says: {said}{}", hint(status.code())));
        };
        Self::new(match reason {
            Reason::ActivityInterrupted | Reason::ActivityBusy | Reason::ActivityMoved => {
                format!("{file}: another program has taken over this transfer")
            }
            Reason::SessionUnknown | Reason::SessionEnded => {
                format!("{file}: the server has forgotten the session; the same command opens another")
            }
            Reason::TransportLost => {
                format!("{file}: the server has gone away; the same command goes on where it was")
            }
            Reason::ActivitiesExhausted => format!("{file}: too many transfers were begun and not ended"),
            _ => format!("{file}: {said}"),
        })
    }

    /// There is no session.
    pub fn of_opening(uri: &str, error: &OpenError) -> Self {
        Self::new(match error {
            OpenError::Refused { code: Code::Unauthenticated | Code::PermissionDenied, .. } => {
                format!("{uri}: the server does not accept this token; is the key the server's?")
            }
            OpenError::Plaintext { host } => {
                format!(
                    "{uri}: {host} is another machine, and http would show the token to everybody on the way"
                )
            }
            OpenError::Unreachable(cause) => format!("{uri}: no server answers: {}", deepest(cause.as_ref())),
            other => format!("{uri}: {other}: {}", deepest(other)),
        })
    }

    /// The server's store cannot be opened.
    pub fn of_store(error: &rpc_store::OpenError) -> Self {
        let cause = error.source().map_or(String::new(), |cause| format!(": {cause}"));
        Self::new(format!("{error}{cause}"))
    }

    /// What the program returns to its caller.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.exit)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl Error for Failure {}

/// What can be done about it.
fn hint(code: Code) -> &'static str {
    match code {
        Code::AlreadyExists => "; --replace replaces it",
        Code::FailedPrecondition | Code::DataLoss => "; --restart begins anew",
        Code::ResourceExhausted => "; the same command goes on when there is some",
        _ => "",
    }
}

/// The cause of all causes.
fn deepest(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    match cause.downcast_ref::<Status>() {
        Some(status) => status.message().to_owned(),
        None => cause.to_string(),
    }
}
