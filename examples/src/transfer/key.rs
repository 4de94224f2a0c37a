//! The key of an archive: whoever has it may do everything there.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rpc_client::Credentials;
use rpc_client::credentials::{Token, from_fn};
use rpc_server::auth::{JwtAuthenticator, JwtIssuer, Key as Verifier, TrustedIssuer};

use super::failure::Failure;

const ISSUER: &str = "https://transfer.example";
const AUDIENCE: &str = "archive";
const BYTES: usize = 32;
/// A session renews its authority with a fresh token.
const TOKEN_LIFE: Duration = Duration::from_secs(600);

/// A secret of 32 random bytes in a file that its owner alone can read.
///
/// The server trusts it and the client makes its own tokens with it: enough for one owner on his own machines. A server
/// of many users trusts the public key of an issuer instead.
pub struct Key {
    secret: Vec<u8>,
}

impl Key {
    /// Where it lies unless another place is named: `.transfer.key` in the home directory.
    ///
    /// # Errors
    ///
    /// There is no home directory.
    pub fn default_path() -> Result<PathBuf, Failure> {
        let home = std::env::home_dir()
            .ok_or_else(|| Failure::new("there is no home directory: name the key by --key"))?;
        Ok(home.join(".transfer.key"))
    }

    /// Reads a key.
    ///
    /// # Errors
    ///
    /// There is none, others can read it, or it is none.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let say = |what: &str| Failure::new(format!("{}: {what}", path.display()));
        let found = fs::metadata(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => say("no key there; the server makes one when it starts"),
            _ => say(&error.to_string()),
        })?;
        if found.mode() & 0o077 != 0 {
            return Err(say("others than its owner may read this key; chmod 600 it, or remove it"));
        }
        if found.len() != BYTES as u64 {
            return Err(say("not a key of 32 bytes"));
        }
        let secret = fs::read(path).map_err(|error| say(&error.to_string()))?;
        Ok(Self { secret })
    }

    /// Reads a key, or makes one where there is none.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read), or it cannot be written.
    pub fn read_or_make(path: &Path) -> Result<Self, Failure> {
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        match made.and_then(fill) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(Failure::new(format!("{}: {error}", path.display()))),
        }
        Self::read(path)
    }

    /// Trusts tokens that were made with it.
    ///
    /// # Errors
    ///
    /// The secret is none.
    pub fn authenticator(&self) -> Result<JwtAuthenticator, Failure> {
        let unusable =
            |error: &dyn std::error::Error| Failure::new(format!("the key cannot be used: {error}"));
        let key = Verifier::hs256(&self.secret).map_err(|error| unusable(&error))?;
        JwtAuthenticator::new(TrustedIssuer::new(ISSUER, AUDIENCE).key(key)).map_err(|error| unusable(&error))
    }

    /// Makes tokens, a fresh one whenever the session asks.
    ///
    /// # Errors
    ///
    /// The secret is none.
    pub fn credentials(&self) -> Result<impl Credentials + use<>, Failure> {
        let issuer = JwtIssuer::hs256(&self.secret, ISSUER, AUDIENCE);
        let issuer = issuer.map_err(|error| Failure::new(format!("the key cannot be used: {error}")))?;
        Ok(from_fn(move || {
            let token = issuer.token("owner", &[], TOKEN_LIFE);
            async move { Ok(Token::new(token?).expires_in(TOKEN_LIFE)) }
        }))
    }
}

fn fill(mut file: File) -> io::Result<()> {
    let mut secret = [0; BYTES];
    getrandom::fill(&mut secret).map_err(|error| io::Error::other(error.to_string()))?;
    file.write_all(&secret)?;
    file.sync_all()
}
