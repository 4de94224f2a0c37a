//! The policy of one method: what its options mean, what unset ones default to, and what contradicts.

use prost_reflect::{ExtensionDescriptor, MethodDescriptor};
use prost_types::method_options::IdempotencyLevel;
use rpc_core::policy::{Cancellation, Delivery, ExclusiveScope, MethodKind, Record, Secure};

use crate::{
    error::Problem,
    location::Locator,
    options::{self, checkpoint, method_options},
    service::option_places,
    table, value,
};

/// Number of the field `options` in `google.protobuf.MethodDescriptorProto`.
const METHOD_OPTIONS: i32 = 4;

/// Resolves the options of one method.
pub(crate) struct Resolver<'a> {
    method: MethodDescriptor,
    /// `None` if no file imports the options; then none are set either.
    extension: Option<&'a ExtensionDescriptor>,
    options: options::MethodOptions,
    kind: MethodKind,
    service_scopes: &'a [String],
    locator: &'a Locator,
}

impl<'a> Resolver<'a> {
    pub(crate) fn new(
        method: MethodDescriptor,
        extension: Option<&'a ExtensionDescriptor>,
        options: options::MethodOptions,
        service_scopes: &'a [String],
        locator: &'a Locator,
    ) -> Self {
        let kind = match (method.is_client_streaming(), method.is_server_streaming()) {
            (false, false) => MethodKind::Unary,
            (true, false) => MethodKind::ClientStreaming,
            (false, true) => MethodKind::ServerStreaming,
            (true, true) => MethodKind::Bidirectional,
        };
        Self { method, extension, options, kind, service_scopes, locator }
    }

    /// The policy, or the first thing that is wrong with it.
    pub(crate) fn resolve(&self) -> Result<table::Method, Problem> {
        let delivery = self.delivery()?;
        Ok(table::Method {
            path: format!("/{}/{}", self.method.parent_service().full_name(), self.method.name()),
            kind: self.kind,
            delivery,
            record: self.record(delivery)?,
            cancellation: self.cancellation(delivery)?,
            idempotent: self.idempotent(delivery)?,
            timeout: self.timeout()?,
            scopes: self.scopes()?,
            reply_bytes_max: self.reply_bytes_max(delivery)?,
            checkpoint: self.checkpoint()?,
            exclusive: self.exclusive()?,
            dialog: self.dialog()?,
            half_duplex: self.half_duplex()?,
            dead_man: self.dead_man(delivery)?,
        })
    }

    fn delivery(&self) -> Result<Delivery, Problem> {
        use method_options::Delivery as Option;
        let delivery = match self.known("delivery", self.options.delivery)? {
            Option::Unspecified => return Ok(Delivery::Plain),
            Option::AtLeastOnce => Delivery::AtLeastOnce,
            Option::AtMostOnce => Delivery::AtMostOnce,
            Option::ExactlyOnce => Delivery::ExactlyOnce,
        };
        let requests_stream = matches!(self.kind, MethodKind::ClientStreaming | MethodKind::Bidirectional);
        let checkpoint = self.options.checkpoint.is_some();
        match delivery {
            Delivery::ExactlyOnce if self.kind.streams() => Err(self.wrong(
                "delivery",
                "`delivery: EXACTLY_ONCE` is for methods that do not stream: \
                 effect and reply commit in one transaction",
            )),
            // Neither a stream of requests nor one of replies fits into the record of a slot.
            Delivery::AtMostOnce if self.kind.streams() && !checkpoint => Err(self.wrong(
                "delivery",
                "`delivery: AT_MOST_ONCE` on a method that streams needs `checkpoint`: \
                 without sync points a stream does not survive the loss of its connection",
            )),
            // One request is kept and sent again; replies that the caller saw already are not the session's to judge.
            Delivery::AtLeastOnce if requests_stream && !checkpoint => Err(self.wrong(
                "delivery",
                "`delivery: AT_LEAST_ONCE` on a method whose requests stream needs `checkpoint`: \
                 without sync points nothing keeps the requests to send them again",
            )),
            Delivery::Plain | Delivery::AtLeastOnce | Delivery::AtMostOnce | Delivery::ExactlyOnce => {
                Ok(delivery)
            }
        }
    }

    fn record(&self, delivery: Delivery) -> Result<Record, Problem> {
        use method_options::Record as Option;
        match (delivery, self.known("record", self.options.record)?) {
            (Delivery::AtMostOnce, Option::Memory) => Ok(Record::Memory),
            (Delivery::AtMostOnce | Delivery::ExactlyOnce, Option::Unspecified | Option::Durable) => {
                Ok(Record::Durable)
            }
            (Delivery::ExactlyOnce, Option::Memory) => Err(self.wrong(
                "record",
                "`record: MEMORY` contradicts `delivery: EXACTLY_ONCE`, \
                 whose record commits in the store together with the effect",
            )),
            // What a plain method has in the core's table, too; nobody reads it.
            (Delivery::Plain | Delivery::AtLeastOnce, Option::Unspecified) => Ok(Record::Memory),
            (Delivery::Plain | Delivery::AtLeastOnce, Option::Durable | Option::Memory) => Err(self.wrong(
                "record",
                "`record` needs `delivery: AT_MOST_ONCE`: of other calls there is no record to place",
            )),
        }
    }

    fn cancellation(&self, delivery: Delivery) -> Result<Cancellation, Problem> {
        use method_options::Cancellation as Option;
        match (delivery, self.known("cancellation", self.options.cancellation)?) {
            (Delivery::AtMostOnce | Delivery::ExactlyOnce, Option::Unspecified | Option::Finish) => {
                Ok(Cancellation::Finish)
            }
            (Delivery::AtMostOnce, Option::Stop) => Ok(Cancellation::Stop),
            (Delivery::ExactlyOnce, Option::Stop) => Err(self.wrong(
                "cancellation",
                "`cancellation: STOP` contradicts `delivery: EXACTLY_ONCE`: \
                 the outcome of a handler that is stopped is unknown",
            )),
            (Delivery::Plain | Delivery::AtLeastOnce, Option::Unspecified | Option::Stop) => {
                Ok(Cancellation::Stop)
            }
            (Delivery::Plain | Delivery::AtLeastOnce, Option::Finish) => Err(self.wrong(
                "cancellation",
                "`cancellation: FINISH` needs `delivery: AT_MOST_ONCE` or `EXACTLY_ONCE`: \
                 of other calls no reply is recorded",
            )),
        }
    }

    fn idempotent(&self, delivery: Delivery) -> Result<bool, Problem> {
        if self.options.idempotent && delivery != Delivery::AtMostOnce {
            let text = "`idempotent` needs `delivery: AT_MOST_ONCE`: of other calls none is left in doubt by a crash";
            return Err(self.wrong("idempotent", text));
        }
        let level = self
            .method
            .method_descriptor_proto()
            .options
            .as_ref()
            .map(prost_types::MethodOptions::idempotency_level);
        let declared = matches!(level, Some(IdempotencyLevel::Idempotent | IdempotencyLevel::NoSideEffects));
        Ok(delivery == Delivery::AtMostOnce && (self.options.idempotent || declared))
    }

    fn timeout(&self) -> Result<Option<std::time::Duration>, Problem> {
        let Some(timeout) = &self.options.timeout else { return Ok(None) };
        value::duration("timeout", timeout).map(Some).map_err(|text| self.wrong("timeout", text))
    }

    fn scopes(&self) -> Result<Vec<String>, Problem> {
        if self.options.scopes.is_empty() {
            return Ok(self.service_scopes.to_vec());
        }
        value::scopes(&self.options.scopes).map_err(|text| self.wrong("scopes", text))
    }

    fn reply_bytes_max(&self, delivery: Delivery) -> Result<Option<u32>, Problem> {
        let bytes = self.options.reply_bytes_max;
        match delivery {
            Delivery::AtMostOnce | Delivery::ExactlyOnce => Ok((bytes > 0).then_some(bytes)),
            Delivery::Plain | Delivery::AtLeastOnce if bytes == 0 => Ok(None),
            Delivery::Plain | Delivery::AtLeastOnce => Err(self.wrong(
                "reply_bytes_max",
                "`reply_bytes_max` needs `delivery: AT_MOST_ONCE` or `EXACTLY_ONCE`: \
                 of other calls no reply is kept",
            )),
        }
    }

    fn checkpoint(&self) -> Result<Option<table::Checkpoint>, Problem> {
        use checkpoint::Secure as Option;
        let Some(checkpoint) = &self.options.checkpoint else { return Ok(None) };
        if !self.kind.streams() {
            let text =
                "`checkpoint` is for methods that stream: a single message has no place for a sync point";
            return Err(self.wrong("checkpoint", text));
        }
        let every = checkpoint.every.as_ref().map(|every| value::duration("checkpoint.every", every));
        let resolved = table::Checkpoint {
            every_messages: (checkpoint.every_messages > 0).then_some(checkpoint.every_messages),
            every_bytes: (checkpoint.every_bytes > 0).then_some(checkpoint.every_bytes),
            every: every.transpose().map_err(|text| self.wrong("checkpoint", text))?,
            secure: match self.known_in("checkpoint", "checkpoint.secure", checkpoint.secure)? {
                Option::Unspecified | Option::Automatic => Secure::Automatic,
                Option::Explicit => Secure::Explicit,
            },
        };
        if resolved.every_messages.is_none() && resolved.every_bytes.is_none() && resolved.every.is_none() {
            let text = "`checkpoint` needs at least one of `every_messages`, `every_bytes` and `every`";
            return Err(self.wrong("checkpoint", text));
        }
        Ok(Some(resolved))
    }

    fn exclusive(&self) -> Result<Option<table::Exclusive>, Problem> {
        use method_options::ExclusiveScope as Option;
        let scope = self.known("exclusive_scope", self.options.exclusive_scope)?;
        let class = value::class(&self.options.exclusive).map_err(|text| self.wrong("exclusive", text))?;
        match (class, scope) {
            (Some(class), Option::Unspecified | Option::Principal) => {
                Ok(Some(table::Exclusive { class, scope: ExclusiveScope::Principal }))
            }
            (Some(class), Option::Session) => {
                Ok(Some(table::Exclusive { class, scope: ExclusiveScope::Session }))
            }
            (None, Option::Unspecified) => Ok(None),
            (None, Option::Principal | Option::Session) => Err(self.wrong(
                "exclusive_scope",
                "`exclusive_scope` needs `exclusive`: without a class no calls exclude each other",
            )),
        }
    }

    fn dialog(&self) -> Result<bool, Problem> {
        let checkpoint = self.options.checkpoint.is_some();
        match self.options.dialog {
            Some(true) if !checkpoint => Err(self.wrong(
                "dialog",
                "`dialog` needs `checkpoint`: what is said beside the messages has its place among sync points",
            )),
            Some(false) if self.options.half_duplex => Err(self.wrong(
                "dialog",
                "`dialog: false` contradicts `half_duplex`: turns are passed in the dialog of a stream",
            )),
            Some(dialog) => Ok(dialog),
            None => Ok(checkpoint && self.kind == MethodKind::Bidirectional),
        }
    }

    fn half_duplex(&self) -> Result<bool, Problem> {
        if self.options.half_duplex && self.kind != MethodKind::Bidirectional {
            let text = "`half_duplex` is for methods that stream both ways: in others only one side speaks";
            return Err(self.wrong("half_duplex", text));
        }
        if self.options.half_duplex && self.options.checkpoint.is_none() {
            let text = "`half_duplex` needs `checkpoint`: \
                        turns are passed in the dialog of a stream, and without sync points it has none";
            return Err(self.wrong("half_duplex", text));
        }
        Ok(self.options.half_duplex)
    }

    fn dead_man(&self, delivery: Delivery) -> Result<bool, Problem> {
        match delivery {
            Delivery::Plain | Delivery::AtLeastOnce if self.options.dead_man => Err(self.wrong(
                "dead_man",
                "`dead_man` needs `delivery: AT_MOST_ONCE` or `EXACTLY_ONCE`: \
                 the handlers of other calls end with their session in any case",
            )),
            Delivery::Plain | Delivery::AtLeastOnce | Delivery::AtMostOnce | Delivery::ExactlyOnce => {
                Ok(self.options.dead_man)
            }
        }
    }

    /// The value of an enum option; open enums let files write any number.
    fn known<E: TryFrom<i32>>(&self, option: &str, value: i32) -> Result<E, Problem> {
        self.known_in(option, option, value)
    }

    fn known_in<E: TryFrom<i32>>(&self, option: &str, name: &str, value: i32) -> Result<E, Problem> {
        E::try_from(value).map_err(|_| self.wrong(option, format!("`{name}` has no value {value}")))
    }

    /// A problem at the place where `option` was set.
    fn wrong(&self, option: &str, text: impl AsRef<str>) -> Problem {
        let element = self.method.path();
        let places = match self.extension {
            Some(extension) => option_places(element, METHOD_OPTIONS, extension, option),
            None => vec![element.to_vec()],
        };
        let message = format!("{}: {}", self.method.full_name(), text.as_ref());
        self.locator.problem(&self.method.parent_service().parent_file(), &places, message)
    }
}
