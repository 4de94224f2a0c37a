//! Writes a table as Rust: data that is known when the program is compiled, and nothing that runs.

use std::{fmt, time::Duration};

use crate::{
    hash::hash,
    names,
    table::{Checkpoint, Exclusive, Method, Service},
};

/// The `static` of one service. `rust_name` is the service's name in Rust, `policy` the path of the policy module.
/// The text is laid out by the formatter that prost-build runs over the whole file.
pub(crate) fn policy_static(service: &Service, rust_name: &str, policy: &str) -> String {
    let methods: String = service.methods.iter().map(|method| method_policy(method, policy)).collect();
    format!(
        "/// What `{name}` promises. Written by `rpc-build` from the options in the `.proto` file.\n\
         pub static {ident}: {policy}::ServicePolicy = {policy}::ServicePolicy {{\n\
         name: {name:?},\nversion: {version},\nhash: {hash:#018x},\nmethods: &[{methods}],\n}};\n",
        name = service.name,
        ident = names::policy_static(rust_name),
        version = service.version,
        hash = hash(service),
    )
}

/// Ties a generated type to the `static` of its service. `side` is `client` or `server`.
pub(crate) fn described(rust_name: &str, side: Side, policy: &str) -> String {
    let (module, suffix) = match side {
        Side::Client => ("client", "Client"),
        Side::Server => ("server", "Server"),
    };
    format!(
        "impl<T> {policy}::Described for {stem}_{module}::{rust_name}{suffix}<T> {{\n\
         const POLICY: &'static {policy}::ServicePolicy = &{ident};\n}}\n",
        stem = names::module_stem(rust_name),
        ident = names::policy_static(rust_name),
    )
}

/// Which of tonic's two generated types is meant.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Side {
    Client,
    Server,
}

fn method_policy(method: &Method, policy: &str) -> String {
    let Method {
        path,
        kind,
        delivery,
        record,
        cancellation,
        idempotent,
        timeout,
        scopes,
        reply_bytes_max,
        checkpoint,
        exclusive,
        dialog,
        half_duplex,
        dead_man,
    } = method;
    // The `Debug` names of the core's enums are their names in Rust; the tests compile the result.
    format!(
        "{policy}::MethodPolicy {{\npath: {path:?},\n\
         kind: {policy}::MethodKind::{kind:?},\n\
         delivery: {policy}::Delivery::{delivery:?},\n\
         record: {policy}::Record::{record:?},\n\
         cancellation: {policy}::Cancellation::{cancellation:?},\n\
         idempotent: {idempotent},\n\
         timeout: {timeout},\n\
         scopes: &{scopes:?},\n\
         reply_bytes_max: {reply_bytes_max},\n\
         checkpoint: {checkpoint},\n\
         exclusive: {exclusive},\n\
         dialog: {dialog},\n\
         half_duplex: {half_duplex},\n\
         dead_man: {dead_man},\n}},\n",
        timeout = option(timeout.map(duration)),
        reply_bytes_max = option(*reply_bytes_max),
        checkpoint = option(checkpoint.map(|checkpoint| checkpoint_policy(&checkpoint, policy))),
        exclusive = option(exclusive.as_ref().map(|exclusive| exclusive_policy(exclusive, policy))),
    )
}

fn checkpoint_policy(checkpoint: &Checkpoint, policy: &str) -> String {
    format!(
        "{policy}::Checkpoint {{\nevery_messages: {},\nevery_bytes: {},\nevery: {},\n\
         secure: {policy}::Secure::{:?},\n}}",
        option(checkpoint.every_messages),
        option(checkpoint.every_bytes),
        option(checkpoint.every.map(duration)),
        checkpoint.secure,
    )
}

fn exclusive_policy(Exclusive { class, scope }: &Exclusive, policy: &str) -> String {
    format!("{policy}::Exclusive {{ class: {class:?}, scope: {policy}::ExclusiveScope::{scope:?} }}")
}

fn duration(duration: Duration) -> String {
    format!("::core::time::Duration::new({}, {})", duration.as_secs(), duration.subsec_nanos())
}

/// With full paths, as prost writes them: a message of the user's may be called `Option`.
fn option(value: Option<impl fmt::Display>) -> String {
    match value {
        Some(value) => format!("::core::option::Option::Some({value})"),
        None => "::core::option::Option::None".to_owned(),
    }
}
