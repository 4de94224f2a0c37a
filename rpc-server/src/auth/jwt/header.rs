//! The header of a token (JOSE, RFC 7515).

use serde_json::Value;

use super::json::Object;
use super::key::is_key_id;
use crate::auth::AuthError;

/// Parameters that tell the verifier where to find a key or how to read the token differently. Every one of them has
/// let attackers bring their own key or their own rules somewhere (RFC 8725, section 3.10), and we need none.
const REFUSED: [&str; 8] = ["jku", "jwk", "x5u", "x5c", "crit", "b64", "zip", "enc"];

/// The two parameters that choose the key, and the token's type. Read before anything is verified.
pub(super) struct Header {
    pub(super) algorithm: String,
    pub(super) key_id: Option<String>,
    pub(super) has_type: bool,
}

impl Header {
    pub(super) fn decode(segment: &str) -> Result<Self, AuthError> {
        let object = Object::decode(segment, "header")?;
        if let Some(name) = REFUSED.into_iter().find(|name| object.contains(name)) {
            return Err(AuthError::HeaderRefused { name });
        }
        Ok(Self { algorithm: algorithm(&object)?, key_id: key_id(&object)?, has_type: has_type(&object)? })
    }
}

fn algorithm(object: &Object) -> Result<String, AuthError> {
    match object.get("alg") {
        Some(Value::String(name)) => Ok(name.clone()),
        _ => Err(AuthError::Malformed { what: "alg" }),
    }
}

/// The key id is a name to look up and nothing else: never a path, an address or part of a query.
fn key_id(object: &Object) -> Result<Option<String>, AuthError> {
    match object.get("kid") {
        None => Ok(None),
        Some(Value::String(id)) if is_key_id(id) => Ok(Some(id.clone())),
        Some(_) => Err(AuthError::Malformed { what: "kid" }),
    }
}

/// Whether a type is stated. Only the types of access tokens pass, so that a logout token or a proof of possession,
/// which may be signed by the same key for the same audience, cannot be used as one (RFC 8725, section 3.11).
//= A-7
fn has_type(object: &Object) -> Result<bool, AuthError> {
    let accepted = |name: &str| {
        ["JWT", "at+jwt", "application/at+jwt"].into_iter().any(|known| known.eq_ignore_ascii_case(name))
    };
    match object.get("typ") {
        None => Ok(false),
        Some(Value::String(name)) if accepted(name) => Ok(true),
        Some(_) => Err(AuthError::WrongType),
    }
}
