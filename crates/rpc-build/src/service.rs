//! From descriptors to the tables of all services.

use prost_reflect::{DescriptorPool, DynamicMessage, ExtensionDescriptor, ServiceDescriptor};

use crate::{error::Problem, location::Locator, method::Resolver, options, table, value};

/// Number of the field `options` in `google.protobuf.ServiceDescriptorProto`.
const SERVICE_OPTIONS: i32 = 3;

/// The tables of all services in the pool, or everything that is wrong with them.
pub(crate) fn resolve(pool: &DescriptorPool, locator: &Locator) -> Result<Vec<table::Service>, Vec<Problem>> {
    let mut tables = Vec::new();
    let mut problems = Vec::new();
    for service in pool.services() {
        tables.extend(resolve_service(pool, &service, locator, &mut problems));
    }
    if problems.is_empty() { Ok(tables) } else { Err(problems) }
}

/// One table; `None` if the options of the service itself are wrong. Goes on after a mistake, to tell all at once.
fn resolve_service(
    pool: &DescriptorPool,
    service: &ServiceDescriptor,
    locator: &Locator,
    problems: &mut Vec<Problem>,
) -> Option<table::Service> {
    let service_extension = pool.get_extension_by_name("session.v1.service");
    let options: options::ServiceOptions = read(&service.options(), service_extension.as_ref());
    let scopes = match value::scopes(&options.scopes) {
        Ok(scopes) => scopes,
        Err(text) => {
            let extension = service_extension.as_ref()?;
            let places = option_places(service.path(), SERVICE_OPTIONS, extension, "scopes");
            let message = format!("{}: {text}", service.full_name());
            problems.push(locator.problem(&service.parent_file(), &places, message));
            return None;
        }
    };

    let method_extension = pool.get_extension_by_name("session.v1.method");
    let mut methods = Vec::new();
    for method in service.methods() {
        let options = read(&method.options(), method_extension.as_ref());
        let resolver = Resolver::new(method, method_extension.as_ref(), options, &scopes, locator);
        match resolver.resolve() {
            Ok(method) => methods.push(method),
            Err(problem) => problems.push(problem),
        }
    }
    Some(table::Service { name: service.full_name().to_owned(), version: options.version, methods })
}

/// The value of an extension option as a Rust type; the default if it is not set. Reading it cannot fail: the file that
/// declares the option was found to be the one that the Rust type comes from.
fn read<T: prost::Message + Default>(options: &DynamicMessage, extension: Option<&ExtensionDescriptor>) -> T {
    extension
        .filter(|extension| options.has_extension(extension))
        .and_then(|extension| options.get_extension(extension).as_message()?.transcode_to().ok())
        .unwrap_or_default()
}

/// Descriptor paths of an option's field, of the whole option, and of what it is written on: the most exact first.
pub(crate) fn option_places(
    element: &[i32],
    options_field: i32,
    extension: &ExtensionDescriptor,
    field: &str,
) -> Vec<Vec<i32>> {
    let number = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
    let whole = [element, &[options_field, number(extension.number())]].concat();
    let kind = extension.kind();
    let exact = kind
        .as_message()
        .and_then(|message| message.get_field_by_name(field))
        .map(|field| [&whole[..], &[number(field.number())]].concat());
    exact.into_iter().chain([whole, element.to_vec()]).collect()
}
