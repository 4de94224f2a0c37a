//! Headers of other versions of HTTP.

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{CONNECTION, TE},
};

/// What is about one connection of HTTP/1.
const OF_CONNECTION: [&str; 5] =
    ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"];

/// Removes headers that HTTP/2 does not know (RFC 9113, 8.2.2), for which h2 would refuse the whole message: those of a
/// connection, those that `connection` names, and a `te` other than `trailers`.
pub fn strip_connection_headers(headers: &mut HeaderMap) {
    // Mostly there are none, and one look at each name is cheaper than to search for five.
    let is_stray = |(name, value): (&HeaderName, &HeaderValue)| {
        OF_CONNECTION.contains(&name.as_str()) || (name == TE && value != "trailers")
    };
    if !headers.iter().any(is_stray) {
        return;
    }
    if let Some(named) = headers.remove(CONNECTION) {
        for name in named.to_str().unwrap_or_default().split(',') {
            headers.remove(name.trim());
        }
    }
    for name in OF_CONNECTION {
        headers.remove(name);
    }
    if headers.get(TE).is_some_and(|te| te != "trailers") {
        headers.remove(TE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stripped<const N: usize>(headers: [(&'static str, &'static str); N]) -> Vec<String> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name, value.parse().unwrap());
        }
        strip_connection_headers(&mut map);
        map.keys().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_of_a_connection_is_removed_and_what_it_names() {
        for name in ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"] {
            assert_eq!(stripped([("x-kept", "1"), (name, "x")]), ["x-kept"], "{name}");
        }
        assert_eq!(stripped([("connection", "close, x-hop"), ("x-hop", "1"), ("x-kept", "1")]), ["x-kept"]);
    }

    #[test]
    fn te_may_say_trailers_and_nothing_else() {
        assert_eq!(stripped([("te", "trailers")]), ["te"]);
        assert!(stripped([("te", "trailers, deflate")]).is_empty());
    }
}
