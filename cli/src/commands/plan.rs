//! `granary plan`: prints the steps that would bring the local cluster to what a file asks. Changes nothing.

use std::path::PathBuf;

use granary_operator::{
    node_admin::GrpcAdmin,
    observe::Sight,
    reconcile::preview,
    report::migration,
    spec_file::SpecFile,
    substrate::{
        Look,
        local::{layout::Layout, peek},
    },
};
use granary_planner::{observed::Role, plan::Plan};
use serde::Serialize;

use crate::{context::Context, failure::Failure, output};

/// Arguments of `granary plan`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The StorageCluster (YAML)
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
}

#[derive(Serialize)]
struct Preview<'a> {
    plan: &'a Plan,
    /// Replicas that would move now.
    replicas_to_move: u64,
    /// Bytes to copy for them.
    bytes_to_move: u64,
    /// The fewest voters that a shard can lose and keep its quorum; absent when the cluster cannot be asked.
    quorum_margin: Option<i64>,
}

/// Does it.
pub async fn run(context: &Context, args: Args) -> Result<(), Failure> {
    let file = SpecFile::open(&args.file).map_err(Failure::failed)?;
    let look = look(context)?;
    let (_, sight, plan) = preview(&file.cluster().spec, &look, &GrpcAdmin::default()).await;
    let known = sight.observed.cluster.known();
    let (replicas_to_move, bytes_to_move) = known.map_or((0, 0), |cluster| migration::counts(&plan, cluster));
    let preview = Preview { plan: &plan, replicas_to_move, bytes_to_move, quorum_margin: quorum_margin(&sight) };
    if context.json() {
        return output::json(&preview);
    }
    output::raw(plan.render().as_bytes())?;
    let bytes = super::status::bytes(bytes_to_move);
    output::line(&format!("{replicas_to_move} replicas to move, {bytes} to copy"))?;
    match preview.quorum_margin {
        Some(margin) => output::line(&format!("quorum margin: every shard can lose {margin} more voters")),
        None => output::line("quorum margin: not known, since the cluster does not answer"),
    }
}

fn look(context: &Context) -> Result<Look, Failure> {
    let nothing =
        Look { cluster_id: None, founded: false, places: Vec::new(), draining: Vec::new(), notes: Vec::new() };
    if !context.dir().is_dir() {
        return Ok(nothing);
    }
    peek(&Layout::of(context.dir()).map_err(Failure::failed)?).map_err(Failure::failed)
}

/// Over all shards, the fewest voters that have caught up beyond those a quorum needs; negative: a shard has none.
fn quorum_margin(sight: &Sight) -> Option<i64> {
    let cluster = sight.observed.cluster.fresh()?;
    let margins = cluster.shards.iter().map(|shard| {
        let voters = || shard.replicas.iter().filter(|replica| replica.role == Role::Voter);
        let quorum = voters().count() / 2 + 1;
        let caught_up = voters().filter(|replica| replica.caught_up).count();
        i64::try_from(caught_up).unwrap_or(i64::MAX) - i64::try_from(quorum).unwrap_or(i64::MAX)
    });
    margins.min()
}
