//! What this server serves: services, methods and their policies, found by path.

use std::collections::BTreeMap;
use std::collections::HashMap;

use rpc_core::negotiate::Offered;
use rpc_core::policy::{Cancellation, Delivery, MethodPolicy, Record, ServicePolicy};
use rpc_core::store::Durability;

/// Path prefix of the session service.
const SESSION_SERVICE: &str = "session.v1.SessionService";

/// Who may call a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Anybody: health and reflection.
    Public,
    /// A caller with a token or a session.
    Authenticated,
}

/// Methods of the session service that are judged apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    /// `Open` needs a token and no session.
    Open,
    /// `Renew` may bring a token of another principal, and is told so.
    Renew,
    /// `Release` is answered once more for a session that it has ended.
    Release,
    /// All others need a session and nothing else.
    Other,
}

/// What a path names.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target<'a> {
    /// A method of the session service.
    SessionService(Verb),
    /// A method with a policy.
    Method(&'static MethodPolicy),
    /// Some method of a service that has no policy table.
    Plain { service: &'a str, access: Access },
    /// A service of this server without such a method.
    UnknownMethod { service: &'a str },
    /// Nothing here.
    Unknown,
}

impl Target<'_> {
    /// The policy of the method, if it has one.
    pub(crate) fn policy(&self) -> Option<&'static MethodPolicy> {
        match self {
            Self::Method(policy) => Some(policy),
            Self::SessionService(_) | Self::Plain { .. } | Self::UnknownMethod { .. } | Self::Unknown => None,
        }
    }
}

/// The services of one server. Built once, read by every call.
#[derive(Debug, Default)]
pub(crate) struct Methods {
    methods: HashMap<&'static str, &'static MethodPolicy>,
    services: BTreeMap<&'static str, Service>,
}

#[derive(Debug)]
struct Service {
    policy: Option<&'static ServicePolicy>,
    access: Access,
}

impl Methods {
    /// Adds a service with a policy table.
    pub(crate) fn add(&mut self, policy: &'static ServicePolicy) {
        self.methods.extend(policy.methods.iter().map(|method| (method.path, method)));
        self.services.insert(policy.name, Service { policy: Some(policy), access: Access::Authenticated });
    }

    /// Adds a service without one.
    pub(crate) fn add_plain(&mut self, name: &'static str, access: Access) {
        self.services.insert(name, Service { policy: None, access });
    }

    /// The names of all services.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.services.keys().copied()
    }

    /// What `path` names.
    pub(crate) fn find<'a>(&self, path: &'a str) -> Target<'a> {
        if let Some(policy) = self.methods.get(path) {
            return Target::Method(policy);
        }
        let Some((service, method)) = path.strip_prefix('/').and_then(|path| path.split_once('/')) else {
            return Target::Unknown;
        };
        if service == SESSION_SERVICE {
            return Target::SessionService(match method {
                "Open" => Verb::Open,
                "Renew" => Verb::Renew,
                "Release" => Verb::Release,
                _ => Verb::Other,
            });
        }
        match self.services.get(service) {
            Some(Service { policy: Some(_), .. }) => Target::UnknownMethod { service },
            Some(Service { policy: None, access }) => Target::Plain { service, access: *access },
            None => Target::Unknown,
        }
    }

    /// What a caller that `holds` scopes is offered.
    pub(crate) fn offered(&self, holds: impl Fn(&[&str]) -> bool) -> Vec<Offered<'static>> {
        self.services
            .iter()
            .filter(|(_, service)| service.access == Access::Authenticated)
            .map(|(name, service)| Offered {
                name,
                version: service.policy.map_or(0, |policy| policy.version),
                policy_hash: service.policy.map_or(0, |policy| policy.hash),
                permitted: service
                    .policy
                    .is_none_or(|policy| policy.methods.iter().any(|method| holds(method.scopes))),
            })
            .collect()
    }

    /// Whether there are methods whose calls are kept in memory only: the next server on the same store cannot know what
    /// became of those. With `durable` the streams are kept that [may be](streams_durably).
    pub(crate) fn are_forgetful(&self, durable: bool) -> bool {
        let forgotten = |method: &MethodPolicy| match method.delivery {
            Delivery::AtMostOnce => method.record == Record::Memory,
            Delivery::Plain | Delivery::AtLeastOnce => {
                method.checkpoint.is_some() && !(durable && streams_durably(method))
            }
            Delivery::ExactlyOnce => false,
        };
        self.methods.values().any(|method| forgotten(method))
    }

    /// The first promise of a policy that a server with such a store cannot keep.
    pub(crate) fn first_unkept(&self, durability: Durability) -> Option<Unkept> {
        self.methods.values().find_map(|method| {
            let why = unkept(method, durability)?;
            Some(Unkept { method: method.path, why })
        })
    }
}

/// A promise that this server cannot keep. It does not start: a promise that is not kept is a lie to every caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{method} {why}")]
pub struct Unkept {
    /// Path of the method.
    pub method: &'static str,
    /// Which promise, and what would keep it.
    pub why: &'static str,
}

//= C-56
fn unkept(method: &MethodPolicy, durability: Durability) -> Option<&'static str> {
    match (method.delivery, method.record, durability) {
        //= C-55
        (Delivery::ExactlyOnce, _, Durability::Volatile) => Some(
            "is EXACTLY_ONCE, and the store forgets effects and replies with the process: give it a durable store",
        ),
        (Delivery::AtMostOnce, Record::Durable, Durability::Volatile) => Some(
            "records its calls durably, and the store forgets them with the process: \
             give it a durable store, or say `record: MEMORY`",
        ),
        (Delivery::ExactlyOnce, ..) if method.kind.streams() => {
            Some("streams, and EXACTLY_ONCE is for calls of one message each way: say AT_MOST_ONCE")
        }
        (Delivery::AtMostOnce | Delivery::ExactlyOnce, ..)
        | (Delivery::Plain | Delivery::AtLeastOnce, ..) => None,
    }
}

/// Whether what is secured of a method's streams is kept in a durable store, where the session has agreed on that.
pub(crate) fn streams_durably(method: &MethodPolicy) -> bool {
    let in_memory = method.is_protected() && method.record == Record::Memory;
    method.kind.streams() && method.checkpoint.is_some() && !in_memory
}

/// Whether the handler of a method may be stopped.
pub(crate) fn may_stop(method: &MethodPolicy) -> bool {
    method.cancellation == Cancellation::Stop
}

#[cfg(test)]
mod tests {
    use rpc_core::policy::{Checkpoint, Exclusive, ExclusiveScope, MethodKind, Secure};

    use super::*;

    const PLAIN: MethodPolicy = MethodPolicy::plain("/bank.v1.Ledger/Balance", MethodKind::Unary);
    const BULK: Exclusive = Exclusive { class: "bulk", scope: ExclusiveScope::Principal };
    const ADMIN: MethodPolicy =
        MethodPolicy { scopes: &["admin"], ..MethodPolicy::plain("/bank.v1.Admin/Reset", MethodKind::Unary) };

    static LEDGER: ServicePolicy =
        ServicePolicy { name: "bank.v1.Ledger", version: 2, hash: 7, methods: &[PLAIN] };
    static ADMINISTRATION: ServicePolicy =
        ServicePolicy { name: "bank.v1.Admin", version: 0, hash: 8, methods: &[ADMIN] };

    fn methods() -> Methods {
        let mut methods = Methods::default();
        methods.add(&LEDGER);
        methods.add(&ADMINISTRATION);
        methods.add_plain("grpc.health.v1.Health", Access::Public);
        methods.add_plain("old.Service", Access::Authenticated);
        methods
    }

    #[test]
    fn a_path_names_what_it_names() {
        let methods = methods();
        assert!(matches!(methods.find("/bank.v1.Ledger/Balance"), Target::Method(p) if p.path == PLAIN.path));
        assert!(matches!(
            methods.find("/bank.v1.Ledger/Nope"),
            Target::UnknownMethod { service: "bank.v1.Ledger" }
        ));
        assert!(matches!(
            methods.find("/session.v1.SessionService/Open"),
            Target::SessionService(Verb::Open)
        ));
        assert!(matches!(
            methods.find("/session.v1.SessionService/Query"),
            Target::SessionService(Verb::Other)
        ));
        assert!(matches!(
            methods.find("/grpc.health.v1.Health/Check"),
            Target::Plain { access: Access::Public, .. }
        ));
        for path in ["", "/", "//", "/bank.v1.Ledger", "bank.v1.Ledger/Balance", "/x/y", "*"] {
            assert!(matches!(methods.find(path), Target::Unknown), "{path}");
        }
    }

    #[test]
    fn a_service_is_offered_to_those_who_may_call_one_of_its_methods() {
        let offered = methods().offered(|scopes| scopes.is_empty());
        let names: Vec<_> = offered.iter().map(|service| (service.name, service.permitted)).collect();
        assert_eq!(names, [("bank.v1.Admin", false), ("bank.v1.Ledger", true), ("old.Service", true)]);
    }

    fn checkpoint(secure: Secure) -> Checkpoint {
        Checkpoint { every_messages: Some(40), every_bytes: None, every: None, secure }
    }

    //= test C-56
    #[test]
    fn a_promise_that_cannot_be_kept_is_named() {
        let memory = MethodPolicy { delivery: Delivery::AtMostOnce, ..PLAIN };
        assert_eq!(unkept(&PLAIN, Durability::Volatile), None);
        assert_eq!(unkept(&memory, Durability::Volatile), None);
        assert_eq!(unkept(&MethodPolicy { exclusive: Some(BULK), ..PLAIN }, Durability::Volatile), None);
        assert_eq!(unkept(&MethodPolicy { half_duplex: true, ..PLAIN }, Durability::Volatile), None);
        for secure in [Secure::Automatic, Secure::Explicit] {
            let streams = MethodPolicy { checkpoint: Some(checkpoint(secure)), ..PLAIN };
            assert_eq!(unkept(&streams, Durability::Volatile), None);
        }
        for method in [
            MethodPolicy { record: Record::Durable, ..memory },
            MethodPolicy { delivery: Delivery::ExactlyOnce, record: Record::Durable, ..PLAIN },
        ] {
            assert!(unkept(&method, Durability::Volatile).is_some(), "{method:?}");
        }
    }

    //= test C-55
    #[test]
    fn a_durable_store_keeps_calls_and_transactions() {
        let durable = MethodPolicy { delivery: Delivery::AtMostOnce, record: Record::Durable, ..PLAIN };
        let exactly_once = MethodPolicy { delivery: Delivery::ExactlyOnce, ..durable };
        for method in [durable, exactly_once] {
            assert!(unkept(&method, Durability::Volatile).is_some());
            assert_eq!(unkept(&method, Durability::Durable), None);
        }
        let streams = |method| MethodPolicy { kind: MethodKind::ClientStreaming, ..method };
        assert_eq!(unkept(&streams(durable), Durability::Durable), None);
        assert!(unkept(&streams(exactly_once), Durability::Durable).is_some());
    }

    #[test]
    fn methods_that_the_store_does_not_hear_of_are_forgetful() {
        static DURABLE: [MethodPolicy; 1] =
            [MethodPolicy { delivery: Delivery::AtMostOnce, record: Record::Durable, ..PLAIN }];
        static MEMORY: [MethodPolicy; 1] =
            [MethodPolicy { delivery: Delivery::AtMostOnce, record: Record::Memory, ..PLAIN }];
        static ALL: [ServicePolicy; 2] =
            [ServicePolicy { methods: &DURABLE, ..LEDGER }, ServicePolicy { methods: &MEMORY, ..LEDGER }];
        let mut methods = Methods::default();
        methods.add(&ALL[0]);
        assert!(!methods.are_forgetful(true));
        methods.add(&ALL[1]);
        assert!(methods.are_forgetful(true));
    }

    #[test]
    fn a_stream_with_checkpoints_is_kept_unless_its_calls_are_kept_in_memory() {
        const STREAM: MethodPolicy = MethodPolicy {
            kind: MethodKind::ServerStreaming,
            checkpoint: Some(Checkpoint {
                every_messages: Some(40),
                every_bytes: None,
                every: None,
                secure: Secure::Automatic,
            }),
            ..PLAIN
        };
        static STREAMS: [MethodPolicy; 1] = [STREAM];
        static SERVICE: ServicePolicy = ServicePolicy { methods: &STREAMS, ..LEDGER };
        let protected = MethodPolicy { delivery: Delivery::AtMostOnce, record: Record::Durable, ..STREAM };
        assert!(streams_durably(&STREAM) && streams_durably(&protected));
        for not in [
            MethodPolicy { record: Record::Memory, ..protected },
            MethodPolicy { checkpoint: None, ..STREAM },
            MethodPolicy { kind: MethodKind::Unary, ..STREAM },
        ] {
            assert!(!streams_durably(&not), "{not:?}");
        }
        let mut methods = Methods::default();
        methods.add(&SERVICE);
        assert!(methods.are_forgetful(false) && !methods.are_forgetful(true));
    }
}
