//! `granary status`: says what the cluster is doing, what waits and why.

use std::time::Duration;

use comfy_table::{Table, presets::NOTHING};
use granary_operator::{
    clock::unix_ms,
    substrate::local::status_file::{NodeRow, StatusFile, leaders, replicas},
};
use granary_planner::observed::Cluster;

use crate::{
    admin::{self, PeerArgs},
    context::Context,
    failure::Failure,
    output, phase,
};

/// Between two looks of --watch.
const WATCH: Duration = Duration::from_millis(500);
/// Age in ms from which what the loop wrote is called old.
const OLD_MS: u64 = 10_000;

/// Arguments of `granary status`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Show it again and again, until Ctrl-C
    #[arg(short, long)]
    watch: bool,
    #[command(flatten)]
    peers: PeerArgs,
}

/// Does it.
pub async fn run(context: &Context, args: Args) -> Result<(), Failure> {
    loop {
        let status = look(context, &args.peers).await?;
        if args.watch && !context.json() {
            // Clears the screen and goes to its beginning.
            output::raw(b"\x1b[2J\x1b[H")?;
        }
        if context.json() {
            output::json(&status)?
        } else {
            print(&status)?
        }
        if !args.watch {
            return Ok(());
        }
        tokio::time::sleep(WATCH).await;
    }
}

/// What the local loop says; where none is, what the cluster itself says.
async fn look(context: &Context, args: &PeerArgs) -> Result<StatusFile, Failure> {
    if args.peer_endpoints.is_empty()
        && let Some(status) = admin::local_status(context)?
        // Before there are members there are no endpoints: the local loop is the only one to ask.
        && context.endpoints().is_ok_and(|given| given == status.kv_endpoints) | status.kv_endpoints.is_empty()
    {
        return Ok(status);
    }
    let seen = admin::look(context, args).await?;
    seen.say_what_is_missing();
    let state = &seen.state;
    let peers = state.nodes.iter().filter_map(|node| Some(node.addresses.clone()?.peer)).collect();
    let kv = state.nodes.iter().filter_map(|node| Some(node.addresses.clone()?.kv)).collect();
    Ok(StatusFile { kv_endpoints: kv, peer_endpoints: peers, ..of_cluster(&seen.cluster, seen.map_only.is_none()) })
}

/// Without a loop: no plan. `heard`: it is known whether nodes are heard.
fn of_cluster(cluster: &Cluster, heard: bool) -> StatusFile {
    let phase = phase::of(cluster, heard);
    let data = || cluster.shards.iter().filter(|shard| shard.id != 0);
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let nodes = cluster.nodes.iter().map(|node| NodeRow {
        id: node.id,
        name: node.name.clone(),
        pid: None,
        kv_address: None,
        peer_address: None,
        state: match (node.draining, node.silent_for_ms) {
            (true, _) => "draining",
            (false, _) if !heard => "unknown",
            (false, silent) if silent >= phase::SILENT_MS => "silent",
            (false, _) => "ready",
        }
        .into(),
        replicas: replicas(Some(cluster), node.id),
        leaders: leaders(Some(cluster), node.id),
    });
    StatusFile {
        cluster_id: Some(cluster.cluster_id.clone()),
        ready: phase == phase::READY,
        phase: phase.into(),
        replicas: count(cluster.nodes.len()),
        nodes: nodes.collect(),
        shards: count(data().count()),
        shards_with_leader: count(data().filter(|shard| shard.leader.is_some()).count()),
        observed_time_ms: unix_ms(),
        ..StatusFile::default()
    }
}

/// Rate and time left of a migration, in words; empty when nothing moves.
pub(crate) fn pace(status: &StatusFile) -> String {
    if status.moves_left == 0 {
        return String::new();
    }
    let rate = status.bytes_per_second.map_or(String::new(), |rate| format!(", {}/s", bytes(rate)));
    let left = status.seconds_left.map_or(String::new(), |seconds| format!(", {seconds} s left"));
    format!("{} to copy{rate}{left}", bytes(status.bytes_left))
}

pub(crate) fn bytes(number: u64) -> String {
    indicatif::BinaryBytes(number).to_string()
}

/// Writes it for people.
pub(crate) fn print(status: &StatusFile) -> Result<(), Failure> {
    let age = unix_ms().saturating_sub(status.observed_time_ms);
    let old = if age >= OLD_MS { format!(" (seen {} s ago)", age / 1000) } else { String::new() };
    output::line(&format!("{}{old}", status.phase))?;
    output::line(&format!(
        "{} nodes asked, {} of {} shards with a leader",
        status.replicas, status.shards_with_leader, status.shards
    ))?;
    if status.moves_left > 0 {
        output::line(&format!("{} replicas to move: {}", status.moves_left, pace(status)))?;
    }
    for (name, lines) in [("does", &status.plan), ("waits", &status.waiting)] {
        for line in lines {
            output::line(&format!("{name}: {line}"))?;
        }
    }
    let hidden = usize::try_from(status.plan_steps).unwrap_or(usize::MAX).saturating_sub(status.plan.len());
    if hidden > 0 {
        output::line(&format!("does: and {hidden} more steps"))?;
    }
    if let Some(error) = &status.spec_error {
        output::line(&format!("the file is not followed: {error}"))?;
    }
    output::line(&table(&status.nodes).to_string())
}

/// The table of nodes.
pub(crate) fn table(nodes: &[NodeRow]) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header([
        "NODE",
        "NAME",
        "STATE",
        "REPLICAS",
        "LEADERS",
        "PID",
        "DATA API",
        "ADMIN API",
    ]);
    let dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    for node in nodes {
        table.add_row([
            dash(Some(node.id).filter(|id| *id != 0).map(|id| id.to_string())),
            node.name.clone(),
            node.state.clone(),
            node.replicas.to_string(),
            node.leaders.to_string(),
            dash(node.pid.map(|pid| pid.to_string())),
            dash(node.kv_address.clone()),
            dash(node.peer_address.clone()),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_migration_is_said_with_what_is_left_its_rate_and_its_end() {
        let mut status = StatusFile { moves_left: 3, bytes_left: 3 << 20, ..StatusFile::default() };
        assert_eq!(pace(&status), "3.00 MiB to copy");
        (status.bytes_per_second, status.seconds_left) = (Some(1 << 20), Some(3));
        assert_eq!(pace(&status), "3.00 MiB to copy, 1.00 MiB/s, 3 s left");
        status.moves_left = 0;
        assert_eq!(pace(&status), "");
    }
}
