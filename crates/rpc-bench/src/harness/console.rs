//! What people see: results on standard output, progress on standard error.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "that is what the program is for")]

/// A result.
pub(super) fn print(text: &str) {
    println!("{text}");
}

/// Progress, or trouble.
pub(super) fn note(text: &str) {
    eprintln!("{text}");
}
