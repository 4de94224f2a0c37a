//! Resynchronization: what may be asked for, what it does to the serials, and which of two that cross wins.

/// How to go back (X.215 13.11).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResyncKind {
    /// To a point since the last major one.
    Restart,
    /// To a serial of the asking side's choice.
    Set,
    /// To a new serial: what was under way is given up.
    Abandon,
}

/// What can cross on its way, in the order of X.215 16.2: the later one here wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Collision {
    /// An exception report.
    Exception,
    /// A resynchronization.
    Resync(ResyncKind),
    /// An activity is interrupted.
    Interrupt,
    /// An activity is discarded.
    Discard,
    /// The call or the session is aborted.
    Abort,
}
