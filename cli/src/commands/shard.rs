//! `granary shard`: looks at shards.

use comfy_table::{Table, presets::NOTHING};
use granary_common::{SlotRange, limits::MAX_SHARDS};
use granary_planner::observed::{Cluster, Replica, Role, Shard};
use serde::Serialize;

use crate::{
    admin::{self, PeerArgs},
    context::Context,
    failure::Failure,
    output,
};

/// Arguments of `granary shard`.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    peers: PeerArgs,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    /// All shards, with their slots, leader and replicas
    List,
    /// One shard
    Show {
        /// Its id; 0 is the meta shard
        id: u32,
    },
}

#[derive(Serialize)]
struct Row<'a> {
    slots: SlotRange,
    #[serde(flatten)]
    shard: &'a Shard,
}

/// Does it.
pub async fn run(context: &Context, args: Args) -> Result<(), Failure> {
    let seen = admin::look(context, &args.peers).await?;
    seen.say_what_is_missing();
    let (cluster, whole) = (&seen.cluster, seen.map_only.is_none());
    match args.command {
        Command::List => list(context, cluster, whole),
        Command::Show { id } => {
            let shard = cluster.shards.iter().find(|shard| shard.id == id).ok_or_else(|| unknown(cluster, id))?;
            show(context, cluster, shard, whole)
        }
    }
}

fn unknown(cluster: &Cluster, id: u32) -> Failure {
    let last = cluster.shards.iter().map(|shard| shard.id).max().unwrap_or_default().min(MAX_SHARDS);
    Failure::not_found(format!("shard is {id}, allowed: 0 (the meta shard) to {last}"))
}

fn slots(cluster: &Cluster, shard: &Shard) -> SlotRange {
    match shard.id.checked_sub(1) {
        None => SlotRange::NONE,
        Some(index) => SlotRange::of_shard(index, cluster.shard_count),
    }
}

fn list(context: &Context, cluster: &Cluster, whole: bool) -> Result<(), Failure> {
    if context.json() {
        let rows: Vec<_> = cluster.shards.iter().map(|shard| Row { slots: slots(cluster, shard), shard }).collect();
        return output::json(&rows);
    }
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(["SHARD", "SLOTS", "LEADER", "REPLICAS", "TARGET", "BYTES"]);
    for shard in &cluster.shards {
        let range = slots(cluster, shard);
        table.add_row([
            shard.id.to_string(),
            if range.is_empty() { "-".to_owned() } else { format!("{}..{}", range.start, range.end) },
            shard.leader.map_or("-".to_owned(), |leader| leader.to_string()),
            shard.replicas.iter().map(|replica| short(replica, whole)).collect::<Vec<_>>().join(" "),
            shard.target.iter().map(u64::to_string).collect::<Vec<_>>().join(" "),
            if whole { super::status::bytes(shard.bytes) } else { "-".to_owned() },
        ]);
    }
    output::line(&table.to_string())
}

/// The node, with a mark where it is not a voter that has caught up, if that is known.
fn short(replica: &Replica, whole: bool) -> String {
    let role = match replica.role {
        Role::Voter => "",
        Role::Learner => "(learner)",
        Role::Outgoing => "(outgoing)",
    };
    format!("{}{role}{}", replica.node, if replica.caught_up || !whole { "" } else { "(behind)" })
}

fn show(context: &Context, cluster: &Cluster, shard: &Shard, whole: bool) -> Result<(), Failure> {
    let range = slots(cluster, shard);
    if context.json() {
        return output::json(&Row { slots: range, shard });
    }
    output::line(&format!("shard {}: {range}, group version {}", shard.id, shard.version))?;
    match shard.leader {
        Some(leader) => output::line(&format!("leader: node {leader}"))?,
        None => output::line("leader: none was heard lately; the replicas are those last reported")?,
    }
    for replica in &shard.replicas {
        output::line(&format!("replica: {}", short(replica, whole)))?;
    }
    output::line(&format!("target: {:?}", shard.target))?;
    match whole {
        true => output::line(&format!("size: about {}", super::status::bytes(shard.bytes))),
        false => Ok(()),
    }
}
