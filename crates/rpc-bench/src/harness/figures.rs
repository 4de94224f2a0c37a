//! Results that are no contest of rates: one column for each figure.

use std::fmt::Write as _;

use super::results::{GroupResult, Round};
use super::table::{notes, number};

/// A head, and what stands below it for each round.
pub(crate) type Column = (&'static str, fn(&Round) -> f64);

/// Medians, with the least and the most where they differ.
pub(crate) fn table(result: &GroupResult, columns: &[Column]) -> String {
    let mut table = String::from("| case | who |");
    let mut rule = String::from("| --- | --- |");
    for (head, _) in columns {
        // Writing to a string does not fail.
        let _ = write!(table, " {head} |");
        rule.push_str(" ---: |");
    }
    let _ = writeln!(table, "\n{rule}");
    for contest in &result.contests {
        for (number_in_case, entry) in contest.entries.iter().enumerate() {
            let name = if number_in_case == 0 { &*contest.name } else { "" };
            let cells = match &entry.failed {
                Some(why) => format!("FAILED: {why}"),
                None => {
                    let cells = columns.iter().map(|(_, figure)| cell(entry.spread(figure)));
                    cells.collect::<Vec<_>>().join(" | ")
                }
            };
            let _ = writeln!(table, "| {name} | {} | {cells} |", entry.name);
        }
    }
    notes(result, &mut table);
    table
}

fn cell(spread: super::statistics::Spread) -> String {
    let (median, min, max) = (number(spread.median), number(spread.min), number(spread.max));
    if min == max { median } else { format!("{median} ({min}–{max})") }
}

/// What the case told by this name.
pub(crate) fn extra(round: &Round, name: &str) -> f64 {
    round.client.extra.get(name).copied().unwrap_or(f64::NAN)
}

/// Half of the operations took no longer, in microseconds.
pub(crate) fn p50_us(round: &Round) -> f64 {
    round.client.latency.map_or(f64::NAN, |latency| latency.p50_ns as f64 / 1e3)
}

/// 99 of 100 operations took no longer, in microseconds.
pub(crate) fn p99_us(round: &Round) -> f64 {
    round.client.latency.map_or(f64::NAN, |latency| latency.p99_ns as f64 / 1e3)
}

/// CPU of the server, in milliseconds for each second.
pub(crate) fn server_ms_per_s(round: &Round) -> f64 {
    round.server_cpu_ns as f64 * 1e3 / round.client.wall_ns as f64
}

/// Memory of the server, in MiB.
pub(crate) fn server_mib(round: &Round) -> f64 {
    round.server_resident_bytes.map_or(f64::NAN, |bytes| bytes as f64 / f64::from(1 << 20))
}
