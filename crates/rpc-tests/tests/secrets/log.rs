//! Everything that any crate has to say at the level `trace`, by crate; and what panics say.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::field::{Field, Visit};
use tracing::{Metadata, span};

/// What was said. A clone is the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Log(Arc<Mutex<BTreeMap<String, String>>>);

impl Log {
    /// Listens to every crate and every panic of this process, from now on.
    pub(crate) fn listen() -> Self {
        let log = Self::default();
        tracing::subscriber::set_global_default(log.clone()).expect("nobody else listens");
        let panics = log.clone();
        let print = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            panics.write("panics", &format!("{info}"));
            print(info);
        }));
        log
    }

    /// What each crate has said.
    pub(crate) fn said(&self) -> BTreeMap<String, String> {
        self.lock().clone()
    }

    /// Notes what something of ours prints.
    pub(crate) fn write(&self, from: &str, text: &str) {
        let mut said = self.lock();
        // Writing to a string does not fail.
        let _ = writeln!(said.entry(from.to_owned()).or_default(), "{text}");
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let _ = write!(self.0, " {field}={value:?}");
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let _ = write!(self.0, " {field}={value}");
    }

    fn record_bytes(&mut self, field: &Field, value: &[u8]) {
        let _ = write!(self.0, " {field}={value:?}");
    }
}

impl Log {
    fn note(&self, metadata: &Metadata<'_>, record: impl FnOnce(&mut Fields)) {
        let mut fields = Fields(metadata.name().to_owned());
        record(&mut fields);
        let target = metadata.target().split("::").next().unwrap_or_default();
        self.write(target, &fields.0);
    }
}

impl tracing::Subscriber for Log {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &span::Attributes<'_>) -> span::Id {
        self.note(span.metadata(), |fields| span.record(fields));
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, values: &span::Record<'_>) {
        let mut fields = Fields(String::new());
        values.record(&mut fields);
        self.write("recorded later", &fields.0);
    }

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        self.note(event.metadata(), |fields| event.record(fields));
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}
