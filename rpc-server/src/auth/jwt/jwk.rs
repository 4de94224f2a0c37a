//! Keys in JSON (RFC 7517).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use serde::Deserialize;

use super::key::{Algorithm, Key, KeyError};

/// Largest key set, in bytes.
pub(super) const SET_BYTES_MAX: usize = 256 * 1024;

/// Most keys in a set.
pub(super) const SET_KEYS_MAX: usize = 50;

impl Key {
    /// A key from one JSON Web Key. Its algorithm is `alg`, or else the only one that fits `kty` and `crv`; its id is
    /// `kid`. A symmetric key (`oct`) is a secret, treat the text as one.
    ///
    /// # Errors
    ///
    /// [`KeyError::Unsupported`] for keys not meant for signatures or of other algorithms than HS256, ES256, EdDSA and
    /// RS256; [`KeyError::PrivateKey`] if a private member is there; otherwise as the constructors for each algorithm.
    pub fn from_jwk(json: &str) -> Result<Self, KeyError> {
        check_size(json)?;
        let jwk: Jwk = serde_json::from_str(json).map_err(|_| KeyError::Malformed)?;
        jwk.into_key()
    }

    /// The keys of a JSON Web Key Set, at most 256 KiB and 50 keys. Keys of types or uses we do not support are left
    /// out, as RFC 7517 section 5 asks; broken or weak keys are errors.
    ///
    /// # Errors
    ///
    /// [`KeyError::SetTooLarge`], [`KeyError::TooManyKeys`], [`KeyError::NoUsableKey`], and those of
    /// [`Key::from_jwk`] except [`KeyError::Unsupported`].
    pub fn from_jwks(json: &str) -> Result<Vec<Self>, KeyError> {
        check_size(json)?;
        let set: JwkSet = serde_json::from_str(json).map_err(|_| KeyError::Malformed)?;
        if set.keys.len() > SET_KEYS_MAX {
            return Err(KeyError::TooManyKeys { keys: set.keys.len() });
        }
        let usable =
            set.keys.into_iter().map(Jwk::into_key).filter(|key| !matches!(key, Err(KeyError::Unsupported)));
        let keys = usable.collect::<Result<Vec<_>, _>>()?;
        if keys.is_empty() { Err(KeyError::NoUsableKey) } else { Ok(keys) }
    }
}

#[derive(Deserialize)]
struct JwkSet {
    keys: Vec<Jwk>,
}

// No `Debug`: `k` is a secret.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    kid: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
    k: Option<String>,
    d: Option<serde::de::IgnoredAny>,
}

impl Jwk {
    fn into_key(self) -> Result<Key, KeyError> {
        let algorithm = self.algorithm()?;
        if self.d.is_some() {
            return Err(KeyError::PrivateKey);
        }
        let key = match algorithm {
            Algorithm::Hs256 => Key::hs256(&bytes(self.k.as_deref())?)?,
            Algorithm::Es256 => Key::es256(
                DecodingKey::from_ec_components(text(self.x.as_deref())?, text(self.y.as_deref())?)
                    .map_err(|_| KeyError::Malformed)?,
            )?,
            Algorithm::EdDsa => Key::eddsa(
                DecodingKey::from_ed_components(text(self.x.as_deref())?).map_err(|_| KeyError::Malformed)?,
            )?,
            Algorithm::Rs256 => Key::rs256(&bytes(self.n.as_deref())?, &bytes(self.e.as_deref())?)?,
        };
        match &self.kid {
            Some(id) => key.with_id(id),
            None => Ok(key),
        }
    }

    /// The one algorithm the key is pinned to.
    fn algorithm(&self) -> Result<Algorithm, KeyError> {
        let verifies = self.key_ops.as_ref().is_none_or(|ops| ops.iter().any(|op| op == "verify"));
        if !verifies || self.usage.as_ref().is_some_and(|usage| usage != "sig") {
            return Err(KeyError::Unsupported);
        }
        let algorithm = match (self.kty.as_str(), self.crv.as_deref()) {
            ("oct", None) => Algorithm::Hs256,
            ("EC", Some("P-256")) => Algorithm::Es256,
            ("OKP", Some("Ed25519")) => Algorithm::EdDsa,
            ("RSA", None) => Algorithm::Rs256,
            _ => return Err(KeyError::Unsupported),
        };
        match self.alg.as_deref() {
            Some(name) if name != algorithm.name() => Err(KeyError::Unsupported),
            _ => Ok(algorithm),
        }
    }
}

fn check_size(json: &str) -> Result<(), KeyError> {
    if json.len() > SET_BYTES_MAX { Err(KeyError::SetTooLarge { bytes: json.len() }) } else { Ok(()) }
}

fn text(member: Option<&str>) -> Result<&str, KeyError> {
    member.ok_or(KeyError::Malformed)
}

fn bytes(member: Option<&str>) -> Result<Vec<u8>, KeyError> {
    URL_SAFE_NO_PAD.decode(text(member)?).map_err(|_| KeyError::Malformed)
}
