//! Negotiation: what a session may use, decided once, when it is opened.
//!
//! The initiator makes an [`Offer`], the acceptor answers by [`answer`] with an [`Agreement`] or a [`Refusal`]. Nothing
//! is agreed half: a refused opening leaves nothing behind.

mod services;
mod units;

use std::time::Duration;

pub use services::{Grant, Offered, ServiceGrant, ServiceRequest};
pub use units::{Unit, Units};

use crate::config::Terms;
use crate::error::Reason;

/// Which side owns the available tokens when the session opens (X.215 7.6.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum FirstTurn {
    /// The side that opened the session.
    #[default]
    Initiator,
    /// The side that accepted it.
    Acceptor,
}

/// What the initiator proposes about the first turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FirstTurnProposal {
    /// This side.
    Fixed(FirstTurn),
    /// The acceptor decides.
    AcceptorChooses,
}

/// What the initiator proposes. `None` leaves a quantity to the acceptor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Versions spoken.
    pub versions: Vec<u32>,
    /// Units wanted.
    pub units: Units,
    /// Units without which the session is of no use; each also wanted.
    pub required: Units,
    /// Life without traffic.
    pub lease: Option<Duration>,
    /// The least lease that is of use.
    pub lease_min: Option<Duration>,
    /// Life after the last connection was lost.
    pub linger: Option<Duration>,
    /// The least linger that is of use.
    pub linger_min: Option<Duration>,
    /// Outstanding calls.
    pub slots: Option<u32>,
    /// The least number of slots that is of use.
    pub slots_min: Option<u32>,
    /// Largest reply kept for replay, in bytes.
    pub reply_bytes: Option<u32>,
    /// Unsecured bytes of a stream.
    pub window_bytes: Option<u64>,
    /// Services needed; empty: all that the principal may use.
    pub services: Vec<ServiceRequest>,
    /// Who begins.
    pub first_turn: FirstTurnProposal,
}

impl Default for Offer {
    /// Everything left to the acceptor, and the units of protected calls.
    fn default() -> Self {
        Self {
            versions: vec![1],
            units: Units::from_iter([Unit::ExactlyOnce, Unit::Duplex]),
            required: Units::KERNEL,
            lease: None,
            lease_min: None,
            linger: None,
            linger_min: None,
            slots: None,
            slots_min: None,
            reply_bytes: None,
            window_bytes: None,
            services: Vec::new(),
            first_turn: FirstTurnProposal::Fixed(FirstTurn::Initiator),
        }
    }
}

/// What the two sides will use. Constant for the life of the session.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Agreement {
    /// Protocol version.
    pub version: u32,
    /// Units that are on.
    pub units: Units,
    /// Life without traffic.
    pub lease: Duration,
    /// Life after the last connection was lost.
    pub linger: Duration,
    /// Outstanding calls.
    pub slots: u32,
    /// Largest reply kept for replay, in bytes.
    pub reply_bytes: u32,
    /// Unsecured bytes of a stream.
    pub window_bytes: u64,
    /// Who begins.
    pub first_turn: FirstTurn,
    /// What became of each service asked for; of every offered service if none was.
    pub services: Vec<ServiceGrant>,
}

impl Agreement {
    /// Whether the session may use the service with this full name.
    pub fn grants(&self, service: &str) -> bool {
        self.services.iter().any(|grant| grant.result == Grant::Granted && grant.name == service)
    }
}

/// Why an opening is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No version in common.
    #[error("no protocol version in common, this server speaks {0:?}")]
    Versions(&'static [u32]),
    /// A required unit is not offered.
    #[error("required unit {0} is not offered")]
    Unit(Unit),
    /// A required unit needs another one that is off.
    #[error("required unit {unit} needs {needed}, which is off")]
    UnitUnmet {
        /// The required one.
        unit: Unit,
        /// What it needs.
        needed: Unit,
    },
    /// The initiator requires two units that exclude each other.
    #[error("{0} and {1} exclude each other and were both required")]
    Contradiction(Unit, Unit),
    /// A unit is required that was not proposed.
    #[error("required unit {0} was not among the wanted ones")]
    RequiredNotWanted(Unit),
    /// A limit of this server lies below what the initiator accepts.
    #[error("{quantity} is {granted} at most, {wanted} was the least accepted")]
    BelowMinimum {
        /// What is bounded.
        quantity: &'static str,
        /// What would be granted.
        granted: String,
        /// What was the least accepted.
        wanted: String,
    },
}

impl Refusal {
    /// The stable reason.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Versions(_) => Reason::VersionUnsupported,
            Self::Unit(_) | Self::UnitUnmet { .. } => Reason::UnitUnsupported,
            Self::Contradiction(..) | Self::RequiredNotWanted(_) => Reason::UnitsContradict,
            Self::BelowMinimum { .. } => Reason::BelowMinimum,
        }
    }
}

/// Answers an offer under the server's terms.
///
/// The highest common version wins, units are on if both want them, quantities are clamped into the server's ranges,
/// and each service is granted or refused with its reason. `offered` lists the services that this principal may use.
///
/// # Errors
///
/// No common version, a required unit that is not to be had, or a limit below the initiator's minimum.
pub fn answer(offer: &Offer, terms: &Terms, offered: &[Offered<'_>]) -> Result<Agreement, Refusal> {
    //= O-7
    let version = terms.versions.iter().copied().filter(|version| offer.versions.contains(version)).max();
    let units = agree_on_units(offer, terms)?;
    Ok(Agreement {
        version: version.ok_or(Refusal::Versions(terms.versions))?,
        units,
        //= O-8
        lease: at_least("lease", terms.lease.clamp(offer.lease), offer.lease_min)?,
        linger: at_least("linger", terms.linger.clamp(offer.linger), offer.linger_min)?,
        slots: at_least("slots", terms.slots.clamp(offer.slots), offer.slots_min)?,
        reply_bytes: terms.reply_bytes.clamp(offer.reply_bytes),
        window_bytes: terms.window_bytes.clamp(offer.window_bytes),
        first_turn: match offer.first_turn {
            //= O-17
            FirstTurnProposal::Fixed(side) => side,
            FirstTurnProposal::AcceptorChooses => terms.first_turn,
        },
        services: services::grant(&offer.services, offered),
    })
}

fn agree_on_units(offer: &Offer, terms: &Terms) -> Result<Units, Refusal> {
    if let Some(unit) = offer.required.first_missing_in(offer.units) {
        //= O-26
        return Err(Refusal::RequiredNotWanted(unit));
    }
    if let Some((one, other)) = offer.required.contradiction() {
        //= O-23
        return Err(Refusal::Contradiction(one, other));
    }
    let agreed = Units::agree(offer.units, offer.required, terms.units);
    //= O-20
    let Some(unit) = offer.required.first_missing_in(agreed) else { return Ok(agreed) };
    match unit.needs().filter(|_| terms.units.contains(unit)) {
        Some(needed) => Err(Refusal::UnitUnmet { unit, needed }),
        None => Err(Refusal::Unit(unit)),
    }
}

fn at_least<T: Ord + std::fmt::Debug>(
    quantity: &'static str,
    granted: T,
    wanted: Option<T>,
) -> Result<T, Refusal> {
    match wanted {
        //= O-9
        Some(wanted) if granted < wanted => Err(Refusal::BelowMinimum {
            quantity,
            granted: format!("{granted:?}"),
            wanted: format!("{wanted:?}"),
        }),
        Some(_) | None => Ok(granted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(change: impl FnOnce(&mut Offer)) -> Result<Agreement, Refusal> {
        let mut offer = Offer::default();
        change(&mut offer);
        answer(&offer, &Terms::default(), &[])
    }

    #[test]
    fn an_empty_offer_gets_the_defaults() {
        let agreed = ask(|_| ()).unwrap();
        let terms = Terms::default();
        assert_eq!(agreed.version, 1);
        assert_eq!((agreed.lease, agreed.linger), (terms.lease.default, terms.linger.default));
        assert_eq!((agreed.slots, agreed.reply_bytes), (64, 64 << 10));
        assert_eq!(agreed.first_turn, FirstTurn::Initiator);
    }

    #[test]
    //= test O-8
    fn quantities_are_clamped_into_the_servers_range() {
        let agreed = ask(|offer| {
            offer.lease = Some(Duration::ZERO);
            offer.linger = Some(Duration::MAX);
            offer.slots = Some(u32::MAX);
            offer.reply_bytes = Some(1);
            offer.window_bytes = Some(5 << 20);
        })
        .unwrap();
        let terms = Terms::default();
        assert_eq!((agreed.lease, agreed.linger), (terms.lease.min, terms.linger.max));
        assert_eq!((agreed.slots, agreed.reply_bytes), (terms.slots.max, terms.reply_bytes.min));
        assert_eq!(agreed.window_bytes, 5 << 20);
    }

    #[test]
    //= test O-9
    fn a_limit_below_the_minimum_refuses() {
        let refusal = ask(|offer| offer.slots_min = Some(1_000)).unwrap_err();
        assert_eq!(refusal.reason(), Reason::BelowMinimum);
        assert_eq!(refusal.to_string(), "slots is 64 at most, 1000 was the least accepted");
        let asked = ask(|offer| (offer.slots, offer.slots_min) = (Some(100), Some(100))).unwrap();
        assert_eq!(asked.slots, 100);
        assert!(ask(|offer| offer.lease_min = Some(Duration::from_secs(7200))).is_err());
        assert!(ask(|offer| offer.linger_min = Some(Duration::from_secs(3600))).is_err());
    }

    #[test]
    //= test O-7
    fn the_highest_common_version_wins_and_none_refuses() {
        assert_eq!(ask(|offer| offer.versions = vec![7, 1, 9]).unwrap().version, 1);
        assert_eq!(ask(|offer| offer.versions = vec![2]).unwrap_err().reason(), Reason::VersionUnsupported);
        assert_eq!(ask(|offer| offer.versions.clear()).unwrap_err().reason(), Reason::VersionUnsupported);
    }

    #[test]
    //= test O-20
    //= test O-26
    fn each_required_unit_is_on_or_the_opening_is_refused() {
        let offered = |units| Terms { units, ..Terms::default() };
        for unit in Unit::ALL {
            let units = Units::KERNEL.with_needs(unit);
            let offer = Offer { units, required: Units::KERNEL.with(unit), ..Offer::default() };
            assert_eq!(answer(&offer, &offered(Units::ALL), &[]).unwrap().units, units);
            let refusal = answer(&offer, &offered(Units::ALL.without(unit)), &[]).unwrap_err();
            assert_eq!((refusal.reason(), refusal), (Reason::UnitUnsupported, Refusal::Unit(unit)));
            let wanted = Offer { required: Units::KERNEL, ..offer.clone() };
            let without = answer(&wanted, &offered(Units::ALL.without(unit)), &[]).unwrap().units;
            assert_eq!(without, units.without(unit));
            let refusal = answer(&Offer { units: units.without(unit), ..offer }, &offered(Units::ALL), &[]);
            let refusal = refusal.unwrap_err();
            assert_eq!(
                (refusal.reason(), refusal),
                (Reason::UnitsContradict, Refusal::RequiredNotWanted(unit))
            );
        }
    }

    #[test]
    //= test O-20
    //= test O-23
    //= test O-24
    fn required_units_that_do_not_go_together_are_refused() {
        let refused = |units: &[Unit], required: &[Unit]| {
            let sets = (units.iter().copied().collect(), required.iter().copied().collect());
            let refusal = ask(|offer| (offer.units, offer.required) = sets).unwrap_err();
            (refusal.reason(), refusal.to_string())
        };
        let both = [Unit::DataSeparation, Unit::Activity];
        let all = [Unit::DataSeparation, Unit::Activity, Unit::MinorSynchronize, Unit::Resume];
        let text = "data separation and activity exclude each other and were both required";
        assert_eq!(refused(&all, &both), (Reason::UnitsContradict, text.to_owned()));
        let text = "required unit exceptions needs half-duplex, which is off";
        let exceptions = [Unit::Exceptions];
        assert_eq!(refused(&exceptions, &exceptions), (Reason::UnitUnsupported, text.to_owned()));
        let text = "required unit data separation needs minor synchronize, which is off";
        assert_eq!(refused(&both, &both[..1]), (Reason::UnitUnsupported, text.to_owned()));
        let separation = ask(|offer| {
            offer.units = all.into_iter().collect();
            offer.required = Units::KERNEL.with(Unit::DataSeparation);
        });
        assert!(!separation.unwrap().units.contains(Unit::Activity));
    }

    #[test]
    //= test O-17
    fn who_begins_follows_the_three_proposals() {
        let turn = |proposal| ask(|offer| offer.first_turn = proposal).unwrap().first_turn;
        assert_eq!(turn(FirstTurnProposal::Fixed(FirstTurn::Initiator)), FirstTurn::Initiator);
        assert_eq!(turn(FirstTurnProposal::Fixed(FirstTurn::Acceptor)), FirstTurn::Acceptor);
        assert_eq!(turn(FirstTurnProposal::AcceptorChooses), Terms::default().first_turn);
    }
}
