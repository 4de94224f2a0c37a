//! The command line.

use std::path::PathBuf;

use clap::Parser;
use serde::Serialize;

use crate::cases::{Contest, GROUPS, Group, Scope};

/// Measures sessions against plain tonic and raw h2, in one run.
///
/// Server and client are processes of their own. All who take part in a case take turns, round by round; what is printed are
/// medians, with the least and the most. A result is only reported if server and client agree on what was done.
#[derive(Debug, Parser)]
#[command(name = "rpc-bench")]
pub(super) struct Command {
    /// What is measured. Default: everything.
    #[arg(value_parser = GROUPS.iter().map(|group| group.name()).collect::<Vec<_>>())]
    groups: Vec<String>,
    /// Measure what is needed to see where one is.
    #[arg(long)]
    quick: bool,
    /// Measure what takes minutes, too: a million idle sessions.
    #[arg(long, conflicts_with = "quick")]
    full: bool,
    /// How long `steady` is. Default: 1, quick 0.25.
    #[arg(long, value_name = "MINUTES")]
    minutes: Option<f64>,
    /// Only see whether everything works.
    #[arg(long, hide = true)]
    smallest: bool,
    /// Rounds of each case. Default: 7, quick 3.
    #[arg(long, value_name = "N")]
    rounds: Option<u32>,
    /// Length of each round. Default: 1, quick 0.5.
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<f64>,
    /// Only cases whose name in the table holds one of these texts.
    #[arg(long, value_name = "TEXT")]
    only: Vec<String>,
    /// Only those who take part whose name in the table holds one of these texts.
    #[arg(long, value_name = "TEXT")]
    who: Vec<String>,
    /// Write every round to this file.
    #[arg(long, value_name = "FILE")]
    pub(super) json: Option<PathBuf>,
    /// Take the workers as they are.
    #[arg(long, hide = true)]
    pub(super) no_build: bool,
}

/// How much is measured.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Settings {
    quick: bool,
    /// The command line says how many rounds of which length.
    #[serde(skip)]
    given: bool,
    /// Of `steady`.
    minutes: f64,
    /// Rounds of each case.
    pub(super) rounds: u32,
    /// Length of each.
    pub(super) seconds: f64,
}

impl Settings {
    /// Which cases.
    pub(super) fn scope(self) -> Scope {
        if self.quick { Scope::Quick } else { Scope::Full }
    }

    /// So many rounds of this length, unless the command line says something else.
    pub(crate) fn unless_quick(self, rounds: u32, seconds: f64) -> Self {
        if self.quick || self.given { self } else { Self { rounds, seconds, ..self } }
    }

    /// As many rounds of this length as there are minutes for, unless the command line says something else.
    pub(crate) fn for_minutes(self, seconds: f64) -> Self {
        let rounds = (self.minutes * 60.0 / seconds).clamp(1.0, 100_000.0) as u32;
        if self.given { self } else { Self { rounds, seconds, ..self } }
    }
}

impl Command {
    /// The settings, with their defaults.
    pub(super) fn settings(&self) -> Settings {
        let (rounds, seconds) = if self.quick { (3, 0.5) } else { (7, 1.0) };
        Settings {
            quick: self.quick,
            given: self.rounds.is_some() || self.seconds.is_some(),
            minutes: self.minutes.unwrap_or(if self.quick { 0.25 } else { 1.0 }),
            rounds: self.rounds.unwrap_or(rounds).max(1),
            seconds: self.seconds.unwrap_or(seconds).clamp(0.001, 3_600.0),
        }
    }

    /// Whether a group is asked for.
    pub(super) fn wants(&self, group: &str) -> bool {
        self.groups.is_empty() || self.groups.iter().any(|wanted| wanted == group)
    }

    /// What is asked for of a group.
    pub(super) fn contests(&self, group: &dyn Group) -> Vec<Contest> {
        if self.smallest {
            return self.narrow(group.smallest());
        }
        let mut contests = group.contests(self.settings().scope());
        if self.full || !self.only.is_empty() {
            contests.extend(group.long());
        }
        self.narrow(contests)
    }

    /// Leaves out what is not asked for.
    fn narrow(&self, contests: Vec<Contest>) -> Vec<Contest> {
        let any = |texts: &[String], name: &str| {
            texts.is_empty() || texts.iter().any(|text| name.contains(&**text))
        };
        let mut contests: Vec<_> =
            contests.into_iter().filter(|contest| any(&self.only, &contest.name)).collect();
        for contest in &mut contests {
            contest.entries.retain(|entry| any(&self.who, entry.name));
        }
        contests
    }
}
