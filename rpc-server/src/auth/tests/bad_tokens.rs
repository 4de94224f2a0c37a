//! Tokens that must be refused, and for which cause.

use super::*;

type Row = (&'static str, String, AuthError);

const fn malformed(what: &'static str) -> AuthError {
    AuthError::Malformed { what }
}

const fn missing(claim: &'static str) -> AuthError {
    AuthError::ClaimMissing { claim }
}

const fn invalid(claim: &'static str) -> AuthError {
    AuthError::ClaimInvalid { claim }
}

#[track_caller]
fn assert_refused(rows: Vec<Row>) {
    let authenticator = authenticator();
    for (name, token, expected) in rows {
        assert_eq!(verify(&authenticator, &token), Err(expected), "{name}");
    }
    verify(&authenticator, &good_token()).expect("the token all of these are variations of is good");
}

/// The good claims, but `name` is `value`.
fn claim(name: &str, value: impl Into<Value>) -> String {
    signed(&good_header(), &with(good_claims(), name, value))
}

fn header(name: &str, value: impl Into<Value>) -> String {
    signed(&with(good_header(), name, value), &good_claims())
}

fn raw_claims(text: &[u8]) -> String {
    Signer::Es(&KEYS.es).sign(good_header().to_string().as_bytes(), text)
}

fn raw_header(text: &[u8]) -> String {
    Signer::Es(&KEYS.es).sign(text, good_claims().to_string().as_bytes())
}

#[test]
//= test A-4
fn algorithm_none_is_refused() {
    let unsigned = |algorithm: &str, signature: &str| {
        let token = header("alg", algorithm);
        format!("{}.{signature}", token.rsplit_once('.').unwrap().0)
    };
    let mut rows = Vec::new();
    for algorithm in ["none", "None", "NONE", "nOnE", "none ", ""] {
        rows.push(("no signature", unsigned(algorithm, ""), AuthError::AlgorithmMismatch));
        rows.push(("some signature", header("alg", algorithm), AuthError::AlgorithmMismatch));
    }
    rows.push(("absent", signed(&without(good_header(), "alg"), &good_claims()), malformed("alg")));
    rows.push(("null", header("alg", Value::Null), malformed("alg")));
    rows.push(("list", header("alg", json!(["ES256"])), malformed("alg")));
    rows.push(("empty signature", unsigned("ES256", ""), AuthError::BadSignature));
    assert_refused(rows);
}

#[test]
fn public_key_is_no_hmac_secret() {
    let point = KEYS.es.public_key_raw();
    let es_pem = KEYS.es.public_key_pem();
    let rs_pem = &KEYS.rs_public_pem;
    let claims = good_claims().to_string();
    let confuse = |secret: &[u8], header: Value| {
        Signer::Hs(secret).sign(header.to_string().as_bytes(), claims.as_bytes())
    };
    let hs = |kid: &str| json!({ "typ": "JWT", "alg": "HS256", "kid": kid });
    let es = json!({ "typ": "JWT", "alg": "ES256", "kid": "es" });
    let rs = json!({ "typ": "JWT", "alg": "RS256", "kid": "rs" });
    assert_refused(vec![
        ("EC point", confuse(point, hs("es")), AuthError::AlgorithmMismatch),
        ("EC PEM", confuse(es_pem.as_bytes(), hs("es")), AuthError::AlgorithmMismatch),
        ("RSA PEM", confuse(rs_pem.as_bytes(), hs("rs")), AuthError::AlgorithmMismatch),
        ("trimmed RSA PEM", confuse(rs_pem.trim().as_bytes(), hs("rs")), AuthError::AlgorithmMismatch),
        ("EC point, algorithm kept", confuse(point, es), AuthError::BadSignature),
        ("RSA PEM, algorithm kept", confuse(rs_pem.as_bytes(), rs), AuthError::BadSignature),
    ]);
}

#[test]
//= test A-4
fn algorithm_is_the_keys() {
    let mut rows = Vec::new();
    for other in ["HS256", "HS384", "ES384", "RS256", "PS256", "EdDSA", "es256", "ES256 ", "ES256K"] {
        rows.push(("other algorithm", header("alg", other), AuthError::AlgorithmMismatch));
    }
    let symmetric = with(good_claims(), "iss", SYMMETRIC);
    rows.push(("asymmetric for a secret", signed(&good_header(), &symmetric), AuthError::AlgorithmMismatch));
    assert_refused(rows);
}

#[test]
fn key_id_is_only_looked_up() {
    let mut rows: Vec<Row> = Vec::new();
    for unknown in
        ["ES", "es2", "../../etc/passwd", "/dev/null", "http://evil.example/key", "es'--", "%00", "es;ls"]
    {
        rows.push(("unknown id", header("kid", unknown), AuthError::UnknownKey));
    }
    for unusable in [json!(""), json!("a b"), json!("es\0"), json!("ä"), json!(1), Value::Null, json!(["es"])]
    {
        rows.push(("unusable id", header("kid", unusable), malformed("kid")));
    }
    rows.push(("longest id", header("kid", "k".repeat(128)), AuthError::UnknownKey));
    rows.push(("too long", header("kid", "k".repeat(129)), malformed("kid")));
    rows.push(("no id", signed(&without(good_header(), "kid"), &good_claims()), AuthError::UnknownKey));
    rows.push(("other key's id", header("kid", "ed"), AuthError::AlgorithmMismatch));
    assert_refused(rows);
}

#[test]
//= test A-7
fn header_brings_no_keys_and_no_rules() {
    let refused = |name| AuthError::HeaderRefused { name };
    let jwk = json!({ "kty": "EC", "crv": "P-256", "x": "AA", "y": "AA" });
    assert_refused(vec![
        ("jwk", header("jwk", jwk), refused("jwk")),
        ("jku", header("jku", "https://evil.example/jwks"), refused("jku")),
        ("x5u", header("x5u", "https://evil.example/cert"), refused("x5u")),
        ("x5c", header("x5c", json!(["MIIB"])), refused("x5c")),
        ("x5c null", header("x5c", Value::Null), refused("x5c")),
        ("crit", header("crit", json!(["exp"])), refused("crit")),
        ("empty crit", header("crit", json!([])), refused("crit")),
        ("b64", header("b64", false), refused("b64")),
        ("zip", header("zip", "DEF"), refused("zip")),
        ("enc", header("enc", "A256GCM"), refused("enc")),
    ]);
}

#[test]
//= test A-7
fn type_is_an_access_tokens() {
    let mut rows =
        vec![("absent", signed(&without(good_header(), "typ"), &good_claims()), AuthError::WrongType)];
    for other in
        ["", "JWS", "JOSE", "dpop+jwt", "logout+jwt", "id+jwt", "secevent+jwt", "at+jwt ", "application/jwt"]
    {
        rows.push(("other type", header("typ", other), AuthError::WrongType));
    }
    rows.push(("number", header("typ", 1), AuthError::WrongType));
    rows.push(("null", header("typ", Value::Null), AuthError::WrongType));
    rows.push(("ID token", claim("at_hash", "abc"), AuthError::WrongType));
    rows.push(("ID token with code", claim("c_hash", "abc"), AuthError::WrongType));
    assert_refused(rows);
}

#[test]
fn form_is_exact() {
    let good = good_token();
    let [header, claims, signature] = good.split('.').collect::<Vec<_>>().try_into().unwrap();
    let three = "not three segments";
    assert_refused(vec![
        ("no dot", "abc".into(), malformed(three)),
        ("two segments", format!("{header}.{claims}"), malformed(three)),
        ("four segments", format!("{good}.{signature}"), malformed(three)),
        ("five segments", format!("{header}.a.b.c.{signature}"), malformed(three)),
        ("only dots", "..".into(), malformed("header")),
        ("empty header", format!(".{claims}.{signature}"), malformed("header")),
        ("empty claims", format!("{header}..{signature}"), malformed("claims")),
        (
            "truncated header",
            format!("{}.{claims}.{signature}", &header[..header.len() - 4]),
            malformed("header"),
        ),
        (
            "truncated claims",
            format!("{header}.{}.{signature}", &claims[..claims.len() - 4]),
            malformed("claims"),
        ),
        ("truncated signature", good[..good.len() - 6].into(), AuthError::BadSignature),
        ("longer signature", format!("{good}AAAA"), AuthError::BadSignature),
        ("padded signature", format!("{good}=="), malformed("signature")),
        (
            "padding within",
            format!("{header}=.{claims}.{signature}"),
            AuthError::Malformed { what: "token is not token68" },
        ),
        ("standard alphabet", format!("{header}.{claims}.+/{}", &signature[2..]), malformed("signature")),
        ("tilde", format!("{header}.{claims}.~{}", &signature[1..]), malformed("signature")),
        ("one letter", format!("{header}.{claims}.A"), malformed("signature")),
        ("space", format!("{good} "), AuthError::Malformed { what: "token is not token68" }),
    ]);
}

#[test]
fn loose_bits_give_no_second_spelling() {
    // 64 bytes end in a letter of which only two bits count; the decoder must not ignore the other four.
    let good = good_token();
    let last = good.chars().last().unwrap();
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let at = alphabet.find(last).unwrap();
    assert_eq!(at % 16, 0);
    let respelt = format!("{}{}", &good[..good.len() - 1], &alphabet[at + 1..at + 2]);
    assert_refused(vec![("respelt", respelt, malformed("signature"))]);
}

#[test]
//= test A-8
fn size_is_bounded_before_decoding() {
    let header = good_token().split('.').next().unwrap().to_owned();
    assert_refused(vec![
        ("one byte too long", "A".repeat(8 * 1024 + 1), AuthError::TooLarge),
        ("a megabyte", format!("{header}.{}.AA", "A".repeat(1 << 20)), AuthError::TooLarge),
        ("good but large", claim("padding", "x".repeat(8 * 1024)), AuthError::TooLarge),
        ("longest that is read", "A".repeat(8 * 1024), malformed("not three segments")),
    ]);
}

#[test]
fn json_is_an_object_without_repetition() {
    let twice = |name: &str, value: &str| {
        let text = good_claims().to_string();
        raw_claims(format!("{},\"{name}\":{value}}}", &text[..text.len() - 1]).as_bytes())
    };
    let header_twice = r#"{"typ":"JWT","alg":"none","alg":"ES256","kid":"es"}"#;
    let escaped_twice = r#"{"typ":"JWT","alg":"ES256","\u0061lg":"none","kid":"es"}"#;
    let nested = format!("{}{}", "[".repeat(2000), "]".repeat(2000));
    assert_refused(vec![
        ("sub twice", twice("sub", "\"mallory\""), malformed("claims")),
        ("exp twice", twice("exp", "1900000000"), malformed("claims")),
        ("same value twice", twice("sub", "\"alice\""), malformed("claims")),
        ("escaped name twice", twice("s\\u0075b", "\"mallory\""), malformed("claims")),
        ("alg twice", raw_header(header_twice.as_bytes()), malformed("header")),
        ("escaped alg twice", raw_header(escaped_twice.as_bytes()), malformed("header")),
        ("header is a list", raw_header(b"[]"), malformed("header")),
        ("header is text", raw_header(b"\"ES256\""), malformed("header")),
        ("claims are a list", raw_claims(b"[{}]"), malformed("claims")),
        ("claims are null", raw_claims(b"null"), malformed("claims")),
        ("claims are empty", raw_claims(b"{}"), missing("iss")),
        ("not UTF-8", raw_claims(b"{\"iss\":\"\xff\xfe\"}"), malformed("claims")),
        ("half a surrogate", raw_claims(br#"{"iss":"\ud800"}"#), malformed("claims")),
        ("more after the end", raw_claims(format!("{} {{}}", good_claims()).as_bytes()), malformed("claims")),
        ("byte order mark", raw_claims(format!("\u{feff}{}", good_claims()).as_bytes()), malformed("claims")),
        ("comment", raw_claims(b"{/**/}"), malformed("claims")),
        ("deeply nested", raw_claims(format!("{{\"a\":{nested}}}").as_bytes()), malformed("claims")),
    ]);
}

#[test]
//= test A-5
fn required_claims_are_there() {
    let rows = ["iss", "sub", "aud", "exp"]
        .map(|name| ("required", signed(&good_header(), &without(good_claims(), name)), missing(name)));
    assert_refused(rows.into());
}

#[test]
fn claims_have_their_types() {
    let mut rows = Vec::new();
    for name in ["iss", "sub", "jti"] {
        for value in [Value::Null, json!(1), json!(true), json!([]), json!(["alice"]), json!({}), json!("")] {
            rows.push(("not a name", claim(name, value), invalid(name)));
        }
        rows.push(("too long", claim(name, "x".repeat(256)), invalid(name)));
        rows.push(("control character", claim(name, "a\nb"), invalid(name)));
        rows.push(("escape", claim(name, "a\u{1b}[31m"), invalid(name)));
        rows.push(("NUL", claim(name, "alice\0"), invalid(name)));
    }
    for name in ["exp", "nbf", "iat"] {
        for value in
            [Value::Null, json!("1800000300"), json!(true), json!([NOW]), json!({}), json!(-1), json!(-0.5)]
        {
            rows.push(("not a date", claim(name, value), invalid(name)));
        }
        rows.push(("huge", claim(name, u64::MAX), invalid(name)));
        rows.push(("huge float", claim(name, 1e300), invalid(name)));
        rows.push(("after 9999", claim(name, 253_402_300_800_u64), invalid(name)));
        let beyond = good_claims().to_string().replace(&good_claims()[name].to_string(), "1e999");
        rows.push(("no float holds it", raw_claims(beyond.as_bytes()), malformed("claims")));
    }
    assert_refused(rows);
}

#[test]
//= test A-5
fn audience_is_ours() {
    let many: Vec<&str> = std::iter::repeat_n("ledger", 17).collect();
    assert_refused(vec![
        ("other", claim("aud", "archive"), AuthError::WrongAudience),
        ("prefix", claim("aud", "ledge"), AuthError::WrongAudience),
        ("longer", claim("aud", "ledger.evil.example"), AuthError::WrongAudience),
        ("case", claim("aud", "Ledger"), AuthError::WrongAudience),
        ("slash", claim("aud", "ledger/"), AuthError::WrongAudience),
        ("space separated", claim("aud", "archive ledger"), AuthError::WrongAudience),
        ("wildcard", claim("aud", "*"), AuthError::WrongAudience),
        ("list of others", claim("aud", json!(["archive", "bank"])), AuthError::WrongAudience),
        ("empty list", claim("aud", json!([])), AuthError::WrongAudience),
        ("list in a list", claim("aud", json!([["ledger"]])), invalid("aud")),
        ("number beside ours", claim("aud", json!(["ledger", 1])), invalid("aud")),
        ("null beside ours", claim("aud", json!([null, "ledger"])), invalid("aud")),
        ("too many", claim("aud", json!(many)), invalid("aud")),
        ("empty", claim("aud", ""), invalid("aud")),
        ("null", claim("aud", Value::Null), invalid("aud")),
        ("number", claim("aud", 1), invalid("aud")),
        ("object", claim("aud", json!({ "ledger": true })), invalid("aud")),
    ]);
}

#[test]
fn scopes_are_bounded_and_typed() {
    let many: Vec<String> = (0..65).map(|i| format!("s{i}")).collect();
    let only_scp =
        |value: Value| signed(&good_header(), &with(without(good_claims(), "scope"), "scp", value));
    assert_refused(vec![
        ("list as scope", claim("scope", json!(["read"])), invalid("scope")),
        ("null", claim("scope", Value::Null), invalid("scope")),
        ("tab", claim("scope", "read\twrite"), invalid("scope")),
        ("quote", claim("scope", "\"read\""), invalid("scope")),
        ("too many", claim("scope", many.join(" ")), invalid("scope")),
        ("too long", claim("scope", "x".repeat(129)), invalid("scope")),
        ("too many in a list", only_scp(json!(many)), invalid("scp")),
        ("number in a list", only_scp(json!(["read", 1])), invalid("scp")),
        ("two in one entry", only_scp(json!(["read write"])), invalid("scp")),
        ("object", only_scp(json!({ "read": true })), invalid("scp")),
    ]);
}

#[test]
//= test A-6
fn time_is_checked_with_five_seconds_of_leeway() {
    assert_refused(vec![
        ("expired", claim("exp", NOW - 100), AuthError::Expired),
        ("expired long ago", claim("exp", 0), AuthError::Expired),
        ("the moment it ends", claim("exp", NOW - 5), AuthError::Expired),
        ("a fraction too late", claim("exp", (NOW - 6) as f64 + 0.5), AuthError::Expired),
        ("not yet", claim("nbf", NOW + 6), AuthError::NotYetValid),
        ("issued in the future", claim("iat", NOW + 6), AuthError::NotYetValid),
        ("issued in milliseconds", claim("iat", NOW * 100), AuthError::NotYetValid),
    ]);
}

#[test]
fn expired_is_told_only_of_good_tokens() {
    let expired = with(good_claims(), "exp", NOW - 100);
    let forged = Signer::Es(&KEYS.es_foreign);
    assert_refused(vec![
        (
            "forged",
            forged.sign(good_header().to_string().as_bytes(), expired.to_string().as_bytes()),
            AuthError::BadSignature,
        ),
        ("for others", signed(&good_header(), &with(expired, "aud", "archive")), AuthError::WrongAudience),
    ]);
}

#[test]
//= test A-10
fn issuers_do_not_vouch_for_each_other() {
    let hs = |issuer: &str, secret: &[u8]| {
        let header = json!({ "typ": "JWT", "alg": "HS256" });
        Signer::Hs(secret)
            .sign(header.to_string().as_bytes(), with(good_claims(), "iss", issuer).to_string().as_bytes())
    };
    assert_refused(vec![
        ("unknown issuer, known key", claim("iss", "https://evil.example"), AuthError::UnknownIssuer),
        ("slash", claim("iss", format!("{ASYMMETRIC}/")), AuthError::UnknownIssuer),
        ("case", claim("iss", "https://ID.example"), AuthError::UnknownIssuer),
        ("other issuer's key of the same id", claim("iss", FOREIGN), AuthError::BadSignature),
        ("secret of another issuer", hs(FOREIGN, SECRET), AuthError::UnknownKey),
        ("other secret", hs(SYMMETRIC, &[9; 32]), AuthError::BadSignature),
        ("empty secret", hs(SYMMETRIC, b""), AuthError::BadSignature),
        ("half the secret", hs(SYMMETRIC, &SECRET[..16]), AuthError::BadSignature),
    ]);
}

#[test]
fn every_flipped_bit_is_noticed() {
    let authenticator = authenticator();
    let good = good_token();
    let (signed_part, signature) = good.rsplit_once('.').unwrap();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    for bit in 0..signature.len() * 8 {
        let mut flipped = signature.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let token = format!("{signed_part}.{}", URL_SAFE_NO_PAD.encode(flipped));
        assert_eq!(verify(&authenticator, &token), Err(AuthError::BadSignature), "signature bit {bit}");
    }
    for at in 0..signed_part.len() {
        let mut changed = good.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        assert!(verify(&authenticator, std::str::from_utf8(&changed).unwrap()).is_err(), "letter {at}");
    }
}

#[test]
fn zero_signature_is_refused() {
    // "Psychic signatures" (CVE-2022-21449): r = s = 0 verified everything in one library.
    let good = good_token();
    let (signed_part, _) = good.rsplit_once('.').unwrap();
    let zero = |bytes: usize| format!("{signed_part}.{}", URL_SAFE_NO_PAD.encode(vec![0; bytes]));
    assert_refused(
        [0, 1, 63, 64, 65, 72, 256].map(|bytes| ("zeros", zero(bytes), AuthError::BadSignature)).into(),
    );
}
