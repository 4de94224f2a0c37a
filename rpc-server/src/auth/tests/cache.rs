//! What is remembered of verified tokens.

use super::*;

fn cached(tokens_max: usize) -> (JwtAuthenticator, Clock) {
    let clock = Clock::at(NOW);
    let authenticator = JwtAuthenticator::builder()
        .issuer(asymmetric_issuer())
        .cached_tokens_max(tokens_max)
        .clock(clock.hands())
        .build()
        .unwrap();
    (authenticator, clock)
}

/// How many tokens are remembered, as operators see it.
fn remembered(authenticator: &JwtAuthenticator) -> usize {
    let text = format!("{authenticator:?}");
    let (_, rest) = text.split_once("cached: ").unwrap();
    rest.split(|letter: char| !letter.is_ascii_digit()).next().unwrap().parse().unwrap()
}

#[test]
fn second_look_gives_the_same_identity() {
    let (authenticator, _) = cached(10);
    let token = good_token();
    let first = verify(&authenticator, &token);
    assert_eq!(remembered(&authenticator), 1);
    assert_eq!(first, verify(&authenticator, &token));
    assert_eq!(remembered(&authenticator), 1);
}

#[test]
fn remembered_token_still_expires() {
    let (authenticator, clock) = cached(10);
    let token = good_token();
    verify(&authenticator, &token).unwrap();
    clock.set(NOW + 304);
    let remaining = verify(&authenticator, &token).unwrap().expiry().unwrap().remaining;
    assert_eq!(remaining, Duration::from_secs(1), "the identity of a hit ages");
    assert_eq!(remembered(&authenticator), 1);
    clock.set(NOW + 305);
    assert_eq!(verify(&authenticator, &token), Err(AuthError::Expired));
    assert_eq!(remembered(&authenticator), 0, "the expired entry is gone");
    assert_eq!(verify(&authenticator, &token), Err(AuthError::Expired));
    assert_eq!(remembered(&authenticator), 0, "and does not come back");
}

#[test]
fn remembered_token_is_refused_when_the_clock_was_set_back() {
    let (authenticator, clock) = cached(10);
    let token = good_token();
    verify(&authenticator, &token).unwrap();
    clock.set(NOW - 16);
    assert_eq!(verify(&authenticator, &token), Err(AuthError::NotYetValid));
    clock.set(NOW);
    assert!(verify(&authenticator, &token).is_ok());
}

#[test]
fn refused_tokens_are_not_remembered() {
    let (authenticator, clock) = cached(10);
    let early = signed(&good_header(), &with(good_claims(), "nbf", NOW + 60));
    let forged = good_token().replace('.', "A.");
    let foreign = signed(&good_header(), &with(good_claims(), "aud", "archive"));
    for token in [&early, &forged, &foreign] {
        assert!(verify(&authenticator, token).is_err());
        assert_eq!(remembered(&authenticator), 0);
    }
    clock.set(NOW + 60);
    assert!(verify(&authenticator, &early).is_ok(), "good when its time has come");
}

#[test]
fn neighbours_of_a_remembered_token_are_judged_by_themselves() {
    let (authenticator, _) = cached(10);
    let token = good_token();
    verify(&authenticator, &token).unwrap();
    let (signed_part, _) = token.rsplit_once('.').unwrap();
    assert_eq!(verify(&authenticator, &format!("{signed_part}.")), Err(AuthError::BadSignature));
}

#[test]
fn memory_is_bounded() {
    let (authenticator, _) = cached(16);
    for i in 0..200 {
        let token = signed(&good_header(), &with(good_claims(), "jti", format!("token-{i}")));
        verify(&authenticator, &token).unwrap();
        assert!(remembered(&authenticator) <= 16);
    }
    assert!(remembered(&authenticator) > 0);
}

#[test]
fn nothing_is_remembered_if_switched_off() {
    let (authenticator, _) = cached(0);
    let token = good_token();
    assert!(verify(&authenticator, &token).is_ok());
    assert!(verify(&authenticator, &token).is_ok());
    assert_eq!(remembered(&authenticator), 0);
}
