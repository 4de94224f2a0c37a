//! Why something could not be measured.

/// Whatever goes wrong in a worker ends in a line to the driver, so a text is all that is needed of it.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub(crate) struct BenchError(String);

impl BenchError {
    /// With this text.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// An error with its causes.
    pub(crate) fn of(error: &(dyn std::error::Error + '_)) -> Self {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(inner) = cause {
            text.push_str(": ");
            text.push_str(&inner.to_string());
            cause = inner.source();
        }
        Self(text)
    }
}

/// Errors of libraries, which `?` turns into a text with all causes.
macro_rules! from_errors {
    ($($error:ty),* $(,)?) => {$(
        impl From<$error> for BenchError {
            fn from(error: $error) -> Self {
                Self::of(&error)
            }
        }
    )*};
}

from_errors! {
    crate::payload::Damaged,
    h2::Error,
    http::Error,
    prost::DecodeError,
    rpc_client::OpenError,
    rpc_core::store::StoreError,
    rpc_core::store::WriteError,
    rpc_server::StartError,
    rpc_store::OpenError,
    serde_json::Error,
    std::io::Error,
    tokio::task::JoinError,
    tonic::transport::Error,
}

impl From<tonic::Status> for BenchError {
    fn from(status: tonic::Status) -> Self {
        Self(format!("{:?}: {}", status.code(), status.message()))
    }
}
