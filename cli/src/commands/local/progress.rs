//! How far the cluster is: bars on a terminal, a line for each change elsewhere.

use std::io::{IsTerminal as _, stderr};

use granary_operator::substrate::local::status_file::StatusFile;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// Shows statuses as they come.
pub enum Progress {
    /// To nobody.
    Quiet,
    /// On a terminal.
    Bars(Box<Bars>),
    /// Elsewhere.
    Lines {
        /// What was said last.
        last: String,
    },
}

/// Three bars and a line.
pub struct Bars {
    nodes: ProgressBar,
    leaders: ProgressBar,
    moves: ProgressBar,
    now: ProgressBar,
    /// The most replicas that were to be moved at once since none was.
    most_moves: u64,
    all: MultiProgress,
}

impl Progress {
    /// Bars when stderr is a terminal; nothing when `quiet`.
    pub fn new(quiet: bool) -> Self {
        match (quiet, stderr().is_terminal()) {
            (true, _) => Self::Quiet,
            (false, true) => Self::Bars(Box::new(Bars::new())),
            (false, false) => Self::Lines { last: String::new() },
        }
    }

    /// Shows one.
    pub fn show(&mut self, status: &StatusFile) {
        match self {
            Self::Quiet => {}
            Self::Bars(bars) => bars.show(status),
            Self::Lines { last } => {
                let line = line(status);
                if *last != line {
                    eprintln!("{line}");
                    *last = line;
                }
            }
        }
    }

    /// A line that stays, above the bars.
    pub fn say(&self, line: &str) {
        match self {
            Self::Quiet => {}
            // A terminal that cannot be written to has nobody who reads.
            Self::Bars(bars) => _ = bars.all.println(line),
            Self::Lines { .. } => eprintln!("{line}"),
        }
    }

    /// Takes the bars away, so that what is printed next is not drawn over.
    pub fn done(self) {
        if let Self::Bars(bars) = self {
            _ = bars.all.clear();
        }
    }
}

fn ready_nodes(status: &StatusFile) -> usize {
    status.nodes.iter().filter(|node| node.state == "ready").count()
}

/// What is done now, or what is waited for, or wrong.
fn now(status: &StatusFile) -> String {
    let said = [status.spec_error.as_ref(), status.waiting.first(), status.plan.first()];
    said.into_iter().flatten().next().cloned().unwrap_or_default()
}

fn line(status: &StatusFile) -> String {
    let now = now(status);
    let now = if now.is_empty() { now } else { format!(": {now}") };
    format!(
        "{}: {} of {} nodes ready, {} of {} shards with a leader, {} replicas to move{now}",
        status.phase,
        ready_nodes(status),
        status.replicas,
        status.shards_with_leader,
        status.shards,
        status.moves_left
    )
}

impl Bars {
    fn new() -> Self {
        let all = MultiProgress::new();
        let bar = |name: &'static str| {
            let template = "{prefix:>20} [{bar:32}] {pos}/{len} {msg}";
            let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
            all.add(ProgressBar::new(0).with_style(style.progress_chars("=> ")).with_prefix(name))
        };
        let (nodes, leaders, moves) = (bar("nodes ready"), bar("shards with a leader"), bar("replicas moved"));
        let style = ProgressStyle::with_template("{wide_msg}").unwrap_or_else(|_| ProgressStyle::default_spinner());
        let now = all.add(ProgressBar::new_spinner().with_style(style));
        Self { nodes, leaders, moves, now, most_moves: 0, all }
    }

    fn show(&mut self, status: &StatusFile) {
        set(&self.nodes, ready_nodes(status) as u64, u64::from(status.replicas));
        set(&self.leaders, u64::from(status.shards_with_leader), u64::from(status.shards));
        self.most_moves = if status.moves_left == 0 { 0 } else { self.most_moves.max(status.moves_left) };
        set(&self.moves, self.most_moves - status.moves_left, self.most_moves);
        self.moves.set_message(super::super::status::pace(status));
        self.now.set_message(format!("{}  {}", status.phase, now(status)));
    }
}

fn set(bar: &ProgressBar, position: u64, length: u64) {
    bar.set_length(length);
    bar.set_position(position);
}
