//! The hash that both sides of a session compare to see that they were built from the same promises.

use std::time::Duration;

use rpc_core::policy::{Cancellation, Delivery, ExclusiveScope, MethodKind, Record, Secure};
use xxhash_rust::xxh3::xxh3_64;

use crate::table::{Checkpoint, Exclusive, Method, Service};

/// Begins every serialisation; a change of the layout below must change it.
const LAYOUT: u8 = 3;

/// XXH3-64 of the table's canonical serialisation.
///
/// Methods and scopes are sorted first: moving a method within its file changes no promise. Comments and messages are
/// no part of the table. Zero means "not compared" on the wire, so a hash that happens to be zero becomes one.
pub(crate) fn hash(service: &Service) -> u64 {
    xxh3_64(&serialise(service)).max(1)
}

/// Strings and lists begin with their length, options with 0 or 1, numbers are little-endian, enums one byte: no two
/// tables share their bytes.
fn serialise(service: &Service) -> Vec<u8> {
    let mut bytes = Writer(vec![LAYOUT]);
    bytes.text(&service.name);
    bytes.number(u64::from(service.version));
    let mut methods: Vec<_> = service.methods.iter().collect();
    methods.sort_by(|left, right| left.path.cmp(&right.path));
    bytes.length(methods.len());
    for method in methods {
        bytes.method(method);
    }
    bytes.0
}

struct Writer(Vec<u8>);

impl Writer {
    fn method(&mut self, method: &Method) {
        self.text(&method.path);
        self.byte(match method.kind {
            MethodKind::Unary => 0,
            MethodKind::ClientStreaming => 1,
            MethodKind::ServerStreaming => 2,
            MethodKind::Bidirectional => 3,
        });
        self.byte(match method.delivery {
            Delivery::Plain => 0,
            Delivery::AtLeastOnce => 1,
            Delivery::AtMostOnce => 2,
            Delivery::ExactlyOnce => 3,
        });
        self.byte(match method.record {
            Record::Durable => 1,
            Record::Memory => 2,
        });
        self.byte(match method.cancellation {
            Cancellation::Finish => 1,
            Cancellation::Stop => 2,
        });
        self.byte(u8::from(method.idempotent));
        self.option(method.timeout, Self::duration);
        let mut scopes = method.scopes.clone();
        scopes.sort();
        self.length(scopes.len());
        scopes.iter().for_each(|scope| self.text(scope));
        self.option(method.reply_bytes_max, |bytes, max| bytes.number(u64::from(max)));
        self.option(method.checkpoint, Self::checkpoint);
        self.option(method.exclusive.as_ref(), Self::exclusive);
        self.byte(u8::from(method.dialog));
        self.byte(u8::from(method.half_duplex));
        self.byte(u8::from(method.dead_man));
    }

    fn exclusive(&mut self, exclusive: &Exclusive) {
        self.text(&exclusive.class);
        self.byte(match exclusive.scope {
            ExclusiveScope::Principal => 1,
            ExclusiveScope::Session => 2,
        });
    }

    fn checkpoint(&mut self, checkpoint: Checkpoint) {
        self.option(checkpoint.every_messages, |bytes, messages| bytes.number(u64::from(messages)));
        self.option(checkpoint.every_bytes, Self::number);
        self.option(checkpoint.every, Self::duration);
        self.byte(match checkpoint.secure {
            Secure::Automatic => 1,
            Secure::Explicit => 2,
        });
    }

    fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.byte(u8::from(value.is_some()));
        if let Some(value) = value {
            write(self, value);
        }
    }

    fn duration(&mut self, duration: Duration) {
        self.number(duration.as_secs());
        self.number(u64::from(duration.subsec_nanos()));
    }

    fn text(&mut self, text: &str) {
        self.length(text.len());
        self.0.extend_from_slice(text.as_bytes());
    }

    fn length(&mut self, length: usize) {
        self.number(length as u64);
    }

    fn number(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn method(path: &str) -> Method {
        Method {
            path: path.to_owned(),
            kind: MethodKind::Unary,
            delivery: Delivery::Plain,
            record: Record::Memory,
            cancellation: Cancellation::Stop,
            idempotent: false,
            timeout: None,
            scopes: Vec::new(),
            reply_bytes_max: None,
            checkpoint: None,
            exclusive: None,
            dialog: false,
            half_duplex: false,
            dead_man: false,
        }
    }

    fn service(methods: Vec<Method>) -> Service {
        Service { name: "a.v1.A".to_owned(), version: 0, methods }
    }

    #[test]
    fn the_serialisation_never_changes_unnoticed() {
        let mut expected = vec![3, 6, 0, 0, 0, 0, 0, 0, 0];
        expected.extend_from_slice(b"a.v1.A");
        expected.extend_from_slice(&[0; 8]);
        expected.extend_from_slice(&[1, 0, 0, 0, 0, 0, 0, 0]);
        expected.extend_from_slice(&[9, 0, 0, 0, 0, 0, 0, 0]);
        expected.extend_from_slice(b"/a.v1.A/M");
        expected.extend_from_slice(&[0, 0, 2, 2, 0, 0]);
        expected.extend_from_slice(&[0; 8]);
        expected.extend_from_slice(&[0, 0, 0, 0, 0, 0]);
        assert_eq!(serialise(&service(vec![method("/a.v1.A/M")])), expected);
    }

    #[test]
    fn order_of_methods_and_scopes_does_not_matter() {
        let scoped = |scopes: &[&str]| {
            let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
            Method { scopes, ..method("/a.v1.A/M") }
        };
        let left = service(vec![scoped(&["a", "b"]), method("/a.v1.A/N")]);
        let right = service(vec![method("/a.v1.A/N"), scoped(&["b", "a"])]);
        assert_eq!(hash(&left), hash(&right));
    }

    #[test]
    fn every_promise_counts() {
        let plain = method("/a.v1.A/M");
        let checkpoint =
            Checkpoint { every_messages: Some(1), every_bytes: None, every: None, secure: Secure::Automatic };
        let bulk = Exclusive { class: "bulk".to_owned(), scope: ExclusiveScope::Principal };
        let changed = [
            plain.clone(),
            method("/a.v1.A/N"),
            Method { kind: MethodKind::Bidirectional, ..plain.clone() },
            Method { delivery: Delivery::AtMostOnce, ..plain.clone() },
            Method { record: Record::Durable, ..plain.clone() },
            Method { cancellation: Cancellation::Finish, ..plain.clone() },
            Method { idempotent: true, ..plain.clone() },
            Method { timeout: Some(Duration::from_nanos(1)), ..plain.clone() },
            Method { timeout: Some(Duration::from_secs(1)), ..plain.clone() },
            Method { scopes: vec!["a".to_owned()], ..plain.clone() },
            Method { scopes: vec!["a".to_owned(), "b".to_owned()], ..plain.clone() },
            Method { reply_bytes_max: Some(1), ..plain.clone() },
            Method { checkpoint: Some(checkpoint), ..plain.clone() },
            Method { checkpoint: Some(Checkpoint { every_bytes: Some(1), ..checkpoint }), ..plain.clone() },
            Method {
                checkpoint: Some(Checkpoint { secure: Secure::Explicit, ..checkpoint }),
                ..plain.clone()
            },
            Method { exclusive: Some(bulk.clone()), ..plain.clone() },
            Method { exclusive: Some(Exclusive { scope: ExclusiveScope::Session, ..bulk }), ..plain.clone() },
            Method { dialog: true, ..plain.clone() },
            Method { half_duplex: true, ..plain.clone() },
            Method { dead_man: true, ..plain },
        ];
        let mut hashes: Vec<_> = changed.into_iter().map(|method| hash(&service(vec![method]))).collect();
        hashes.push(hash(&Service { version: 1, ..service(vec![method("/a.v1.A/M")]) }));
        hashes.push(hash(&service(Vec::new())));
        let count = hashes.len();
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), count);
    }
}
