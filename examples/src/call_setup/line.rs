//! What a line does: a table of states and events, and nothing else.

use crate::phone::signal::Kind;

/// What a line is used for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) enum Line {
    #[default]
    Idle,
    /// The subscriber calls somebody.
    Calling(String),
    /// Somebody calls the subscriber.
    Ringing(String),
    /// With whom.
    Talking(String),
}

/// What happens to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event {
    /// The subscriber says so.
    Here(Kind, String),
    /// The line of another subscriber says so.
    There(Kind, String),
}

/// What it does then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    /// Tells its subscriber.
    Tell(Kind, String),
    /// Tells the line of another.
    Send(Kind, String),
}

impl Line {
    /// What becomes of it. What has no sense in a state changes nothing: it crossed something that came before it.
    pub(super) fn after(self, event: Event) -> (Self, Vec<Action>) {
        use Action::{Send, Tell};
        use Event::{Here, There};
        use Kind::{Answered, Busy, Call, HungUp, Refused, Ringing, UnknownParty};
        match (self, event) {
            (Self::Idle, Here(Call, party)) => (Self::Calling(party.clone()), vec![Send(Call, party)]),
            (Self::Idle, There(Call, party)) => {
                (Self::Ringing(party.clone()), vec![Tell(Call, party.clone()), Send(Ringing, party)])
            }
            // Two who call each other want the same: the calls that cross are one.
            (Self::Calling(called), There(Call, party)) if called == party => {
                (Self::Talking(party.clone()), vec![Tell(Answered, party)])
            }
            (Self::Ringing(caller), Here(Call, party)) if caller == party => {
                (Self::Talking(party.clone()), vec![Tell(Answered, party.clone()), Send(Answered, party)])
            }
            (Self::Calling(called), There(Ringing, party)) if called == party => {
                (Self::Calling(called), vec![Tell(Ringing, party)])
            }
            (Self::Calling(called), There(Answered, party)) if called == party => {
                (Self::Talking(called), vec![Tell(Answered, party)])
            }
            (Self::Calling(called), There(why @ (Refused | Busy | UnknownParty | HungUp), party))
                if called == party =>
            {
                (Self::Idle, vec![Tell(why, party)])
            }
            (Self::Ringing(caller), Here(Answered, _)) => {
                (Self::Talking(caller.clone()), vec![Tell(Answered, caller.clone()), Send(Answered, caller)])
            }
            (Self::Ringing(caller), Here(Refused, _)) => (Self::Idle, vec![Send(Refused, caller)]),
            (Self::Ringing(other) | Self::Talking(other), There(HungUp, party)) if other == party => {
                (Self::Idle, vec![Tell(HungUp, party)])
            }
            (Self::Calling(other) | Self::Ringing(other) | Self::Talking(other), Here(HungUp, _)) => {
                (Self::Idle, vec![Send(HungUp, other)])
            }
            (line @ (Self::Calling(_) | Self::Ringing(_) | Self::Talking(_)), There(Call, party)) => {
                (line, vec![Send(Busy, party)])
            }
            (line @ (Self::Calling(_) | Self::Ringing(_) | Self::Talking(_)), Here(Call, party)) => {
                (line, vec![Tell(Busy, party)])
            }
            (line, _) => (line, Vec::new()),
        }
    }

    /// To whom the subscriber's voice goes.
    pub(super) fn party(&self) -> Option<&str> {
        match self {
            Self::Talking(party) => Some(party),
            Self::Idle | Self::Calling(_) | Self::Ringing(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two lines and what is on its way between them; the subscribers do these things, and everything is delivered in between
    /// only where `crossed` is false.
    fn play(crossed: bool, deeds: &[(usize, Kind)]) -> [Line; 2] {
        let names = ["alice", "bob"];
        let mut lines = [Line::Idle, Line::Idle];
        let mut under_way: Vec<(usize, Kind)> = Vec::new();
        let deliver = |lines: &mut [Line; 2], under_way: &mut Vec<(usize, Kind)>| {
            while !under_way.is_empty() {
                let (to, kind) = under_way.remove(0);
                step(lines, under_way, to, Event::There(kind, names[1 - to].into()));
            }
        };
        fn step(lines: &mut [Line; 2], under_way: &mut Vec<(usize, Kind)>, at: usize, event: Event) {
            let (line, actions) = std::mem::take(&mut lines[at]).after(event);
            lines[at] = line;
            under_way.extend(actions.into_iter().filter_map(|action| match action {
                Action::Send(kind, _) => Some((1 - at, kind)),
                Action::Tell(..) => None,
            }));
        }
        for (at, kind) in deeds {
            step(&mut lines, &mut under_way, *at, Event::Here(*kind, names[1 - at].into()));
            if !crossed {
                deliver(&mut lines, &mut under_way);
            }
        }
        deliver(&mut lines, &mut under_way);
        lines
    }

    fn talking() -> [Line; 2] {
        [Line::Talking("bob".into()), Line::Talking("alice".into())]
    }

    #[test]
    fn a_call_is_answered_and_ends() {
        assert_eq!(play(false, &[(0, Kind::Call), (1, Kind::Answered)]), talking());
        let ended = play(false, &[(0, Kind::Call), (1, Kind::Answered), (1, Kind::HungUp)]);
        assert_eq!(ended, [Line::Idle, Line::Idle]);
        assert_eq!(play(false, &[(0, Kind::Call), (1, Kind::Refused)]), [Line::Idle, Line::Idle]);
    }

    #[test]
    fn calls_that_cross_are_one() {
        assert_eq!(play(true, &[(0, Kind::Call), (1, Kind::Call)]), talking());
        assert_eq!(play(false, &[(0, Kind::Call), (1, Kind::Call)]), talking());
    }

    #[test]
    fn whoever_gives_up_while_the_other_answers_is_not_left_talking() {
        let given_up = play(true, &[(0, Kind::Call), (0, Kind::HungUp)]);
        assert_eq!(given_up, [Line::Idle, Line::Idle]);
    }

    #[test]
    fn somebody_who_talks_is_busy() {
        let (line, actions) = Line::Talking("bob".into()).after(Event::There(Kind::Call, "carol".into()));
        assert_eq!(line, Line::Talking("bob".into()));
        assert_eq!(actions, [Action::Send(Kind::Busy, "carol".into())]);
    }
}
