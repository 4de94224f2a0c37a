//! Tokens of our own.

use std::fmt;
use std::time::{Duration, SystemTime};

use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::EncodingKey;
use jsonwebtoken::crypto::{JwtSigner, aws_lc};
use serde_json::{Value, json};

use super::ConfigError;
use super::claims::is_name;
use super::key::{Algorithm, KeyError, check_secret, is_key_id};
use crate::auth::{Scopes, TOKEN_BYTES_MAX, WallClock};

/// Issues the tokens that a [`JwtAuthenticator`](super::JwtAuthenticator) accepts: for services that vouch for their
/// own callers, and for tests. Not an identity provider: it asks nobody for a password.
///
/// Tokens are of type `at+jwt` and carry `iss`, `sub`, `aud`, `iat`, `exp`, a random `jti`, and `scope` if there are
/// any. `Debug` does not show the key.
pub struct JwtIssuer {
    algorithm: Algorithm,
    key: EncodingKey,
    key_id: Option<Box<str>>,
    name: Box<str>,
    audience: Box<str>,
    clock: Box<dyn WallClock>,
}

impl JwtIssuer {
    /// Signs with a shared secret; the verifying side has [`Key::hs256`](super::Key::hs256) with the same.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Key`] unless the secret has 32 to 1024 bytes; [`ConfigError::Name`] for an unusable issuer or
    /// audience.
    pub fn hs256(secret: &[u8], issuer: &str, audience: &str) -> Result<Self, ConfigError> {
        check_secret(secret)?;
        Self::new(Algorithm::Hs256, EncodingKey::from_secret(secret), issuer, audience)
    }

    /// Signs with a private key on P-256, as `-----BEGIN PRIVATE KEY-----` (PKCS #8); the verifying side has
    /// [`Key::es256_pem`](super::Key::es256_pem) with the public key.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Key`] for anything else; [`ConfigError::Name`] for an unusable issuer or audience.
    pub fn es256_pem(private_key: &str, issuer: &str, audience: &str) -> Result<Self, ConfigError> {
        let key = EncodingKey::from_ec_pem(private_key.as_bytes()).map_err(|_| KeyError::Malformed)?;
        Self::new(Algorithm::Es256, key, issuer, audience)
    }

    /// Names the key in every token (`kid`). Default: unnamed.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Key`] unless the id has 1 to 128 printable ASCII characters.
    pub fn with_key_id(mut self, id: &str) -> Result<Self, ConfigError> {
        if !is_key_id(id) {
            return Err(KeyError::Id.into());
        }
        self.key_id = Some(id.into());
        Ok(self)
    }

    /// Reads the time elsewhere. Default: [`SystemTime::now`]. For tests.
    pub fn with_clock(mut self, clock: impl WallClock) -> Self {
        self.clock = Box::new(clock);
        self
    }

    /// A token by which its bearer is `subject` and may do `scopes`, for `lifetime` from now, in whole seconds.
    ///
    /// # Errors
    ///
    /// [`IssueError`] if no authenticator would accept it.
    pub fn token(&self, subject: &str, scopes: &[&str], lifetime: Duration) -> Result<String, IssueError> {
        if !is_name(subject) {
            return Err(IssueError::Subject);
        }
        let scopes = Scopes::new(scopes).map_err(|_| IssueError::Scopes)?;
        let token = self.sign(&self.header(), &self.claims(subject, &scopes, lifetime)?)?;
        if token.len() > TOKEN_BYTES_MAX { Err(IssueError::TooLarge) } else { Ok(token) }
    }

    fn new(algorithm: Algorithm, key: EncodingKey, name: &str, audience: &str) -> Result<Self, ConfigError> {
        if !is_name(name) || !is_name(audience) {
            return Err(ConfigError::Name);
        }
        signer(algorithm, &key).map_err(|_| KeyError::Malformed)?;
        let clock = Box::new(SystemTime::now);
        Ok(Self { algorithm, key, key_id: None, name: name.into(), audience: audience.into(), clock })
    }

    fn header(&self) -> Value {
        let mut header = json!({ "typ": "at+jwt", "alg": self.algorithm.name() });
        if let Some(id) = &self.key_id {
            header["kid"] = json!(id);
        }
        header
    }

    fn claims(&self, subject: &str, scopes: &Scopes, lifetime: Duration) -> Result<Value, IssueError> {
        let issued =
            self.clock.now().duration_since(SystemTime::UNIX_EPOCH).map_err(|_| IssueError::Lifetime)?;
        let issued = issued.as_secs();
        let expires = issued.checked_add(lifetime.as_secs()).filter(|expires| *expires > issued);
        let expires = expires.ok_or(IssueError::Lifetime)?;
        let mut claims = json!({
            "iss": self.name, "sub": subject, "aud": self.audience,
            "iat": issued, "exp": expires, "jti": random_id()?,
        });
        if !scopes.is_empty() {
            claims["scope"] = json!(scopes.iter().collect::<Vec<_>>().join(" "));
        }
        Ok(claims)
    }

    fn sign(&self, header: &Value, claims: &Value) -> Result<String, IssueError> {
        let encode = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let signed = format!("{}.{}", encode(header), encode(claims));
        let signature = signer(self.algorithm, &self.key)?
            .try_sign(signed.as_bytes())
            .map_err(|_| IssueError::Signing)?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

impl fmt::Debug for JwtIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtIssuer")
            .field("algorithm", &self.algorithm.name())
            .field("key_id", &self.key_id)
            .field("name", &self.name)
            .field("audience", &self.audience)
            .finish_non_exhaustive()
    }
}

/// Why a token was not issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IssueError {
    /// The subject is empty, longer than 255 bytes, or has control characters.
    #[error("subject is not 1 to 255 bytes without control characters")]
    Subject,
    /// Too many scopes, or an unusable one.
    #[error("too many scopes or an unusable one")]
    Scopes,
    /// Less than a second, or past the end of time.
    #[error("lifetime is under a second or too long")]
    Lifetime,
    /// The token would be longer than [`TOKEN_BYTES_MAX`](crate::auth::TOKEN_BYTES_MAX).
    #[error("token over {TOKEN_BYTES_MAX} bytes")]
    TooLarge,
    /// The cryptographic library failed.
    #[error("signing failed")]
    Signing,
}

/// Made for each token: the library's signers cannot be shared between threads.
fn signer(algorithm: Algorithm, key: &EncodingKey) -> Result<Box<dyn JwtSigner>, IssueError> {
    // Not through the process-wide provider; see `Key::verify`.
    (aws_lc::DEFAULT_PROVIDER.signer_factory)(&algorithm.implementation(), key)
        .map_err(|_| IssueError::Signing)
}

fn random_id() -> Result<String, IssueError> {
    let mut bytes = [0; 16];
    rand::fill(&mut bytes).map_err(|_| IssueError::Signing)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}
