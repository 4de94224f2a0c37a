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
    let has_dialog = half_duplex || method.dialog && UNITS.into_iter().any(|unit| units.contains(unit));
    Ok(has_dialog.then_some(Terms { side, units, half_duplex, first_turn }))
}

#[cfg(test)]
mod tests {
    use rpc_core::config::Terms as Offered;
    use rpc_core::negotiate::{Offer, Units, answer};
    use rpc_core::policy::{Checkpoint, MethodKind, Secure};

    use super::*;

    #[test]
    fn a_stream_has_a_dialog_where_its_method_and_its_session_have() {
        let on = |units: &[Unit]| {
            let agreed = answer(&Offer::default(), &Offered::default(), &[]).unwrap();
            let units = units.iter().fold(Units::KERNEL, |units, unit| units.with_needs(*unit));
            Agreement { units, ..agreed }
        };
        let talk = MethodPolicy {
            checkpoint: Some(Checkpoint {
                every_messages: Some(1),
                every_bytes: None,
                every: None,
                secure: Secure::Automatic,
            }),
            dialog: true,
            ..MethodPolicy::plain("/s.S/Talk", MethodKind::Bidirectional)
        };
        let upload = MethodPolicy { kind: MethodKind::ClientStreaming, ..talk };
        let mute = MethodPolicy { dialog: false, ..talk };
        let in_turn = MethodPolicy { half_duplex: true, ..talk };
        let has = |agreement: &Agreement, method| {
            dialog_terms(Side::Client, agreement, &method).map(|terms| terms.is_some())
        };
        let none = on(&[Unit::Duplex, Unit::Resume]);
        assert_eq!([talk, upload, mute].map(|method| has(&none, method)), [Ok(false); 3]);
        assert_eq!(has(&none, in_turn), Err(Unit::HalfDuplex));
        for unit in UNITS {
            let some = on(&[Unit::Duplex, Unit::Resume, unit]);
            assert_eq!(
                [talk, upload, mute].map(|method| has(&some, method)),
                [Ok(true), Ok(true), Ok(false)]
            );
        }
        let turns = on(&[Unit::Duplex, Unit::HalfDuplex, Unit::Resume]);
        let methods = [talk, upload, mute, in_turn];
        assert_eq!(methods.map(|method| has(&turns, method)), [Ok(false), Ok(false), Ok(false), Ok(true)]);
    }
}
