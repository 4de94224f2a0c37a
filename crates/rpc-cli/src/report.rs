//! What a command found, as text for people and as JSON for programs.

use std::fmt::Write;
use std::path::PathBuf;

use rpc_store::{Contents, Statistics};
use serde_json::{Value, json};

/// What a command found.
#[derive(Debug)]
pub(crate) enum Report {
    Check { directory: PathBuf, found: rpc_store::Report },
    Backup { directory: PathBuf, to: PathBuf, copy: rpc_store::Report },
    Stats { directory: PathBuf, found: Statistics },
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
                lines.checked(found);
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
            Self::Backup { directory, to, copy } => {
                lines.add("copied from", directory.display());
                lines.add("to", to.display());
                lines.checked(copy);
            }
            Self::Stats { directory, found } => {
                lines.add("directory", directory.display());
                lines.add("store", found.id);
                lines.contents(&found.contents);
                lines.add("numbers", format!("{} given", found.numbers_given));
                lines.add("commits", found.commits);
                lines.add("journals", found.journals);
                lines.add("on disk", bytes(found.bytes_on_disk));
            }
        }
        lines.text
    }

    pub(crate) fn json(&self) -> Value {
        match self {
            Self::Check { directory, found } => {
                let mut object = checked(found);
                object["directory"] = json!(directory.display().to_string());
                object["sound"] = json!(found.is_sound());
                object["damaged"] = json!(found.damaged);
                object["damage"] = json!(found.damage);
                object
            }
            Self::Backup { directory, to, copy } => {
                let mut object = checked(copy);
                object["from"] = json!(directory.display().to_string());
                object["to"] = json!(to.display().to_string());
                object
            }
            Self::Stats { directory, found } => json!({
                "directory": directory.display().to_string(),
                "store": found.id.to_string(),
                "contents": contents(&found.contents),
                "numbers_given": found.numbers_given,
                "commits": found.commits,
                "journals": found.journals,
                "bytes_on_disk": found.bytes_on_disk,
            }),
        }
    }
}

fn checked(report: &rpc_store::Report) -> Value {
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

    fn checked(&mut self, report: &rpc_store::Report) {
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
            ..
        } = contents;
        let sessions = format!("{sessions_live} live, {sessions_ended} ended, {}", bytes(*session_bytes));
        self.add("sessions", sessions);
        self.add("slots", format!("{slots} with a call, {}", bytes(*slot_bytes)));
        self.add("activities", format!("{activities}, {}", bytes(*activity_bytes)));
        self.add("values", format!("{values}, {}", bytes(*value_bytes)));
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
    use super::bytes;

    #[test]
    fn bytes_are_said_in_a_unit_that_fits() {
        let said = [0, 1_023, 1_024, 1_536, 1 << 20, (1 << 40) + (1 << 39), u64::MAX].map(bytes);
        let expected =
            ["0 bytes", "1023 bytes", "1.0 KiB", "1.5 KiB", "1.0 MiB", "1.5 TiB", "16777216.0 TiB"];
        assert_eq!(said, expected);
    }
}
