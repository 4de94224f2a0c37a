//! JSON objects from strangers.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde_json::Value;

use crate::auth::AuthError;

/// A JSON object in which no name stands twice.
///
/// RFC 7519 lets parsers take the last of two claims of one name. Two programs that choose differently then see two
/// different tokens, so we take neither.
pub(super) struct Object(BTreeMap<String, Value>);

impl Object {
    /// Reads one segment of a token. `what` names it in the error.
    pub(super) fn decode(segment: &str, what: &'static str) -> Result<Self, AuthError> {
        let bytes = decode_segment(segment, what)?;
        serde_json::from_slice(&bytes).map_err(|_| AuthError::Malformed { what })
    }

    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }
}

/// Strict base64url: no padding, no `+` or `/`, no loose bits at the end, so each token has one spelling only.
pub(super) fn decode_segment(segment: &str, what: &'static str) -> Result<Vec<u8>, AuthError> {
    URL_SAFE_NO_PAD.decode(segment).map_err(|_| AuthError::Malformed { what })
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor)
    }
}

struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = Object;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
        let mut members = BTreeMap::new();
        while let Some((name, value)) = map.next_entry::<String, Value>()? {
            if members.insert(name, value).is_some() {
                return Err(A::Error::custom("a name stands twice"));
            }
        }
        Ok(Object(members))
    }
}
