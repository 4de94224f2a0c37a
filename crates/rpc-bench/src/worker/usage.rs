//! What a process uses.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};

use crate::protocol::{Counts, Mark};

/// CPU time of this process so far, user and system, all threads, in nanoseconds.
pub(super) fn cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Lets this process have as many connections as the system allows it. Where that are not enough, the case says so.
pub(super) fn allow_files() {
    let limit = getrlimit(Resource::Nofile);
    // Not to be had: it stays as it is.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

/// Now.
pub(super) fn mark(counts: Counts) -> Mark {
    Mark { cpu_ns: cpu_ns(), resident_bytes: resident_bytes(), counts }
}

/// Memory that this process has in use. `None` where there is no `/proc`.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix("kB"))?;
    Some(kib.trim().parse::<u64>().ok()? * 1024)
}
