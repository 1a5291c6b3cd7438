//! `granary node`: looks at nodes and empties them.
//!
//! A drain is a wish that the local loop follows until it is taken back, not a call to the nodes: the loop alone orders
//! them, and would undo what it does not want.

use granary_operator::{
    node_admin::{GrpcAdmin, NodeAdmin as _},
    substrate::local::{
        layout::Layout,
        status_file::{leaders, replicas},
        wishes,
    },
};
use serde::Serialize;

use crate::{
    admin::{self, PeerArgs},
    context::Context,
    failure::Failure,
    output,
};

/// Arguments of `granary node`.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    peers: PeerArgs,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    /// All members
    List,
    /// Move every replica off a node and keep it empty, until `undrain`
    Drain {
        /// Its id
        id: u64,
    },
    /// Let a node take replicas again
    Undrain {
        /// Its id
        id: u64,
    },
}

#[derive(Serialize)]
struct Row {
    id: u64,
    name: String,
    draining: bool,
    silent_for_ms: Option<u64>,
    read_only: bool,
    slow: bool,
    trouble: String,
    replicas: u32,
    leaders: u32,
    kv_address: String,
    peer_address: String,
    disk_free_bytes: Option<u64>,
}

/// Does it.
pub async fn run(context: &Context, args: Args) -> Result<(), Failure> {
    match args.command {
        Command::List => {
            let seen = admin::look(context, &args.peers).await?;
            seen.say_what_is_missing();
            list(context, &seen)
        }
        Command::Drain { id } => wish(context, &args.peers, id, true).await,
        Command::Undrain { id } => wish(context, &args.peers, id, false).await,
    }
}

fn list(context: &Context, admin::Seen { state, cluster, map_only }: &admin::Seen) -> Result<(), Failure> {
    let whole = map_only.is_none();
    let rows: Vec<_> = cluster
        .nodes
        .iter()
        .map(|node| {
            let live = state.nodes.iter().find(|live| live.node_id == node.id).cloned().unwrap_or_default();
            let addresses = live.addresses.unwrap_or_default();
            Row {
                id: node.id,
                name: node.name.clone(),
                draining: node.draining,
                silent_for_ms: whole.then_some(node.silent_for_ms),
                read_only: node.read_only,
                slow: live.slow,
                trouble: live.trouble,
                replicas: replicas(Some(cluster), node.id),
                leaders: leaders(Some(cluster), node.id),
                kv_address: addresses.kv,
                peer_address: addresses.peer,
                disk_free_bytes: whole.then_some(live.disk_free_bytes),
            }
        })
        .collect();
    if context.json() {
        return output::json(&rows);
    }
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(["NODE", "NAME", "STATE", "REPLICAS", "LEADERS", "SILENT", "DISK FREE", "DATA API", "ADMIN API"]);
    for row in rows {
        let stalled = !row.slow && !row.trouble.is_empty();
        let state =
            [(row.draining, "draining"), (row.read_only, "read-only"), (row.slow, "slow"), (stalled, "stalled")];
        let words: Vec<_> = state.iter().filter(|(is, _)| *is).map(|(_, word)| *word).collect();
        table.add_row([
            row.id.to_string(),
            row.name,
            if words.is_empty() { "active".to_owned() } else { words.join(", ") },
            row.replicas.to_string(),
            row.leaders.to_string(),
            row.silent_for_ms.map_or("-".to_owned(), |ms| format!("{ms} ms")),
            row.disk_free_bytes.map_or("-".to_owned(), super::status::bytes),
            row.kv_address,
            row.peer_address,
        ]);
    }
    output::line(&table.to_string())
}

async fn wish(context: &Context, args: &PeerArgs, id: u64, wanted: bool) -> Result<(), Failure> {
    if admin::local_status(context)?.is_none() {
        return Err(Failure::refused(format!(
            "a drain is carried out by the loop of a local cluster, and there is none in {}: name its directory with --dir",
            context.dir().display()
        )));
    }
    let peers = admin::peers(context, args).await?;
    let state = GrpcAdmin::default().cluster_state(&peers).await.map_err(admin::failure)?;
    let members: Vec<_> = state.map.iter().flat_map(|map| &map.nodes).map(|node| node.id).collect();
    // A wish for a node that left can still be taken back.
    if wanted && !members.contains(&id) {
        return Err(Failure::not_found(format!("node is {id}, allowed: one of {members:?}")));
    }
    let layout = Layout::of(context.dir()).map_err(Failure::failed)?;
    wishes::drain(&layout, id, wanted).map_err(Failure::failed)?;
    if context.json() {
        return output::json(&serde_json::json!({ "node": id, "drain": wanted }));
    }
    output::line(&match wanted {
        true => format!(
            "node {id} is to be drained; `granary status` tells how far it is, `granary node undrain {id}` cancels it"
        ),
        false => format!("node {id} may hold replicas again"),
    })
}
