//! A plan as people read it in `granary plan`. Knows words only, no decisions.

use std::fmt;

use crate::plan::{Plan, Step};

/// Most shards that a list names; the rest is a count.
const NAMED: usize = 5;

/// "1, 2, 3, 4, 5 and 12 more".
pub(crate) fn list<T: fmt::Display>(items: &[T]) -> String {
    let mut text = items.iter().take(NAMED).map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if items.len() > NAMED {
        text.push_str(&format!(" and {} more", items.len() - NAMED));
    }
    text
}

/// "1 replica", "2 replicas".
pub(crate) fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

impl Plan {
    /// The plan as text, a line each: steps with their reasons, then what it waits for, then what is wrong.
    /// Long steps (moves, placements, transfers) are cut to the first five items and a count.
    pub fn render(&self) -> String {
        self.to_string()
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_settled() {
            return writeln!(f, "nothing to do: the cluster is as desired");
        }
        for (number, planned) in self.steps.iter().enumerate() {
            let mark = if planned.reversible { "" } else { " (cannot be taken back)" };
            writeln!(f, "{}. {}{mark}\n     {}", number + 1, planned.step, planned.reason)?;
        }
        for waiting in &self.waiting {
            writeln!(f, "waits: {:?}: {}", waiting.reason, waiting.message)?;
        }
        for degraded in &self.degraded {
            writeln!(f, "degraded: {:?}: {}", degraded.reason, degraded.message)?;
        }
        Ok(())
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MintClusterId => write!(f, "mint a cluster id"),
            Self::StartNode { index } => write!(f, "start the node at place {index}"),
            Self::Found { founders } => write!(f, "found the cluster on places {}", list(founders)),
            Self::NoteFounded => write!(f, "note that the cluster was founded"),
            Self::Join { index } => write!(f, "join the node at place {index}"),
            Self::CreateShards { placements } => {
                let items: Vec<_> = placements.iter().map(|(shard, nodes)| format!("{shard} on {nodes:?}")).collect();
                write!(f, "create {}: {}", count(placements.len(), "shard"), list(&items))
            }
            Self::Reconfigure { moves } => {
                let items: Vec<_> = moves.iter().map(|m| format!("{} to {:?}", m.shard, m.nodes)).collect();
                let bytes: u64 = moves.iter().map(|m| m.bytes).sum();
                write!(f, "move {} ({bytes} bytes): {}", count(moves.len(), "shard"), list(&items))
            }
            Self::TransferLeaders { transfers } => {
                let items: Vec<_> = transfers.iter().map(|(shard, node)| format!("{shard} to {node}")).collect();
                write!(f, "transfer {}: {}", count(transfers.len(), "leader"), list(&items))
            }
            Self::Drain { node } => write!(f, "drain node {node}"),
            Self::CancelDrain { node } => write!(f, "cancel the drain of node {node}"),
            Self::RemoveNode { node } => write!(f, "remove node {node}"),
            Self::ReserveStop { node } => write!(f, "reserve the stop of node {node}"),
            Self::LeadersAway { node } => write!(f, "move leaders off node {node}"),
            Self::ReleaseStop { node } => write!(f, "release the stop of node {node}"),
            Self::RestartPlace { index } => write!(f, "start the process at place {index} anew"),
            Self::RetirePlace { index } => write!(f, "retire place {index}"),
        }
    }
}
