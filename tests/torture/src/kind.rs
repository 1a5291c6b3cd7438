//! The kinds of faults, by the names under which reports count them.

use clap::ValueEnum;

/// What the nemesis does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Kind {
    /// `kill -9` of a node.
    Kill,
    /// `kill -9` of all nodes at once.
    KillAll,
    /// SIGTERM: a node stops as it should, and is started again.
    Stop,
    /// SIGSTOP of the node that leads most, for longer than a lease, while clients read; then SIGCONT.
    Pause,
    /// SIGSTOP of all nodes but one.
    PauseOthers,
    /// A node hears nobody and is heard by nobody.
    Isolate,
    /// A node is not heard, or hears nobody, but not both.
    OneWay,
    /// A node is isolated and not, again and again.
    Flapping,
    /// The leader and one follower do not hear each other.
    OneFromOne,
    /// Two halves that do not hear each other, and one node that both hear.
    Bridge,
    /// Each node hears its neighbours in a ring only; of three, one neighbour only.
    Ring,
    /// What nodes answer to clients is lost: writes are done, and nobody knows.
    AnswersLost,
    /// A directory is emptied under a node that is killed; it comes back as another node.
    Wipe,
    /// The power of all nodes is cut: what was not synced is lost or torn.
    PowerCut,
    /// Reads, writes and syncs of a node's disk take long.
    DiskSlow,
    /// A node's disk hangs.
    DiskStall,
    /// A node's disk is full.
    DiskFull,
    /// A sync of a node's disk fails.
    DiskError,
    /// The wall clock of nodes is set by an hour, and back.
    ClockJump,
    /// More nodes are asked for.
    ScaleOut,
    /// Fewer nodes are asked for.
    ScaleIn,
    /// A node is to be emptied, and then not.
    Drain,
    /// `kill -9` of the operator; another is started.
    OperatorKill,
    /// SIGSTOP and SIGCONT of the operator: it goes on with what it saw before.
    OperatorPause,
}

impl Kind {
    /// What is asked of the operator, or done to it: one of them a round.
    pub const CHURN: [Self; 5] = [Self::ScaleOut, Self::Drain, Self::OperatorKill, Self::ScaleIn, Self::OperatorPause];

    /// By its name in reports.
    pub fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// Whether it belongs to [`Kind::CHURN`].
    pub fn is_churn(self) -> bool {
        Self::CHURN.contains(&self)
    }
}
