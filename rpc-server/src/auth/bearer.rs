//! The `authorization` header, parsed.

use std::fmt;

use http::HeaderMap;
use http::header::AUTHORIZATION;

use super::AuthError;

/// Longest token that is looked at: 8 KiB, the header bound of gRPC. Longer ones are refused before any decoding.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;

const SCHEME: &str = "bearer";

/// A bearer token as it was sent (RFC 6750): 1 to [`TOKEN_BYTES_MAX`] bytes of the `token68` alphabet.
///
/// Nothing about it is verified. `Debug` does not show it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Bearer<'a>(&'a str);

impl<'a> Bearer<'a> {
    /// Takes the bare token, without scheme.
    ///
    /// # Errors
    ///
    /// [`AuthError::TooLarge`] over the bound, [`AuthError::Malformed`] if empty or outside the alphabet.
    //= A-8
    pub fn new(token: &'a str) -> Result<Self, AuthError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(AuthError::TooLarge);
        }
        if !is_token68(token) {
            return Err(AuthError::Malformed { what: "token is not token68" });
        }
        Ok(Self(token))
    }

    /// Reads `authorization: Bearer <token>`; `None` if there is no such header.
    ///
    /// # Errors
    ///
    /// [`AuthError::Malformed`] if the header is repeated (proxies disagree about which one counts), its scheme is not
    /// `Bearer` (in any case), or anything but one space stands before the token; and those of [`Bearer::new`].
    pub fn from_headers(headers: &'a HeaderMap) -> Result<Option<Self>, AuthError> {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let Some(value) = values.next() else { return Ok(None) };
        if values.next().is_some() {
            return Err(AuthError::Malformed { what: "more than one authorization header" });
        }
        // Not `value.to_str()` on everything: the bound comes before any scan.
        if value.len() > SCHEME.len() + 1 + TOKEN_BYTES_MAX {
            return Err(AuthError::TooLarge);
        }
        let text = value.to_str().map_err(|_| AuthError::Malformed { what: "authorization is not ASCII" })?;
        let (scheme, token) =
            text.split_once(' ').ok_or(AuthError::Malformed { what: "authorization has no token" })?;
        if !scheme.eq_ignore_ascii_case(SCHEME) {
            return Err(AuthError::Malformed { what: "authorization scheme is not Bearer" });
        }
        Self::new(token).map(Some)
    }

    /// The token. Never log it.
    pub fn as_str(&self) -> &'a str {
        self.0
    }
}

impl fmt::Debug for Bearer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bearer({} bytes)", self.0.len())
    }
}

/// RFC 9110, section 11.2: `1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="`.
fn is_token68(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    !body.is_empty()
        && body.bytes().all(|byte| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/')
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn parse(values: &[&[u8]]) -> Result<Option<String>, AuthError> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_bytes(value).unwrap());
        }
        Ok(Bearer::from_headers(&headers)?.map(|bearer| bearer.as_str().to_owned()))
    }

    #[test]
    fn scheme_is_read_in_any_case() {
        for value in ["Bearer a.b-c_d~e+f/g==", "bearer a.b-c_d~e+f/g==", "BEARER a.b-c_d~e+f/g=="] {
            assert_eq!(parse(&[value.as_bytes()]).unwrap().as_deref(), Some("a.b-c_d~e+f/g=="));
        }
    }

    #[test]
    fn absent_header_is_no_error() {
        assert_eq!(parse(&[]), Ok(None));
    }

    #[test]
    fn everything_else_is_malformed() {
        let bad: &[&[&[u8]]] = &[
            &[b"Bearer a", b"Bearer a"],
            &[b"Bearer a", b"Basic a"],
            &[b""],
            &[b"Bearer"],
            &[b"Bearer "],
            &[b"Bearer  a"],
            &[b" Bearer a"],
            &[b"Bearer a "],
            &[b"Bearer\ta"],
            &[b"Bearer a b"],
            &[b"Bearer a,Bearer b"],
            &[b"Bearer \"a\""],
            &[b"Bearer =="],
            &[b"Bearer a=b"],
            &[b"Basic YTpi"],
            &[b"a.b.c"],
            &[b"Bearer \xff\xfe"],
        ];
        for values in bad {
            assert!(matches!(parse(values), Err(AuthError::Malformed { .. })), "{values:?}");
        }
    }

    #[test]
    fn bound_is_exact() {
        let longest = format!("Bearer {}", "a".repeat(TOKEN_BYTES_MAX));
        assert!(parse(&[longest.as_bytes()]).is_ok());
        let longer = format!("{longest}a");
        assert_eq!(parse(&[longer.as_bytes()]), Err(AuthError::TooLarge));
    }
}
