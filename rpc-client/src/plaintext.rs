//! Where token and ticket may travel in the clear.

use std::net::IpAddr;

use http::Uri;

use crate::error::OpenError;

/// Where a session may go without TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plaintext {
    Loopback,
    Anywhere,
}

impl Plaintext {
    //= A-25
    /// Refuses a target that would show token and ticket.
    pub(crate) fn check(self, target: &Uri) -> Result<(), OpenError> {
        let host = target.host().unwrap_or_default();
        if self == Self::Loopback && target.scheme_str() == Some("http") && !is_loopback(host) {
            return Err(OpenError::Plaintext { host: host.to_owned() });
        }
        Ok(())
    }
}

/// Whether the host of a URI is this one, by its name alone: nobody is asked what a name stands for. Where it is not,
/// neither token nor ticket may go there without TLS.
pub fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    match address.parse::<IpAddr>() {
        Ok(address) => address.is_loopback(),
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    //= test A-25
    #[test]
    fn only_loopback_addresses_are_reached_without_tls() {
        for (target, allowed) in [
            ("http://127.0.0.1:1", true),
            ("http://127.9.9.9:1", true),
            ("http://[::1]:1", true),
            ("http://localhost:1", true),
            ("http://LOCALHOST", true),
            ("https://ledger.example", true),
            ("http://ledger.example", false),
            ("http://localhost.example", false),
            ("http://10.0.0.1:1", false),
            ("http://0.0.0.0:1", false),
            ("http://[::]:1", false),
            ("http://127.0.0.1.example:1", false),
        ] {
            let uri: Uri = target.parse().unwrap();
            assert_eq!(Plaintext::Loopback.check(&uri).is_ok(), allowed, "{target}");
            assert!(Plaintext::Anywhere.check(&uri).is_ok());
        }
    }
}
