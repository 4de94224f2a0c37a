//! Headers of other versions of HTTP.

use http::{HeaderMap, HeaderName, header::CONNECTION};

/// Removes headers that HTTP/2 does not know (RFC 9113, 8.2.2), for which h2 would refuse the whole message: those of a
/// connection, those that `connection` names, and a `te` other than `trailers`.
pub fn strip_connection_headers(headers: &mut HeaderMap) {
    // Mostly there are none, and one look at each name is cheaper than to search for five.
    if !headers.iter().any(|(name, value)| is_of_connection(name) || (name == "te" && value != "trailers")) {
        return;
    }
    if let Some(named) = headers.remove(CONNECTION) {
        for name in named.to_str().unwrap_or_default().split(',') {
            headers.remove(name.trim());
        }
    }
    for name in ["keep-alive", "proxy-connection", "transfer-encoding", "upgrade"] {
        headers.remove(name);
    }
    if headers.get("te").is_some_and(|te| te != "trailers") {
        headers.remove("te");
    }
}

fn is_of_connection(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection" | "keep-alive" | "proxy-connection" | "transfer-encoding" | "upgrade"
    )
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
