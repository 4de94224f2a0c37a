//! The one field number that belongs to the session.

use std::collections::BTreeSet;

use prost_reflect::{DescriptorPool, MessageDescriptor};

use crate::{error::Problem, location::Locator};

/// Field number of control frames, the highest that protobuf has. Where a message whose bytes are exactly this field
/// stands in a stream, it is a control frame; so no request and no response may have such a field.
pub const FRAME_FIELD: u32 = 536_870_911;

/// Problems with the requests and responses of all methods, imported messages included. Messages inside them may use
/// the number: their bytes never stand alone on the wire.
//= W-16
pub(crate) fn check(pool: &DescriptorPool, locator: &Locator) -> Vec<Problem> {
    let mut checked = BTreeSet::new();
    let mut problems = Vec::new();
    for method in pool.services().flat_map(|service| service.methods().collect::<Vec<_>>()) {
        for message in [method.input(), method.output()] {
            if checked.insert(message.full_name().to_owned()) {
                problems.extend(taken(&message, method.full_name(), locator));
            }
        }
    }
    problems
}

/// The field or extension of `message` that takes the session's number.
fn taken(message: &MessageDescriptor, method: &str, locator: &Locator) -> Option<Problem> {
    let text = |field: &str| {
        let message = message.full_name();
        format!(
            "{message}: field number {FRAME_FIELD} of `{field}` belongs to the session, and {method} uses the message"
        )
    };
    if let Some(field) = message.get_field(FRAME_FIELD) {
        let place = field.path().to_vec();
        return Some(locator.problem(&field.parent_file(), &[place], text(field.name())));
    }
    let extension = message.extensions().find(|extension| extension.number() == FRAME_FIELD)?;
    let place = extension.path().to_vec();
    Some(locator.problem(&extension.parent_file(), &[place], text(extension.full_name())))
}
