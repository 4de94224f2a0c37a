//! Keys and configurations that must be refused, and key sets.

use super::*;
use crate::auth::{ConfigError, IssueError, JwtIssuer, KeyError};

/// A real key of 1024 bits. Its private half was thrown away.
const RSA_1024: &str = include_str!("rsa_1024_public.pem");

fn es() -> Key {
    Key::es256_pem(&KEYS.es.public_key_pem()).unwrap()
}

#[track_caller]
fn build(issuer: TrustedIssuer) -> Result<(), ConfigError> {
    JwtAuthenticator::new(issuer).map(drop)
}

#[test]
//= test A-9
fn secrets_are_long_and_secret() {
    assert_eq!(Key::hs256(&[1; 31]).map(drop), Err(KeyError::SecretLength { bytes: 31 }));
    assert_eq!(Key::hs256(b"").map(drop), Err(KeyError::SecretLength { bytes: 0 }));
    assert_eq!(Key::hs256(&[1; 1025]).map(drop), Err(KeyError::SecretLength { bytes: 1025 }));
    assert!(Key::hs256(&[1; 32]).is_ok());
    let pem = format!("\n{}", KEYS.es.public_key_pem());
    assert_eq!(Key::hs256(pem.as_bytes()).map(drop), Err(KeyError::SecretIsPem));
}

#[test]
fn public_keys_are_of_their_kind() {
    type Read = fn(&str) -> Result<Key, KeyError>;
    let p384 = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap().public_key_pem();
    let (es, ed, rs) = (KEYS.es.public_key_pem(), KEYS.ed.public_key_pem(), KEYS.rs_public_pem.clone());
    let rows: [(Read, [&String; 3]); 3] = [
        (Key::es256_pem, [&ed, &rs, &p384]),
        (Key::eddsa_pem, [&es, &rs, &p384]),
        (Key::rs256_pem, [&es, &ed, &p384]),
    ];
    for (read, others) in rows {
        for pem in others {
            assert_eq!(read(pem).map(drop), Err(KeyError::Malformed));
        }
        for text in [
            "",
            "not a key",
            "-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----",
            &KEYS.es.serialize_pem(),
        ] {
            assert_eq!(read(text).map(drop), Err(KeyError::Malformed), "{text}");
        }
    }
    assert_eq!(Key::eddsa_pem(&KEYS.ed.serialize_pem()).map(drop), Err(KeyError::Malformed));
}

#[test]
fn weak_rsa_keys_are_refused() {
    assert_eq!(Key::rs256_pem(RSA_1024).map(drop), Err(KeyError::RsaBits { bits: 1024 }));
    let modulus = |bytes: usize| URL_SAFE_NO_PAD.encode(vec![0xff; bytes]);
    let jwk = |bytes| json!({ "kty": "RSA", "n": modulus(bytes), "e": "AQAB" }).to_string();
    assert_eq!(Key::from_jwk(&jwk(255)).map(drop), Err(KeyError::RsaBits { bits: 2040 }));
    assert_eq!(Key::from_jwk(&jwk(1025)).map(drop), Err(KeyError::RsaBits { bits: 8200 }));
    assert_eq!(Key::from_jwk(&jwk(0)).map(drop), Err(KeyError::RsaBits { bits: 0 }));
}

#[test]
fn leading_zeros_do_not_strengthen_a_key() {
    let mut modulus = vec![0; 128];
    modulus.extend([0xff; 128]);
    let jwk = json!({ "kty": "RSA", "n": URL_SAFE_NO_PAD.encode(modulus), "e": "AQAB" }).to_string();
    assert_eq!(Key::from_jwk(&jwk).map(drop), Err(KeyError::RsaBits { bits: 1024 }));
}

#[test]
fn issuers_have_usable_keys() {
    let issuer = || TrustedIssuer::new(ASYMMETRIC, AUDIENCE);
    let name = || ASYMMETRIC.to_owned();
    let hs = || Key::hs256(SECRET).unwrap();
    let named = |id: &str| es().with_id(id).unwrap();
    assert_eq!(build(issuer()), Err(ConfigError::NoKey { issuer: name() }));
    assert_eq!(build(issuer().key(es()).key(hs())), Err(ConfigError::MixedKeys { issuer: name() }));
    assert_eq!(build(issuer().key(es()).key(named("b"))), Err(ConfigError::KeyIdMissing { issuer: name() }));
    let twice = Err(ConfigError::KeyIdTwice { issuer: name(), id: "a".into() });
    assert_eq!(build(issuer().key(named("a")).key(named("a"))), twice);
    let many = (0..51).map(|i| named(&format!("k{i}")));
    assert_eq!(build(issuer().keys(many)), Err(ConfigError::TooManyKeys { issuer: name(), keys: 51 }));
    assert_eq!(build(issuer().key(es())), Ok(()));
}

#[test]
fn authenticators_have_usable_settings() {
    let builder = JwtAuthenticator::builder;
    assert_eq!(builder().build().map(drop), Err(ConfigError::NoIssuer));
    let twice = builder().issuer(symmetric_issuer()).issuer(symmetric_issuer()).build();
    assert_eq!(twice.map(drop), Err(ConfigError::IssuerTwice { issuer: SYMMETRIC.into() }));
    let leeway = Duration::from_millis(30_001);
    let lax = builder().issuer(symmetric_issuer()).leeway(leeway).build();
    assert_eq!(lax.map(drop), Err(ConfigError::Leeway { leeway }));
    for (issuer, audience) in [("", "a"), ("i", ""), ("i\n", "a"), (&*"i".repeat(256), "a")] {
        assert_eq!(build(TrustedIssuer::new(issuer, audience).key(es())), Err(ConfigError::Name));
    }
    assert_eq!(build(symmetric_issuer().also_audience("")), Err(ConfigError::Name));
}

#[test]
fn key_ids_are_bounded() {
    assert!(es().with_id(&"k".repeat(128)).is_ok());
    for id in ["", "a b", "a\n", "ä", &"k".repeat(129)] {
        assert_eq!(es().with_id(id).map(drop), Err(KeyError::Id));
    }
}

/// The public key `es` in JSON.
fn es_jwk(id: &str) -> Value {
    let point = KEYS.es.public_key_raw();
    let (x, y) = point[1..].split_at(32);
    json!({ "kty": "EC", "crv": "P-256", "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y), "kid": id })
}

fn set(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

#[test]
fn key_set_verifies_tokens() {
    let ed = json!({ "kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(KEYS.ed.public_key_raw()),
        "kid": "ed", "use": "sig", "alg": "EdDSA", "key_ops": ["verify"] });
    let encryption = with(es_jwk("enc"), "use", "enc");
    let unknown = json!({ "kty": "AKP", "alg": "ML-DSA-65", "kid": "new" });
    let keys = Key::from_jwks(&set(&[es_jwk("es"), ed, encryption, unknown])).unwrap();
    assert_eq!(keys.iter().map(Key::id).collect::<Vec<_>>(), [Some("es"), Some("ed")]);
    let issuer = TrustedIssuer::new(ASYMMETRIC, AUDIENCE).keys(keys);
    let authenticator =
        JwtAuthenticator::builder().issuer(issuer).clock(Clock::at(NOW).hands()).build().unwrap();
    assert!(verify(&authenticator, &good_token()).is_ok());
    let header = json!({ "typ": "JWT", "alg": "EdDSA", "kid": "ed" }).to_string();
    let token = Signer::Ed(&KEYS.ed).sign(header.as_bytes(), good_claims().to_string().as_bytes());
    assert!(verify(&authenticator, &token).is_ok());
}

#[test]
fn symmetric_and_rsa_keys_are_read_from_json() {
    let hs = json!({ "kty": "oct", "k": URL_SAFE_NO_PAD.encode(SECRET), "alg": "HS256" }).to_string();
    let issuer = TrustedIssuer::new(SYMMETRIC, AUDIENCE).key(Key::from_jwk(&hs).unwrap());
    let authenticator =
        JwtAuthenticator::builder().issuer(issuer).clock(Clock::at(NOW).hands()).build().unwrap();
    let token = JwtIssuer::hs256(SECRET, SYMMETRIC, AUDIENCE).unwrap().with_clock(Clock::at(NOW).hands());
    let token = token.token("alice", &[], Duration::from_secs(60)).unwrap();
    assert!(verify(&authenticator, &token).is_ok());
    let pair = rsa::KeyPair::from_der(&KEYS.rs_private_der).unwrap();
    let public = aws_lc_rs::signature::KeyPair::public_key(&pair);
    let modulus = public.modulus().big_endian_without_leading_zero().to_vec();
    let rs = json!({ "kty": "RSA", "n": URL_SAFE_NO_PAD.encode(modulus), "e": "AQAB" }).to_string();
    assert!(Key::from_jwk(&rs).is_ok());
}

#[test]
fn unusable_key_sets_are_refused() {
    let private = with(es_jwk("a"), "d", "AAAA");
    let short = json!({ "kty": "oct", "k": "AAAA" });
    let off_curve = with(es_jwk("a"), "y", URL_SAFE_NO_PAD.encode([7; 32]));
    let many: Vec<Value> = (0..51).map(|i| es_jwk(&format!("k{i}"))).collect();
    let rows = [
        (set(&[]), KeyError::NoUsableKey),
        (set(&[with(es_jwk("a"), "alg", "ES384")]), KeyError::NoUsableKey),
        (set(&[with(es_jwk("a"), "key_ops", json!(["sign"]))]), KeyError::NoUsableKey),
        (set(&[json!({ "kty": "none" })]), KeyError::NoUsableKey),
        (set(&[es_jwk("a"), private]), KeyError::PrivateKey),
        (set(&[short]), KeyError::SecretLength { bytes: 3 }),
        (set(&[off_curve]), KeyError::Malformed),
        (set(&[without(es_jwk("a"), "y")]), KeyError::Malformed),
        (set(&[es_jwk("a b")]), KeyError::Id),
        (set(&many), KeyError::TooManyKeys { keys: 51 }),
        (" ".repeat(256 * 1024 + 1), KeyError::SetTooLarge { bytes: 256 * 1024 + 1 }),
        ("{}".into(), KeyError::Malformed),
        ("[]".into(), KeyError::Malformed),
        (r#"{"keys":[{"kty":"oct","kty":"EC"}]}"#.into(), KeyError::Malformed),
    ];
    for (json, expected) in rows {
        assert_eq!(Key::from_jwks(&json).map(drop), Err(expected), "{:.80}", json);
    }
    let foreign = with(es_jwk("a"), "alg", "HS256").to_string();
    assert_eq!(
        Key::from_jwk(&foreign).map(drop),
        Err(KeyError::Unsupported),
        "the algorithm must fit the key"
    );
}

#[test]
fn key_set_of_both_kinds_is_refused() {
    let hs = json!({ "kty": "oct", "k": URL_SAFE_NO_PAD.encode(SECRET), "kid": "hs" });
    let keys = Key::from_jwks(&set(&[es_jwk("es"), hs])).unwrap();
    let mixed = build(TrustedIssuer::new(ASYMMETRIC, AUDIENCE).keys(keys));
    assert_eq!(mixed, Err(ConfigError::MixedKeys { issuer: ASYMMETRIC.into() }));
}

#[test]
fn issuing_refuses_what_nobody_would_accept() {
    let issuer = JwtIssuer::hs256(SECRET, SYMMETRIC, AUDIENCE).unwrap();
    let minute = Duration::from_secs(60);
    assert_eq!(issuer.token("", &[], minute), Err(IssueError::Subject));
    assert_eq!(issuer.token("a\nb", &[], minute), Err(IssueError::Subject));
    assert_eq!(issuer.token("alice", &["a b"], minute), Err(IssueError::Scopes));
    assert_eq!(issuer.token("alice", &[], Duration::from_millis(999)), Err(IssueError::Lifetime));
    assert_eq!(issuer.token("alice", &[], Duration::MAX), Err(IssueError::Lifetime));
    let scopes: Vec<String> = (0..64).map(|i| format!("{i:0>128}")).collect();
    let scopes: Vec<&str> = scopes.iter().map(String::as_str).collect();
    assert_eq!(issuer.token("alice", &scopes, minute), Err(IssueError::TooLarge));
    let short = JwtIssuer::hs256(b"short", SYMMETRIC, AUDIENCE).map(drop);
    assert_eq!(short, Err(ConfigError::Key(KeyError::SecretLength { bytes: 5 })));
    let public = JwtIssuer::es256_pem(&KEYS.es.public_key_pem(), SYMMETRIC, AUDIENCE).map(drop);
    assert_eq!(public, Err(ConfigError::Key(KeyError::Malformed)));
    assert_eq!(JwtIssuer::hs256(SECRET, "", AUDIENCE).map(drop), Err(ConfigError::Name));
}
