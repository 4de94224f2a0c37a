//! A key of each kind, made anew in every run, and what signs with them.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::crypto::sign;
use jsonwebtoken::{Algorithm, EncodingKey};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PKCS_RSA_SHA256};

pub(crate) const SECRET: &[u8] = b"a secret that nobody else does have";

pub(crate) static KEYS: LazyLock<Keys> = LazyLock::new(|| Keys {
    es: KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap(),
    foreign: KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap(),
    ed: KeyPair::generate_for(&PKCS_ED25519).unwrap(),
    rs: KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap(),
});

pub(crate) struct Keys {
    pub(crate) es: KeyPair,
    pub(crate) foreign: KeyPair,
    pub(crate) ed: KeyPair,
    pub(crate) rs: KeyPair,
}

/// Signs whatever it is given.
#[derive(Clone, Copy)]
pub(crate) enum Signer<'a> {
    Hs(&'a [u8]),
    Es(&'a KeyPair),
    Ed(&'a KeyPair),
    Rs(&'a KeyPair),
}

impl Signer<'_> {
    pub(crate) fn sign(self, header: &[u8], claims: &[u8]) -> String {
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let signature = self.signature(&signed);
        format!("{signed}.{signature}")
    }

    pub(crate) fn signature(self, signed: &str) -> String {
        let (algorithm, key) = match self {
            Self::Hs(secret) => (Algorithm::HS256, EncodingKey::from_secret(secret)),
            Self::Es(pair) => {
                (Algorithm::ES256, EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).unwrap())
            }
            Self::Ed(pair) => {
                (Algorithm::EdDSA, EncodingKey::from_ed_pem(pair.serialize_pem().as_bytes()).unwrap())
            }
            Self::Rs(pair) => {
                (Algorithm::RS256, EncodingKey::from_rsa_pem(pair.serialize_pem().as_bytes()).unwrap())
            }
        };
        sign(signed.as_bytes(), &key, algorithm).unwrap()
    }
}
