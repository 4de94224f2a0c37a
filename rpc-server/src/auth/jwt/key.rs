//! Keys that verify tokens.

use std::fmt;

use aws_lc_rs::rsa;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, VerificationAlgorithm};
use jsonwebtoken::DecodingKey;
use jsonwebtoken::crypto::aws_lc;

use crate::auth::AuthError;

/// Longest key id, in bytes.
pub(super) const KEY_ID_BYTES_MAX: usize = 128;

const SECRET_BYTES_MIN: usize = 32; // RFC 7518, section 3.2: at least the size of the hash
const SECRET_BYTES_MAX: usize = 1024;
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// The signature algorithms that are accepted. A key has exactly one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    Hs256,
    Es256,
    EdDsa,
    Rs256,
}

impl Algorithm {
    /// The name in a token's header. Compared byte by byte: `hs256` and `None` are nobody's.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
            Self::Rs256 => "RS256",
        }
    }

    pub(super) fn is_symmetric(self) -> bool {
        self == Self::Hs256
    }

    pub(super) fn implementation(self) -> jsonwebtoken::Algorithm {
        match self {
            Self::Hs256 => jsonwebtoken::Algorithm::HS256,
            Self::Es256 => jsonwebtoken::Algorithm::ES256,
            Self::EdDsa => jsonwebtoken::Algorithm::EdDSA,
            Self::Rs256 => jsonwebtoken::Algorithm::RS256,
        }
    }
}

/// A key that verifies tokens, pinned to one algorithm. What a token's header says never changes which.
///
/// `Debug` shows algorithm and key id only.
#[derive(Clone)]
pub struct Key {
    algorithm: Algorithm,
    id: Option<Box<str>>,
    material: DecodingKey,
}

impl Key {
    /// A shared secret for HMAC-SHA-256. Whoever can verify with it can issue tokens too.
    ///
    /// # Errors
    ///
    /// [`KeyError::SecretLength`] unless it has 32 to 1024 bytes; [`KeyError::SecretIsPem`] if it is a PEM file, which
    /// is a public key in the wrong place more often than a secret.
    pub fn hs256(secret: &[u8]) -> Result<Self, KeyError> {
        check_secret(secret)?;
        Ok(Self::new(Algorithm::Hs256, DecodingKey::from_secret(secret)))
    }

    /// A public key for ECDSA on P-256 with SHA-256, as `-----BEGIN PUBLIC KEY-----`.
    ///
    /// # Errors
    ///
    /// [`KeyError::Malformed`] for anything else, private keys included.
    pub fn es256_pem(pem: &str) -> Result<Self, KeyError> {
        check_public_pem(pem)?;
        Self::es256(DecodingKey::from_ec_pem(pem.as_bytes()).map_err(|_| KeyError::Malformed)?)
    }

    /// A public key for Ed25519, as `-----BEGIN PUBLIC KEY-----`.
    ///
    /// # Errors
    ///
    /// [`KeyError::Malformed`] for anything else, private keys included.
    pub fn eddsa_pem(pem: &str) -> Result<Self, KeyError> {
        check_public_pem(pem)?;
        Self::eddsa(DecodingKey::from_ed_pem(pem.as_bytes()).map_err(|_| KeyError::Malformed)?)
    }

    /// A public key of 2048 to 8192 bits for RSASSA-PKCS1-v1_5 with SHA-256, as `-----BEGIN PUBLIC KEY-----` or
    /// `-----BEGIN RSA PUBLIC KEY-----`.
    ///
    /// # Errors
    ///
    /// [`KeyError::Malformed`], private keys included, or [`KeyError::RsaBits`].
    pub fn rs256_pem(pem: &str) -> Result<Self, KeyError> {
        check_public_pem(pem)?;
        let key = DecodingKey::from_rsa_pem(pem.as_bytes()).map_err(|_| KeyError::Malformed)?;
        let der = key.try_get_as_bytes().map_err(|_| KeyError::Malformed)?;
        let public = rsa::PublicKey::from_der(der).map_err(|_| KeyError::Malformed)?;
        Self::rs256(
            public.modulus().big_endian_without_leading_zero(),
            public.exponent().big_endian_without_leading_zero(),
        )
    }

    /// Gives the key the id by which tokens name it (`kid`).
    ///
    /// # Errors
    ///
    /// [`KeyError::Id`] unless it has 1 to 128 printable ASCII characters.
    pub fn with_id(mut self, id: &str) -> Result<Self, KeyError> {
        if !is_key_id(id) {
            return Err(KeyError::Id);
        }
        self.id = Some(id.into());
        Ok(self)
    }

    /// The id by which tokens name the key.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    pub(super) fn es256(material: DecodingKey) -> Result<Self, KeyError> {
        check_point(&ECDSA_P256_SHA256_FIXED, &material)?;
        Ok(Self::new(Algorithm::Es256, material))
    }

    pub(super) fn eddsa(material: DecodingKey) -> Result<Self, KeyError> {
        check_point(&ED25519, &material)?;
        Ok(Self::new(Algorithm::EdDsa, material))
    }

    pub(super) fn rs256(modulus: &[u8], exponent: &[u8]) -> Result<Self, KeyError> {
        let bits = bit_length(modulus);
        if !RSA_BITS.contains(&bits) {
            return Err(KeyError::RsaBits { bits });
        }
        aws_lc_rs::signature::RsaPublicKeyComponents { n: modulus, e: exponent }
            .to_parsed_public_key(&aws_lc_rs::signature::RSA_PKCS1_2048_8192_SHA256)
            .map_err(|_| KeyError::Malformed)?;
        Ok(Self::new(Algorithm::Rs256, DecodingKey::from_rsa_raw_components(modulus, exponent)))
    }

    pub(super) fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Verifies a signature. The provider is named here instead of taken from the process-wide default, which panics
    /// if an application switches on a second one by a cargo feature.
    pub(super) fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), AuthError> {
        (aws_lc::DEFAULT_PROVIDER.verifier_factory)(&self.algorithm.implementation(), &self.material)
            .map_err(|_| AuthError::BadSignature)?
            .verify(message, signature)
            .map_err(|_| AuthError::BadSignature)
    }

    fn new(algorithm: Algorithm, material: DecodingKey) -> Self {
        Self { algorithm, id: None, material }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("algorithm", &self.algorithm.name())
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// Why a key was not built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Not a key of the kind asked for.
    #[error("not a key of this kind")]
    Malformed,
    /// An HMAC secret that can be guessed, or is no secret at all.
    #[error("secret of {bytes} bytes, expected {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX}")]
    SecretLength {
        /// The length given.
        bytes: usize,
    },
    /// A PEM file as HMAC secret.
    #[error("the secret is a PEM file")]
    SecretIsPem,
    /// An RSA key too weak, or so large that verifying is a burden.
    #[error("RSA key of {bits} bits, expected {} to {}", RSA_BITS.start(), RSA_BITS.end())]
    RsaBits {
        /// The size of the modulus.
        bits: usize,
    },
    /// An unusable key id.
    #[error("key id is not 1 to {KEY_ID_BYTES_MAX} printable ASCII characters")]
    Id,
    /// A JWK with private members. Verifiers must not have them.
    #[error("the JWK holds a private key")]
    PrivateKey,
    /// A JWK of a type, curve, algorithm or use that is not supported.
    #[error("key type, curve, algorithm or use not supported")]
    Unsupported,
    /// A key set larger than 256 KiB.
    #[error("key set of {bytes} bytes, expected at most {}", super::jwk::SET_BYTES_MAX)]
    SetTooLarge {
        /// The size given.
        bytes: usize,
    },
    /// A key set with more than 50 keys.
    #[error("key set of {keys} keys, expected at most {}", super::jwk::SET_KEYS_MAX)]
    TooManyKeys {
        /// The number given.
        keys: usize,
    },
    /// A key set without any key that can be used.
    #[error("no usable key in the set")]
    NoUsableKey,
}

pub(super) fn is_key_id(id: &str) -> bool {
    (1..=KEY_ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
}

//= A-9
pub(super) fn check_secret(secret: &[u8]) -> Result<(), KeyError> {
    if !(SECRET_BYTES_MIN..=SECRET_BYTES_MAX).contains(&secret.len()) {
        return Err(KeyError::SecretLength { bytes: secret.len() });
    }
    if secret.trim_ascii_start().starts_with(b"-----BEGIN") {
        return Err(KeyError::SecretIsPem);
    }
    Ok(())
}

/// The PEM reader below would take certificates and private keys as well, and find the wrong bytes in them.
fn check_public_pem(pem: &str) -> Result<(), KeyError> {
    let text = pem.trim_start();
    let public = ["-----BEGIN PUBLIC KEY-----", "-----BEGIN RSA PUBLIC KEY-----"];
    if public.into_iter().any(|label| text.starts_with(label)) { Ok(()) } else { Err(KeyError::Malformed) }
}

/// Whether the material is a point of the algorithm's curve: found out now, not by the first token.
fn check_point(
    algorithm: &'static dyn VerificationAlgorithm,
    material: &DecodingKey,
) -> Result<(), KeyError> {
    let bytes = material.try_get_as_bytes().map_err(|_| KeyError::Malformed)?;
    ParsedPublicKey::new(algorithm, bytes).map_err(|_| KeyError::Malformed)?;
    Ok(())
}

fn bit_length(big_endian: &[u8]) -> usize {
    let significant = big_endian.iter().skip_while(|byte| **byte == 0);
    match significant.clone().next() {
        Some(first) => significant.count() * 8 - first.leading_zeros() as usize,
        None => 0,
    }
}
