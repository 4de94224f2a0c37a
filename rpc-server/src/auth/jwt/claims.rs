//! The claims of a token whose signature was verified.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rpc_core::principal::Principal;
use serde_json::Value;

use super::json::Object;
use super::trusted::TrustedIssuer;
use crate::auth::{AuthError, Expiry, Identity, Scopes};

/// Longest `iss`, `sub` and `jti`, in bytes (OpenID Connect's bound for `sub`).
const NAME_BYTES_MAX: usize = 255;

/// Most entries of an `aud` array.
const AUDIENCES_MAX: usize = 16;

/// 9999-12-31T23:59:59Z. Later dates are mistakes, and this one still fits every `SystemTime`.
const SECONDS_MAX: u64 = 253_402_300_799;

/// A token that was verified once and may be used until it expires. Time is all that is left to check.
pub(super) struct Verified {
    principal: Principal,
    scopes: Scopes,
    token_id: Option<Arc<str>>,
    validity: Validity,
}

impl Verified {
    /// Judges everything about the claims that does not change with time.
    //= A-5
    pub(super) fn check(
        claims: &Object,
        issuer: &TrustedIssuer,
        leeway: Duration,
    ) -> Result<Self, AuthError> {
        check_audience(claims, issuer)?;
        refuse_id_token(claims)?;
        let subject = required_name(claims, "sub")?;
        Ok(Self {
            principal: Principal::new(Arc::clone(issuer.name()), subject),
            scopes: scopes(claims)?,
            token_id: optional_name(claims, "jti")?.map(Arc::from),
            validity: Validity::check(claims, issuer.lifetime_max(), leeway)?,
        })
    }

    /// The caller, if the token is valid at `now`.
    //= A-10
    pub(super) fn identity(&self, now: SystemTime) -> Result<Identity, AuthError> {
        let expiry = self.validity.at(now)?;
        let identity =
            Identity::new(self.principal.clone()).with_scopes(self.scopes.clone()).with_expiry(expiry);
        Ok(match &self.token_id {
            Some(id) => identity.with_token_id(Arc::clone(id)),
            None => identity,
        })
    }
}

/// The issuer a token claims to be from. It chooses the key, so it is read before the signature is verified.
pub(super) fn claimed_issuer(claims: &Object) -> Result<&str, AuthError> {
    required_name(claims, "iss")
}

/// Whether `text` can name an issuer, an audience or a subject: 1 to 255 bytes without control characters, which
/// would forge lines in logs.
pub(super) fn is_name(text: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&text.len()) && !text.chars().any(char::is_control)
}

/// When a token may be used, leeway included: `from <= now < until`.
struct Validity {
    from: Option<SystemTime>,
    until: SystemTime,
}

impl Validity {
    fn check(claims: &Object, lifetime_max: Option<Duration>, leeway: Duration) -> Result<Self, AuthError> {
        let expires = date(claims, "exp")?.ok_or(AuthError::ClaimMissing { claim: "exp" })?;
        let issued = date(claims, "iat")?;
        if let Some(lifetime_max) = lifetime_max {
            let issued = issued.ok_or(AuthError::ClaimMissing { claim: "iat" })?;
            if expires.saturating_sub(issued) > lifetime_max {
                return Err(AuthError::LifetimeTooLong);
            }
        }
        // A token from the future is a broken clock or a forged one; for us both are "not before".
        let starts = issued.max(date(claims, "nbf")?);
        Ok(Self {
            from: starts.map(|starts| SystemTime::UNIX_EPOCH + starts.saturating_sub(leeway)),
            until: SystemTime::UNIX_EPOCH + expires + leeway,
        })
    }

    //= A-6
    fn at(&self, now: SystemTime) -> Result<Expiry, AuthError> {
        if self.from.is_some_and(|from| now < from) {
            return Err(AuthError::NotYetValid);
        }
        match self.until.duration_since(now) {
            Ok(remaining) if !remaining.is_zero() => Ok(Expiry { at: self.until, remaining }),
            _ => Err(AuthError::Expired),
        }
    }
}

/// A `NumericDate` (RFC 7519, section 2) as time since 1970: a number, fractions allowed, neither negative nor after
/// the year 9999.
fn date(claims: &Object, claim: &'static str) -> Result<Option<Duration>, AuthError> {
    let Some(value) = claims.get(claim) else { return Ok(None) };
    let invalid = AuthError::ClaimInvalid { claim };
    let since_1970 = match (value.as_u64(), value.as_f64()) {
        (Some(seconds), _) => Duration::from_secs(seconds),
        (None, Some(seconds)) => Duration::try_from_secs_f64(seconds).map_err(|_| invalid)?,
        (None, None) => return Err(invalid),
    };
    if since_1970 > Duration::from_secs(SECONDS_MAX) {
        return Err(invalid);
    }
    Ok(Some(since_1970))
}

/// `aud` is one name or a list of names; one of ours must be among them, letter by letter.
fn check_audience(claims: &Object, issuer: &TrustedIssuer) -> Result<(), AuthError> {
    let invalid = AuthError::ClaimInvalid { claim: "aud" };
    let accepted = match claims.get("aud").ok_or(AuthError::ClaimMissing { claim: "aud" })? {
        Value::String(audience) if is_name(audience) => issuer.accepts_audience(audience),
        Value::Array(audiences) if audiences.len() <= AUDIENCES_MAX => {
            let names = audiences.iter().map(|audience| audience.as_str().filter(|name| is_name(name)));
            let names: Vec<&str> = names.collect::<Option<_>>().ok_or(invalid)?;
            names.into_iter().any(|audience| issuer.accepts_audience(audience))
        }
        _ => return Err(invalid),
    };
    if accepted { Ok(()) } else { Err(AuthError::WrongAudience) }
}

/// ID tokens tell a client who logged in; they authorise nothing (RFC 8725, section 3.12). Their audience is the
/// client, so the audience refuses them already, except where a service is carelessly registered under one name as
/// both. These two claims stand in ID tokens only.
fn refuse_id_token(claims: &Object) -> Result<(), AuthError> {
    let in_id_tokens_only = ["at_hash", "c_hash"];
    if in_id_tokens_only.into_iter().any(|claim| claims.contains(claim)) {
        return Err(AuthError::WrongType);
    }
    Ok(())
}

/// `scope` as RFC 8693 has it, one string; without it `scp`, which issuers fill with a list or with one string.
fn scopes(claims: &Object) -> Result<Scopes, AuthError> {
    match (claims.get("scope"), claims.get("scp")) {
        (Some(Value::String(text)), _) => {
            Scopes::parse(text).map_err(|_| AuthError::ClaimInvalid { claim: "scope" })
        }
        (Some(_), _) => Err(AuthError::ClaimInvalid { claim: "scope" }),
        (None, Some(value)) => scp(value).ok_or(AuthError::ClaimInvalid { claim: "scp" }),
        (None, None) => Ok(Scopes::none()),
    }
}

fn scp(value: &Value) -> Option<Scopes> {
    match value {
        Value::String(text) => Scopes::parse(text).ok(),
        Value::Array(list) => {
            let scopes: Vec<&str> = list.iter().map(Value::as_str).collect::<Option<_>>()?;
            Scopes::new(scopes).ok()
        }
        _ => None,
    }
}

fn required_name<'a>(claims: &'a Object, claim: &'static str) -> Result<&'a str, AuthError> {
    optional_name(claims, claim)?.ok_or(AuthError::ClaimMissing { claim })
}

fn optional_name<'a>(claims: &'a Object, claim: &'static str) -> Result<Option<&'a str>, AuthError> {
    match claims.get(claim) {
        None => Ok(None),
        Some(Value::String(text)) if is_name(text) => Ok(Some(text)),
        Some(_) => Err(AuthError::ClaimInvalid { claim }),
    }
}
