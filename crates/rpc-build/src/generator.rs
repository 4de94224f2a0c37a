//! tonic's service generator with ours behind it.

use std::collections::HashMap;

use prost_build::ServiceGenerator;

use crate::{
    emit::{self, Side},
    table,
};

/// What is built beside the messages.
pub(crate) struct Stubs {
    pub(crate) client: bool,
    pub(crate) server: bool,
    /// `LedgerClient::connect` on tonic's own transport.
    pub(crate) transport: bool,
    /// Path of the policy module in generated code.
    pub(crate) policy_path: String,
    /// Path of the codec of all methods; `None`: that of tonic-prost.
    pub(crate) codec_path: Option<String>,
}

/// Lets tonic write its stubs and appends the policy table; never touches a byte of what tonic wrote.
pub(crate) struct Generator {
    tonic: Box<dyn ServiceGenerator>,
    stubs: Stubs,
    tables: HashMap<String, table::Service>,
}

impl Generator {
    pub(crate) fn new(stubs: Stubs, tables: Vec<table::Service>) -> Self {
        let mut tonic = tonic_prost_build::configure()
            .build_client(stubs.client)
            .build_server(stubs.server)
            .build_transport(stubs.transport);
        if let Some(path) = &stubs.codec_path {
            tonic = tonic.codec_path(path);
        }
        let tonic = tonic.service_generator();
        let tables = tables.into_iter().map(|table| (table.name.clone(), table)).collect();
        Self { tonic, stubs, tables }
    }

    fn append_policy(&self, table: &table::Service, rust_name: &str, code: &mut String) {
        let policy = &self.stubs.policy_path;
        code.push_str(&emit::policy_static(table, rust_name, policy));
        if self.stubs.client {
            code.push_str(&emit::described(rust_name, Side::Client, policy));
        }
        if self.stubs.server {
            code.push_str(&emit::described(rust_name, Side::Server, policy));
        }
    }
}

impl ServiceGenerator for Generator {
    fn generate(&mut self, service: prost_build::Service, code: &mut String) {
        let rust_name = service.name.clone();
        let full_name = match service.package.as_str() {
            "" => service.proto_name.clone(),
            package => format!("{package}.{}", service.proto_name),
        };
        self.tonic.generate(service, code);
        // Tables were made of the same descriptors: a service without one is a bug of this crate, and the generated
        // code then fails to compile where the table is used.
        if let Some(table) = self.tables.get(&full_name) {
            self.append_policy(table, &rust_name, code);
        }
    }

    fn finalize(&mut self, code: &mut String) {
        self.tonic.finalize(code);
    }

    fn finalize_package(&mut self, package: &str, code: &mut String) {
        self.tonic.finalize_package(package, code);
    }
}
