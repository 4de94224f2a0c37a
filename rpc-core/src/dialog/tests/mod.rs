//! Tests of the dialog: its tables, each mechanism, and random dialogs against a model.

mod bounds;
mod cells;
mod lives;
mod model;
mod one;
mod pleases;
mod random;
mod reports;
mod separation;
mod tables;
mod units;
mod violations;
mod world;

use super::Terms;
use crate::negotiate::{Unit, Units};
use crate::stream::flow::Side;

/// Every unit of a dialog.
fn units() -> Units {
    Units::from_iter([
        Unit::Resume,
        Unit::HalfDuplex,
        Unit::TypedData,
        Unit::ExpeditedData,
        Unit::MinorSynchronize,
        Unit::MajorSynchronize,
        Unit::DataSeparation,
        Unit::Resynchronize,
        Unit::Exceptions,
    ])
}

fn terms(side: Side, half_duplex: bool, first_turn: Side, units: Units) -> Terms {
    Terms { side, units, half_duplex, first_turn }
}
