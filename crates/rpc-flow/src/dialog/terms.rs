//! Which dialog a stream has.

use rpc_core::dialog::Terms;
use rpc_core::negotiate::{Agreement, FirstTurn, Unit};
use rpc_core::policy::MethodPolicy;
use rpc_core::stream::flow::Side;

/// Units that give a stream something to say beside its messages, whether or not it is half duplex.
const UNITS: [Unit; 4] = [Unit::TypedData, Unit::ExpeditedData, Unit::MajorSynchronize, Unit::Resynchronize];

/// What the streams of a method have of a dialog in a session, for
/// [`Config::dialog`](rpc_core::stream::Config::dialog); `None`: nothing.
///
/// # Errors
///
/// The unit that is off and without which the method is refused.
//= D-2
pub fn dialog_terms(side: Side, agreement: &Agreement, method: &MethodPolicy) -> Result<Option<Terms>, Unit> {
    let units = agreement.units;
    let half_duplex = units.takes_turns(method)?;
    let first_turn = match agreement.first_turn {
        FirstTurn::Initiator => Side::Client,
        FirstTurn::Acceptor => Side::Server,
    };
    let has_dialog = half_duplex || UNITS.into_iter().any(|unit| units.contains(unit));
    Ok(has_dialog.then_some(Terms { side, units, half_duplex, first_turn }))
}
