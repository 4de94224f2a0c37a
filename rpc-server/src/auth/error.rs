//! Why a caller is refused.

use rpc_core::error::Reason;

/// The cause of a refusal, for operators.
///
/// `Display` and `Debug` hold names chosen by us and nothing a stranger sent, so both are safe to log. Callers get only
/// the [`kind`](Self::kind): telling an attacker which check failed helps nobody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    /// No credentials of the kind the authenticator needs.
    #[error("no credentials")]
    Missing,
    /// The credentials cannot be read.
    #[error("malformed: {what}")]
    Malformed {
        /// The rule that was broken.
        what: &'static str,
    },
    /// The token is longer than [`TOKEN_BYTES_MAX`](super::TOKEN_BYTES_MAX).
    #[error("token over {} bytes", super::TOKEN_BYTES_MAX)]
    TooLarge,
    /// No key for an issuer of this name.
    #[error("unknown issuer")]
    UnknownIssuer,
    /// The issuer has no key of this id, or the token names none where several are possible.
    #[error("unknown key")]
    UnknownKey,
    /// The token's algorithm is not the one its key is pinned to (`none` included).
    #[error("algorithm is not the key's")]
    AlgorithmMismatch,
    /// The signature does not verify.
    #[error("bad signature")]
    BadSignature,
    /// The header has a parameter that is never accepted.
    #[error("refused header parameter `{name}`")]
    HeaderRefused {
        /// The parameter.
        name: &'static str,
    },
    /// The token is not of a type that is accepted as access token.
    #[error("wrong token type")]
    WrongType,
    /// The token is for another service.
    #[error("wrong audience")]
    WrongAudience,
    /// A claim that must be there is not.
    #[error("claim `{claim}` missing")]
    ClaimMissing {
        /// The claim.
        claim: &'static str,
    },
    /// A claim has the wrong type, is empty, too long or out of range.
    #[error("claim `{claim}` invalid")]
    ClaimInvalid {
        /// The claim.
        claim: &'static str,
    },
    /// The token was issued for longer than allowed.
    #[error("lifetime too long")]
    LifetimeTooLong,
    /// `nbf` or `iat` is in the future.
    #[error("not yet valid")]
    NotYetValid,
    /// The token was good and has expired.
    #[error("expired")]
    Expired,
    /// Refused for a reason of an authenticator of yours.
    #[error("refused")]
    Refused,
    /// The authenticator could not decide: its own backend failed. The caller may retry.
    #[error("authenticator unavailable")]
    Unavailable,
}

impl AuthError {
    /// What the caller is told.
    pub fn kind(self) -> AuthErrorKind {
        match self {
            Self::Missing => AuthErrorKind::TokenMissing,
            Self::Expired => AuthErrorKind::TokenExpired,
            Self::Unavailable => AuthErrorKind::Unavailable,
            Self::Malformed { .. }
            | Self::TooLarge
            | Self::UnknownIssuer
            | Self::UnknownKey
            | Self::AlgorithmMismatch
            | Self::BadSignature
            | Self::HeaderRefused { .. }
            | Self::WrongType
            | Self::WrongAudience
            | Self::ClaimMissing { .. }
            | Self::ClaimInvalid { .. }
            | Self::LifetimeTooLong
            | Self::NotYetValid
            | Self::Refused => AuthErrorKind::TokenInvalid,
        }
    }
}

/// What a refused caller is told: enough to know what to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AuthErrorKind {
    /// Send credentials.
    TokenMissing,
    /// These credentials will never be accepted; get others.
    TokenInvalid,
    /// These were accepted once; renew them.
    TokenExpired,
    /// Nothing was decided; try again later.
    Unavailable,
}

impl AuthErrorKind {
    /// The stable reason.
    pub fn reason(self) -> Reason {
        match self {
            Self::TokenMissing => Reason::TokenMissing,
            Self::TokenInvalid => Reason::TokenInvalid,
            Self::TokenExpired => Reason::TokenExpired,
            Self::Unavailable => Reason::AuthUnavailable,
        }
    }
}
