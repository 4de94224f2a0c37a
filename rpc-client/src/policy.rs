//! What each method promises, found by the path of a request.

use rpc_core::policy::{Delivery, MethodPolicy, ServicePolicy};

/// How a call is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    /// With a slot and a call id, sent again until its outcome is known.
    Protected(&'static MethodPolicy),
    /// Sent again until it is answered.
    AtLeastOnce(&'static MethodPolicy),
    /// Once, as it is.
    Plain(Option<&'static MethodPolicy>),
}

/// The policies of the services that a program declared, by path.
#[derive(Debug)]
pub(crate) struct Policies {
    services: Vec<&'static ServicePolicy>,
    /// Sorted by path. A search takes no allocation and, for a hundred methods, seven comparisons.
    methods: Vec<&'static MethodPolicy>,
}

impl Policies {
    pub(crate) fn new(services: Vec<&'static ServicePolicy>) -> Self {
        let mut methods: Vec<_> = services.iter().flat_map(|service| service.methods).collect();
        methods.sort_unstable_by_key(|method| method.path);
        Self { services, methods }
    }

    pub(crate) fn services(&self) -> &[&'static ServicePolicy] {
        &self.services
    }

    pub(crate) fn route(&self, path: &str) -> Route {
        let Ok(index) = self.methods.binary_search_by_key(&path, |method| method.path) else {
            return Route::Plain(None);
        };
        let method = self.methods[index];
        match method.delivery {
            Delivery::AtMostOnce | Delivery::ExactlyOnce => Route::Protected(method),
            // What streams cannot be kept for another try.
            Delivery::AtLeastOnce if !method.kind.streams() => Route::AtLeastOnce(method),
            Delivery::AtLeastOnce | Delivery::Plain => Route::Plain(Some(method)),
        }
    }
}

/// The service in a path: `bank.v1.Ledger` of `/bank.v1.Ledger/Transfer`.
pub(crate) fn service_of(path: &str) -> Option<&str> {
    path.strip_prefix('/')?.split_once('/').map(|(service, _)| service)
}

#[cfg(test)]
mod tests {
    use rpc_core::policy::MethodKind;

    use super::*;

    const fn method(path: &'static str, delivery: Delivery, kind: MethodKind) -> MethodPolicy {
        let mut method = MethodPolicy::plain(path, kind);
        method.delivery = delivery;
        method
    }

    static B: ServicePolicy = ServicePolicy {
        name: "b.B",
        version: 1,
        hash: 2,
        methods: &[
            method("/b.B/Once", Delivery::AtMostOnce, MethodKind::Unary),
            method("/b.B/Again", Delivery::AtLeastOnce, MethodKind::Unary),
            method("/b.B/AgainStream", Delivery::AtLeastOnce, MethodKind::ServerStreaming),
            method("/b.B/Plain", Delivery::Plain, MethodKind::Unary),
        ],
    };
    static A: ServicePolicy = ServicePolicy {
        name: "a.A",
        version: 0,
        hash: 0,
        methods: &[method("/a.A/Exact", Delivery::ExactlyOnce, MethodKind::Unary)],
    };

    #[test]
    fn every_declared_method_is_found_and_no_other() {
        let policies = Policies::new(vec![&B, &A]);
        assert_eq!(policies.route("/b.B/Once"), Route::Protected(&B.methods[0]));
        assert_eq!(policies.route("/b.B/Again"), Route::AtLeastOnce(&B.methods[1]));
        assert_eq!(policies.route("/b.B/AgainStream"), Route::Plain(Some(&B.methods[2])));
        assert_eq!(policies.route("/b.B/Plain"), Route::Plain(Some(&B.methods[3])));
        assert_eq!(policies.route("/a.A/Exact"), Route::Protected(&A.methods[0]));
        for path in ["", "/", "/b.B", "/b.B/", "/b.B/once", "/c.C/Once", "b.B/Once"] {
            assert_eq!(policies.route(path), Route::Plain(None), "{path:?}");
        }
    }

    #[test]
    fn a_path_names_its_service() {
        assert_eq!(service_of("/b.B/Once"), Some("b.B"));
        assert_eq!((service_of("/b.B"), service_of("b.B/Once"), service_of("")), (None, None, None));
    }
}
