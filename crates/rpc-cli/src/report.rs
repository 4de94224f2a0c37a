//! What a command found, as text for people and as JSON for programs.

use std::fmt::Write;
use std::path::PathBuf;

use rpc_core::store::operations::{BATCH_CLASSES, Contents, Copied, SinceOpen, Statistics};
use serde_json::{Value, json};

/// What a command found.
#[derive(Debug)]
pub(crate) enum Report {
    Check { directory: PathBuf, found: rpc_store::Report },
    Backup { from: String, to: String, copy: Copied },
    Stats { of: Source, found: Box<Statistics> },
}

/// Whose store was counted.
#[derive(Debug)]
pub(crate) enum Source {
    /// One that nobody else uses.
    Directory(PathBuf),
    /// That of a running server, by its URL.
    Server(String),
}

impl Report {
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Check { found, .. } => u8::from(!found.is_sound()),
            Self::Backup { .. } | Self::Stats { .. } => 0,
        }
    }

    pub(crate) fn text(&self) -> String {
        let mut lines = Lines::default();
        match self {
            Self::Check { directory, found } => {
                lines.add("directory", directory.display());
                lines.checked(&found.into());
                match found.damaged {
                    0 => lines.add("verdict", "sound"),
                    damaged => lines.add("verdict", format!("DAMAGED, {damaged} records")),
                }
                for damage in &found.damage {
                    lines.add("", damage);
                }
                let more = found.damaged - found.damage.len() as u64;
                if more > 0 {
                    lines.add("", format!("and {more} more"));
                }
            }
            Self::Backup { from, to, copy } => {
                lines.add("copied from", from);
                lines.add("to", to);
                lines.checked(copy);
            }
            Self::Stats { of, found } => {
                match of {
                    Source::Directory(directory) => lines.add("directory", directory.display()),
                    Source::Server(url) => lines.add("server", url),
                }
                lines.add("store", found.id);
                lines.contents(&found.contents);
                lines.add("numbers", format!("{} given", found.numbers_given));
                lines.add("commits", found.commits);
                lines.add("journals", found.journals);
                lines.add("on disk", bytes(found.bytes_on_disk));
                // Nobody but a server has done anything since it opened its store.
                if let Source::Server(_) = of {
                    lines.since_open(&found.since_open);
                    match &found.closed {
                        Some(why) => lines.add("state", format!("CLOSED: {}", why.escape_debug())),
                        None => lines.add("state", "open"),
                    }
                }
            }
        }
        lines.text
    }

    pub(crate) fn json(&self) -> Value {
        match self {
            Self::Check { directory, found } => {
                let mut object = checked(&found.into());
                object["directory"] = json!(directory.display().to_string());
                object["sound"] = json!(found.is_sound());
                object["damaged"] = json!(found.damaged);
                object["damage"] = json!(found.damage);
                object
            }
            Self::Backup { from, to, copy } => {
                let mut object = checked(copy);
                object["from"] = json!(from);
                object["to"] = json!(to);
                object
            }
            Self::Stats { of, found } => {
                let mut object = json!({
                    "store": found.id.to_string(),
                    "contents": contents(&found.contents),
                    "numbers_given": found.numbers_given,
                    "commits": found.commits,
                    "journals": found.journals,
                    "bytes_on_disk": found.bytes_on_disk,
                });
                match of {
                    Source::Directory(directory) => {
                        object["directory"] = json!(directory.display().to_string());
                    }
                    Source::Server(url) => {
                        object["server"] = json!(url);
                        object["closed"] = json!(found.closed);
                        object["since_open"] = since_open(&found.since_open);
                    }
                }
                object
            }
        }
    }
}

fn since_open(work: &SinceOpen) -> Value {
    json!({
        "syncs": work.syncs,
        "writes": work.writes,
        "writes_refused": work.writes_refused,
        "commit_seconds": work.commit_time.as_secs_f64(),
        "commit_seconds_max": work.commit_time_max.as_secs_f64(),
        "batch_writes_max": work.batch_writes_max,
        "batch_classes": work.batch_classes,
    })
}

fn checked(report: &Copied) -> Value {
    json!({
        "store": report.id.to_string(),
        "contents": contents(&report.contents),
        "numbers_given": report.numbers_given,
        "commits": report.commits,
        "bytes_on_disk": report.bytes_on_disk,
    })
}

fn contents(contents: &Contents) -> Value {
    json!({
        "sessions_live": contents.sessions_live,
        "sessions_ended": contents.sessions_ended,
        "session_bytes": contents.session_bytes,
        "slots": contents.slots,
        "slot_bytes": contents.slot_bytes,
        "activities": contents.activities,
        "activity_bytes": contents.activity_bytes,
        "values": contents.values,
        "value_bytes": contents.value_bytes,
    })
}

/// Names on the left, what they are on the right.
#[derive(Default)]
struct Lines {
    text: String,
}

impl Lines {
    fn add(&mut self, name: &str, value: impl std::fmt::Display) {
        writeln!(self.text, "{name:<12} {value}").expect("a string takes everything");
    }

    fn since_open(&mut self, work: &SinceOpen) {
        let SinceOpen {
            syncs,
            writes,
            writes_refused,
            commit_time,
            commit_time_max,
            batch_writes_max,
            batch_classes,
        } = work;
        let mean = commit_time.checked_div(u32::try_from(*syncs).unwrap_or(u32::MAX)).unwrap_or_default();
        self.add("syncs", format!("{syncs} since the start, {mean:.1?} each, {commit_time_max:.1?} at most"));
        self.add("writes", format!("{writes}, and {writes_refused} refused"));
        let classes = batch_classes.iter().enumerate().filter(|(_, commits)| **commits > 0);
        let classes: Vec<_> =
            classes.map(|(class, commits)| format!("{commits} of {}", batch_sizes(class))).collect();
        let classes = if classes.is_empty() { "none".to_owned() } else { classes.join(", ") };
        self.add("batches", format!("{classes}; {batch_writes_max} writes at most"));
    }

    fn checked(&mut self, report: &Copied) {
        self.add("store", report.id);
        self.contents(&report.contents);
        self.add("numbers", format!("{} given", report.numbers_given));
        self.add("commits", report.commits);
        self.add("on disk", bytes(report.bytes_on_disk));
    }

    fn contents(&mut self, contents: &Contents) {
        let Contents {
            sessions_live,
            sessions_ended,
            session_bytes,
            slots,
            slot_bytes,
            activities,
            activity_bytes,
            values,
            value_bytes,
        } = contents;
        let sessions = format!("{sessions_live} live, {sessions_ended} ended, {}", bytes(*session_bytes));
        self.add("sessions", sessions);
        self.add("slots", format!("{slots} with a call, {}", bytes(*slot_bytes)));
        self.add("activities", format!("{activities}, {}", bytes(*activity_bytes)));
        self.add("values", format!("{values}, {}", bytes(*value_bytes)));
    }
}

/// How many writes the batches of a class have.
fn batch_sizes(class: usize) -> String {
    let last = 1_u64 << class;
    match class {
        0 | 1 => last.to_string(),
        _ if class == BATCH_CLASSES - 1 => format!("over {}", last / 2),
        _ => format!("{} to {last}", last / 2 + 1),
    }
}

/// In the largest unit that leaves a number over 1.
fn bytes(count: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    let Some(exponent) = count.checked_ilog2().map(|log| log / 10).filter(|exponent| *exponent > 0) else {
        return format!("{count} bytes");
    };
    let exponent = exponent.min(units.len() as u32);
    let whole = count as f64 / 1024_f64.powi(exponent as i32);
    format!("{whole:.1} {}", units[exponent as usize - 1])
}

#[cfg(test)]
mod tests {
    use super::{batch_sizes, bytes};

    #[test]
    fn batches_are_said_as_they_are_counted() {
        let said = [0, 1, 2, 3, 10, 11].map(batch_sizes);
        assert_eq!(said, ["1", "2", "3 to 4", "5 to 8", "513 to 1024", "over 1024"]);
    }

    #[test]
    fn bytes_are_said_in_a_unit_that_fits() {
        let said = [0, 1_023, 1_024, 1_536, 1 << 20, (1 << 40) + (1 << 39), u64::MAX].map(bytes);
        let expected =
            ["0 bytes", "1023 bytes", "1.0 KiB", "1.5 KiB", "1.0 MiB", "1.5 TiB", "16777216.0 TiB"];
        assert_eq!(said, expected);
    }
}
