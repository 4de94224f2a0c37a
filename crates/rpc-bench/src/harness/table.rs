//! Results as people read them.

use std::fmt::Write as _;

use super::results::{ContestResult, EntryResult, GroupResult, Round};
use super::statistics::Spread;

/// tonic as users start it.
pub(crate) const USUAL: &str = "tonic, as started";
/// tonic at its best.
pub(crate) const BEST: &str = "tonic, best";
/// The floor.
pub(crate) const FLOOR: &str = "raw h2";

/// Rates, CPU and latency of each, with ratios against tonic. Ratios are medians of the ratios of single rounds.
pub(crate) fn ratios(result: &GroupResult, unit: &str) -> String {
    let rounds =
        || result.contests.iter().flat_map(|contest| &contest.entries).flat_map(|entry| &entry.rounds);
    let timed = rounds().any(|round| round.client.latency.is_some());
    let sized = result.contests.iter().any(|contest| contest.bytes.is_some());
    let mut table = String::new();
    let mut line = |cells: Vec<String>| {
        // Writing to a string does not fail.
        let _ = writeln!(table, "| {} |", cells.join(" | "));
    };
    let mut head = vec!["case", "who"];
    let per_second = format!("{unit}/s");
    head.push(&per_second);
    head.extend(sized.then_some("MiB/s"));
    head.extend(["least–most", "× best", "× as started", "CPU µs server + client", "CPU × best"]);
    head.extend(timed.then_some("p50 µs"));
    head.extend(timed.then_some("p99 µs"));
    line(head.iter().map(|&cell| cell.to_owned()).collect());
    line(head.iter().enumerate().map(|(at, _)| if at < 2 { "---" } else { "---:" }.to_owned()).collect());
    for contest in &result.contests {
        for (number, entry) in contest.entries.iter().enumerate() {
            let name = if number == 0 { contest.name.clone() } else { String::new() };
            line([vec![name], row(contest, entry, sized, timed)].concat());
        }
    }
    notes(result, &mut table);
    table
}

/// Rates, CPU and latency of each, with the ratio of the rates of some to others of the same case.
pub(crate) fn against_others(
    result: &GroupResult,
    unit: &str,
    pairs: &[(&str, &str)],
    ratio: &str,
) -> String {
    let mut table = format!(
        "| case | who | {unit}/s | least–most | {ratio} | CPU µs server + client | p50 µs | p99 µs |\n\
         | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |\n"
    );
    for contest in &result.contests {
        for (number_in_case, entry) in contest.entries.iter().enumerate() {
            let name = if number_in_case == 0 { &*contest.name } else { "" };
            let cells = match &entry.failed {
                Some(why) => format!("FAILED: {why}"),
                None => plain_row(contest, entry, pairs),
            };
            // Writing to a string does not fail.
            let _ = writeln!(table, "| {name} | {} | {cells} |", entry.name);
        }
    }
    notes(result, &mut table);
    table
}

fn plain_row(contest: &ContestResult, entry: &EntryResult, pairs: &[(&str, &str)]) -> String {
    let other = pairs.iter().find(|(name, _)| *name == entry.name);
    let rate = entry.spread(Round::rate);
    [
        number(rate.median),
        format!("{}–{}", number(rate.min), number(rate.max)),
        other.map_or_else(String::new, |(_, other)| against(contest, entry, other, Round::rate)),
        format!(
            "{} + {}",
            number(entry.spread(Round::server_us).median),
            number(entry.spread(Round::client_us).median)
        ),
        number(latency(entry, |latency| latency.p50_ns).median),
        number(latency(entry, |latency| latency.p99_ns).median),
    ]
    .join(" | ")
}

/// What stands below a table.
pub(super) fn notes(result: &GroupResult, table: &mut String) {
    for (what, figure) in &result.beside {
        let _ = writeln!(table, "\n{what}: {}", number(*figure));
    }
    if let Some(why) = &result.failed {
        let _ = writeln!(table, "\nFAILED: {why}");
    }
}

fn row(contest: &ContestResult, entry: &EntryResult, sized: bool, timed: bool) -> Vec<String> {
    let mut cells = vec![entry.name.to_owned()];
    if let Some(why) = &entry.failed {
        cells.push(format!("FAILED: {why}"));
        return cells;
    }
    let rate = entry.spread(Round::rate);
    cells.push(number(rate.median));
    if sized {
        cells.push(
            contest
                .bytes
                .map_or_else(String::new, |bytes| number(rate.median * bytes as f64 / (1 << 20) as f64)),
        );
    }
    cells.push(format!("{}–{}", number(rate.min), number(rate.max)));
    cells.push(against(contest, entry, BEST, Round::rate));
    cells.push(against(contest, entry, USUAL, Round::rate));
    let (server, client) = (entry.spread(Round::server_us), entry.spread(Round::client_us));
    cells.push(format!("{} + {}", number(server.median), number(client.median)));
    cells.push(against(contest, entry, BEST, Round::both_us));
    if timed {
        cells.push(number(latency(entry, |latency| latency.p50_ns).median));
        cells.push(number(latency(entry, |latency| latency.p99_ns).median));
    }
    cells
}

fn latency(entry: &EntryResult, which: impl Fn(crate::protocol::Latency) -> u64) -> Spread {
    entry.spread(|round| round.client.latency.map_or(f64::NAN, |latency| which(latency) as f64 / 1e3))
}

fn against(
    contest: &ContestResult,
    entry: &EntryResult,
    other: &str,
    figure: impl Fn(&Round) -> f64,
) -> String {
    match contest.entry(other) {
        Some(other) => format!("{:.2}", entry.against(other, figure).median),
        None => "–".to_owned(),
    }
}

/// About three digits, with a mark between thousands.
pub(crate) fn number(value: f64) -> String {
    if value.is_nan() {
        return "–".to_owned();
    }
    match value.abs() {
        0.0..0.1 => return format!("{value:.4}"),
        0.1..1.0 => return format!("{value:.3}"),
        1.0..10.0 => return format!("{value:.2}"),
        10.0..100.0 => return format!("{value:.1}"),
        _ => {}
    }
    let digits = format!("{value:.0}");
    let mut marked = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 && !marked.ends_with('-') {
            marked.push(',');
        }
        marked.push(digit);
    }
    marked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_three_digits_or_all_before_the_point() {
        let shown = [0.0123, 0.5, 7.123, 47.26, 999.4, 1_234_567.0, f64::NAN].map(number);
        assert_eq!(shown, ["0.0123", "0.500", "7.12", "47.3", "999", "1,234,567", "–"]);
    }
}
