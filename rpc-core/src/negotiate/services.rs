//! Which services a session may use.

use crate::error::Reason;

/// A service that the initiator needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceRequest {
    /// Full name, such as `bank.v1.Ledger`.
    pub name: String,
    /// Version it was built for; 0: any.
    pub version: u32,
    /// Hash of the policy table it was built with; 0: not compared.
    pub policy_hash: u64,
}

/// A service that the acceptor has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offered<'a> {
    /// Full name.
    pub name: &'a str,
    /// Its version; 0: not compared.
    pub version: u32,
    /// Hash of its policy table; 0: not compared.
    pub policy_hash: u64,
    /// Whether this principal has the scopes of at least one of its methods.
    pub permitted: bool,
}

/// The answer for one service.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ServiceGrant {
    /// Full name.
    pub name: String,
    /// Granted, or why not.
    pub result: Grant,
}

/// Granted, or why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Grant {
    /// The session may use the service.
    Granted,
    /// It may not, for this reason.
    Refused(Reason),
}

/// Grants or refuses each service asked for; all that are permitted if none was asked for.
pub(super) fn grant(requests: &[ServiceRequest], offered: &[Offered<'_>]) -> Vec<ServiceGrant> {
    if requests.is_empty() {
        return offered
            .iter()
            .filter(|service| service.permitted)
            .map(|service| ServiceGrant { name: service.name.to_owned(), result: Grant::Granted })
            .collect();
    }
    requests
        .iter()
        .map(|request| {
            let found = offered.iter().find(|service| service.name == request.name);
            ServiceGrant { name: request.name.clone(), result: judge(request, found) }
        })
        .collect()
}

//= O-13
fn judge(request: &ServiceRequest, offered: Option<&Offered<'_>>) -> Grant {
    let Some(offered) = offered else { return Grant::Refused(Reason::ServiceUnknown) };
    if !offered.permitted {
        return Grant::Refused(Reason::ScopeMissing);
    }
    if differ(u64::from(request.version), u64::from(offered.version)) {
        return Grant::Refused(Reason::ServiceVersion);
    }
    if differ(request.policy_hash, offered.policy_hash) {
        return Grant::Refused(Reason::PolicyMismatch);
    }
    Grant::Granted
}

/// Zero on either side means that the two are not compared.
fn differ(requested: u64, offered: u64) -> bool {
    requested != 0 && offered != 0 && requested != offered
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEDGER: Offered<'_> =
        Offered { name: "bank.v1.Ledger", version: 2, policy_hash: 77, permitted: true };
    const ADMIN: Offered<'_> =
        Offered { name: "bank.v1.Admin", version: 0, policy_hash: 0, permitted: false };

    fn one(name: &str, version: u32, policy_hash: u64) -> Grant {
        let request = ServiceRequest { name: name.to_owned(), version, policy_hash };
        grant(&[request], &[LEDGER, ADMIN])[0].result
    }

    #[test]
    //= test O-13
    fn each_service_gets_its_answer() {
        assert_eq!(one("bank.v1.Ledger", 2, 77), Grant::Granted);
        assert_eq!(one("bank.v1.Ledger", 0, 0), Grant::Granted);
        assert_eq!(one("bank.v1.Ledger", 3, 77), Grant::Refused(Reason::ServiceVersion));
        assert_eq!(one("bank.v1.Ledger", 2, 78), Grant::Refused(Reason::PolicyMismatch));
        assert_eq!(one("bank.v1.Teller", 0, 0), Grant::Refused(Reason::ServiceUnknown));
        assert_eq!(one("bank.v1.Admin", 9, 9), Grant::Refused(Reason::ScopeMissing));
    }

    #[test]
    fn asking_for_nothing_grants_what_is_permitted() {
        let grants = grant(&[], &[LEDGER, ADMIN]);
        assert_eq!(grants, [ServiceGrant { name: LEDGER.name.to_owned(), result: Grant::Granted }]);
    }
}
