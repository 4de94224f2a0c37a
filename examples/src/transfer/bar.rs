//! What a person sees of a transfer.

use std::fmt::Display;
use std::io::{IsTerminal as _, Write as _, stderr, stdout};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

/// How often it is drawn.
pub const TICK: Duration = Duration::from_millis(100);

/// Cells of the bar.
const CELLS: u64 = 40;

/// Who is told of a transfer while it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Whoever reads stderr. The bar is drawn on terminals only.
    Stderr,
    /// Nobody.
    Nobody,
}

/// A bar with two parts: what is secured, and what is on its way.
pub struct Bar {
    audience: Audience,
    bar: ProgressBar,
    sent: Arc<AtomicU64>,
}

impl Bar {
    /// For a file of this name and size.
    pub fn new(audience: Audience, name: &str, size: u64) -> Self {
        let drawn = audience == Audience::Stderr && stderr().is_terminal();
        let target = if drawn { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(size), target);
        let sent = Arc::new(AtomicU64::new(0));
        let shared = Arc::clone(&sent);
        let parts = move |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            // A line that cannot be drawn is not worth an error.
            let _ = out.write_str(&parts(state.pos(), shared.load(Ordering::Relaxed), size));
        };
        let template = "{msg}  {parts}  {bytes} of {total_bytes} secured, {bytes_per_sec}, {eta} left";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.with_key("parts", parts));
        }
        bar.set_message(name.to_owned());
        Self { audience, bar, sent }
    }

    /// The transfer began here: what lies before does not count into the rate.
    pub fn begin_at(&self, offset: u64) {
        self.show(offset, offset);
        self.bar.reset_eta();
    }

    /// Bytes of the file that were sent, and that are secured.
    pub fn show(&self, sent: u64, secured: u64) {
        self.sent.store(sent, Ordering::Relaxed);
        self.bar.set_position(secured);
    }

    /// Says something beside the bar, on stderr.
    pub fn say(&self, text: &str) {
        if self.audience == Audience::Stderr {
            self.bar.suspend(|| note(text));
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// `█` is secured, `▒` is on its way.
fn parts(secured: u64, sent: u64, size: u64) -> String {
    let cells =
        |bytes: u64| (u128::from(bytes.min(size)) * u128::from(CELLS) / u128::from(size.max(1))) as usize;
    let (secured, sent) = (cells(secured), cells(sent.max(secured)));
    let rest = CELLS as usize - sent;
    format!("{}{}{}", "█".repeat(secured), "▒".repeat(sent - secured), "·".repeat(rest))
}

/// Says a result on stdout. Nobody listening is no reason to stop.
pub fn say(line: impl Display) {
    let _ = writeln!(stdout(), "{line}");
}

/// Says on stderr what is no result.
pub fn note(line: impl Display) {
    let _ = writeln!(stderr(), "{line}");
}

/// A number of things, as people say it.
pub fn counted(number: impl Into<u64>, thing: &str) -> String {
    match number.into() {
        1 => format!("1 {thing}"),
        number => format!("{} {thing}s", HumanCount(number)),
    }
}

/// A size or rate, as people read it.
pub fn human(bytes: u64) -> HumanBytes {
    HumanBytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_has_both_parts_and_never_more_cells_than_it_has() {
        assert_eq!(parts(50, 75, 100), format!("{}{}{}", "█".repeat(20), "▒".repeat(10), "·".repeat(10)));
        for (secured, sent, size) in
            [(0, 0, 0), (0, 1, 0), (9, 5, 10), (u64::MAX, u64::MAX, u64::MAX), (20, 30, 10)]
        {
            assert_eq!(parts(secured, sent, size).chars().count(), 40, "{secured} {sent} {size}");
        }
    }
}
