//! Tokens that must be accepted.

use super::*;
use crate::auth::{Authenticator, Credentials, JwtIssuer, Scopes, Verdict};

#[track_caller]
fn accepted(token: &str) -> Identity {
    verify(&authenticator(), token).unwrap()
}

#[test]
fn all_four_algorithms_verify() {
    let signers = [
        (SYMMETRIC, json!({ "typ": "JWT", "alg": "HS256" }), Signer::Hs(SECRET)),
        (ASYMMETRIC, json!({ "typ": "JWT", "alg": "ES256", "kid": "es" }), Signer::Es(&KEYS.es)),
        (ASYMMETRIC, json!({ "typ": "JWT", "alg": "EdDSA", "kid": "ed" }), Signer::Ed(&KEYS.ed)),
        (ASYMMETRIC, json!({ "typ": "JWT", "alg": "RS256", "kid": "rs" }), Signer::Rs(&KEYS.rs_private_der)),
        (FOREIGN, json!({ "typ": "JWT", "alg": "ES256", "kid": "es" }), Signer::Es(&KEYS.es_foreign)),
    ];
    for (issuer, header, signer) in signers {
        let claims = with(good_claims(), "iss", issuer);
        let identity = accepted(&signer.sign(header.to_string().as_bytes(), claims.to_string().as_bytes()));
        assert_eq!(identity.principal().issuer(), issuer);
        assert_eq!(identity.principal().subject(), "alice");
    }
}

#[test]
fn identity_says_what_the_token_says() {
    let identity = accepted(&good_token());
    assert_eq!(identity.scopes(), &Scopes::new(["read", "write"]).unwrap());
    assert_eq!(identity.token_id(), Some("token-1"));
    let expiry = identity.expiry().unwrap();
    assert_eq!(expiry.at, time(NOW + 305), "leeway included");
    assert_eq!(expiry.remaining, Duration::from_secs(305));
}

#[test]
fn optional_claims_may_be_absent() {
    let claims = ["iat", "nbf", "jti", "scope"].into_iter().fold(good_claims(), without);
    let identity = accepted(&signed(&good_header(), &claims));
    assert_eq!(identity.token_id(), None);
    assert!(identity.scopes().is_empty());
}

#[test]
fn access_token_types_pass_in_any_case() {
    for name in ["JWT", "jwt", "at+jwt", "AT+JWT", "application/at+jwt", "Application/AT+jwt"] {
        accepted(&signed(&with(good_header(), "typ", name), &good_claims()));
    }
}

#[test]
fn type_may_be_absent_by_option_only() {
    let untyped = signed(&without(good_header(), "typ"), &good_claims());
    let clock = Clock::at(NOW);
    let build = |issuer| JwtAuthenticator::builder().issuer(issuer).clock(clock.hands()).build().unwrap();
    assert_eq!(verify(&build(asymmetric_issuer()), &untyped), Err(AuthError::WrongType));
    let lenient = build(asymmetric_issuer().typ_optional());
    assert!(verify(&lenient, &untyped).is_ok());
    let wrong = signed(&with(good_header(), "typ", "dpop+jwt"), &good_claims());
    assert_eq!(verify(&lenient, &wrong), Err(AuthError::WrongType));
}

#[test]
fn one_audience_of_several_is_enough() {
    for audience in [json!(["ledger"]), json!(["archive", "ledger"])] {
        accepted(&signed(&good_header(), &with(good_claims(), "aud", audience)));
    }
}

#[test]
fn second_audience_is_accepted_beside_the_first() {
    let issuer = asymmetric_issuer().also_audience("ledger-v2");
    let authenticator =
        JwtAuthenticator::builder().issuer(issuer).clock(Clock::at(NOW).hands()).build().unwrap();
    for audience in ["ledger", "ledger-v2"] {
        let token = signed(&good_header(), &with(good_claims(), "aud", audience));
        assert!(verify(&authenticator, &token).is_ok(), "{audience}");
    }
}

#[test]
fn scopes_come_from_scope_before_scp() {
    let only_scp = |value: Value| {
        accepted(&signed(&good_header(), &with(without(good_claims(), "scope"), "scp", value)))
    };
    assert_eq!(only_scp(json!(["read", "write"])).scopes(), &Scopes::parse("read write").unwrap());
    assert_eq!(only_scp(json!("read write")).scopes(), &Scopes::parse("read write").unwrap());
    let both = accepted(&signed(&good_header(), &with(good_claims(), "scp", json!(["admin"]))));
    assert!(!both.scopes().contains("admin"));
    assert!(accepted(&signed(&good_header(), &with(good_claims(), "scope", ""))).scopes().is_empty());
}

#[test]
fn time_bounds_are_exact() {
    for (name, value) in [("exp", NOW - 4), ("nbf", NOW + 5), ("iat", NOW + 5), ("exp", 253_402_300_799)] {
        accepted(&signed(&good_header(), &with(good_claims(), name, value)));
    }
    let fraction = accepted(&signed(&good_header(), &with(good_claims(), "exp", NOW as f64 - 4.5)));
    assert_eq!(fraction.expiry().unwrap().remaining, Duration::from_millis(500));
}

#[test]
fn leeway_is_as_configured() {
    let expired_by = |seconds: u64| signed(&good_header(), &with(good_claims(), "exp", NOW - seconds));
    for leeway in [0, 1, 30] {
        let authenticator = JwtAuthenticator::builder()
            .issuer(asymmetric_issuer())
            .leeway(Duration::from_secs(leeway))
            .clock(Clock::at(NOW).hands())
            .build()
            .unwrap();
        assert_eq!(verify(&authenticator, &expired_by(leeway)), Err(AuthError::Expired));
        if leeway > 0 {
            assert!(verify(&authenticator, &expired_by(leeway - 1)).is_ok());
        }
    }
}

#[test]
fn lifetime_is_bounded_where_configured() {
    let issuer = asymmetric_issuer().max_lifetime(Duration::from_secs(600));
    let authenticator =
        JwtAuthenticator::builder().issuer(issuer).clock(Clock::at(NOW).hands()).build().unwrap();
    let living = |seconds: u64| signed(&good_header(), &with(good_claims(), "exp", NOW - 10 + seconds));
    assert!(verify(&authenticator, &living(600)).is_ok());
    assert_eq!(verify(&authenticator, &living(601)), Err(AuthError::LifetimeTooLong));
    let unissued = signed(&good_header(), &without(good_claims(), "iat"));
    assert_eq!(verify(&authenticator, &unissued), Err(AuthError::ClaimMissing { claim: "iat" }));
}

#[test]
fn key_without_id_serves_every_id() {
    let claims = with(good_claims(), "iss", SYMMETRIC).to_string();
    for header in
        [json!({ "typ": "JWT", "alg": "HS256" }), json!({ "typ": "JWT", "alg": "HS256", "kid": "any" })]
    {
        accepted(&Signer::Hs(SECRET).sign(header.to_string().as_bytes(), claims.as_bytes()));
    }
}

#[test]
fn own_tokens_are_accepted() {
    let clock = Clock::at(NOW);
    let symmetric = JwtIssuer::hs256(SECRET, SYMMETRIC, AUDIENCE).unwrap().with_clock(clock.hands());
    let asymmetric = JwtIssuer::es256_pem(&KEYS.es.serialize_pem(), ASYMMETRIC, AUDIENCE)
        .unwrap()
        .with_key_id("es")
        .unwrap()
        .with_clock(clock.hands());
    for issuer in [symmetric, asymmetric] {
        let token = issuer.token("bob", &["write", "read"], Duration::from_secs(60)).unwrap();
        let identity = accepted(&token);
        assert_eq!(identity.principal().subject(), "bob");
        assert!(identity.scopes().contains_all(&["read", "write"]));
        assert_eq!(identity.expiry().unwrap().remaining, Duration::from_secs(65));
        let other = issuer.token("bob", &[], Duration::from_secs(60)).unwrap();
        assert_ne!(accepted(&other).token_id(), identity.token_id(), "ids are random");
    }
}

#[test]
fn verdict_is_ready_and_needs_credentials() {
    let authenticator = Arc::new(authenticator());
    let token = good_token();
    let shown = Credentials::none().with_bearer(Bearer::new(&token).unwrap());
    assert!(matches!(authenticator.authenticate(shown), Verdict::Ready(Ok(_))));
    let nothing = authenticator.authenticate(Credentials::none());
    assert!(matches!(nothing, Verdict::Ready(Err(AuthError::Missing))));
}

#[test]
fn anonymous_accepts_everyone_as_one() {
    let scopes = Scopes::parse("read").unwrap();
    let authenticator = crate::auth::dangerous_anonymous().with_scopes(scopes.clone());
    let Verdict::Ready(Ok(identity)) = authenticator.authenticate(Credentials::none()) else {
        panic!("refused")
    };
    assert_eq!(identity.principal().subject(), "anonymous");
    assert_eq!(identity.scopes(), &scopes);
    assert_eq!(identity.expiry(), None);
}

#[tokio::test]
async fn verdict_can_be_pending() {
    let verdict = Verdict::pending(async { Err(AuthError::Unavailable) });
    assert_eq!(format!("{verdict:?}"), "Pending");
    assert_eq!(verdict.resolve().await, Err(AuthError::Unavailable));
    assert_eq!(Verdict::refused(AuthError::Refused).resolve().await, Err(AuthError::Refused));
}
