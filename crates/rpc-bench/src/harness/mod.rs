//! The driver: starts the workers, lets them take turns, checks what they say, and prints it.

mod command;
mod console;
mod contest;
pub(crate) mod figures;
mod pair;
mod process;
mod programs;
pub(crate) mod results;
mod statistics;
pub(crate) mod table;

use std::fs;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;

use crate::cases::{Contest, GROUPS, Group};
use crate::error::BenchError;
use crate::variants::Allocator;
use command::Command;
pub(crate) use command::Settings;
use contest::Measuring;
use programs::Programs;
use results::{GroupResult, Machine, Report};

/// Measures what the command line asks for.
pub(crate) fn run() -> ExitCode {
    let command = Command::parse();
    match measure(&command) {
        Ok(report) if report.failures() == 0 => ExitCode::SUCCESS,
        Ok(report) => {
            console::note(&format!("{} results are missing: see FAILED above", report.failures()));
            ExitCode::FAILURE
        }
        Err(error) => {
            console::note(&format!("rpc-bench: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn measure(command: &Command) -> Result<Report, BenchError> {
    let mut wanted = Vec::new();
    for group in GROUPS.iter().filter(|group| command.wants(group.name())) {
        wanted.push((*group, command.contests(*group)));
    }
    let mut entries = wanted.iter().flat_map(|(_, contests)| contests).flat_map(|contest| &contest.entries);
    let needs_other = entries.any(|entry| entry.variant.allocator() == Allocator::System);
    let programs = Programs::ready(!command.no_build, needs_other)?;
    let mut report = Report { machine: Machine::this(), settings: command.settings(), groups: Vec::new() };
    console::print(&report.machine.to_string());
    for (group, contests) in wanted {
        let result = measure_group(group, &contests, group.pace(command.settings()), &programs)?;
        console::print(&format!("\n## {}\n\n{}", group.title(), group.table(&result)));
        report.groups.push(result);
    }
    if let Some(path) = &command.json {
        fs::write(path, serde_json::to_string_pretty(&report)?)?;
    }
    Ok(report)
}

fn measure_group(
    group: &dyn Group,
    contests: &[Contest],
    settings: Settings,
    programs: &Programs,
) -> Result<GroupResult, BenchError> {
    let mut result = GroupResult::new(group.name(), group.title());
    let directory = tempfile::Builder::new().prefix("rpc-bench-").tempdir_in(programs.directory())?;
    let time = Duration::try_from_secs_f64(settings.seconds).map_err(|error| BenchError::of(&error))?;
    match group.beside(directory.path(), time) {
        Ok(beside) => result.beside = beside,
        Err(error) => result.failed = Some(error.to_string()),
    }
    let count = contests.len();
    let mut measuring = Measuring::new(settings, programs, directory.path());
    for (number, contest) in contests.iter().enumerate() {
        console::note(&format!("{} {}/{count}: {}", group.name(), number + 1, contest.name));
        result.contests.push(measuring.contest(contest));
    }
    Ok(result)
}
