//! A thread of a node that panics or hangs while everything else of it lives (HAZARDS H19): the process ends by itself, its
//! leaders are elsewhere before or at once behind that, nothing is lost, and its next start is whole.

use std::{
    os::unix::process::ExitStatusExt as _,
    time::{Duration, Instant},
};

use granary_proto::admin::{GetClusterStateResponse, Transfer, TransferLeadersRequest};
use granary_tests::{cluster::Cluster, http, node::LIMIT, wait::until, writer::Writer};

const SHARDS: u32 = 2;
/// Acknowledgements that show that both shards go on.
const GOES_ON: u64 = 200;
/// When a thread counts as stuck, in s, and when that is reported.
const STUCK: (&str, &str) = ("12", "1");
/// Exit code of a node that was stuck.
const EXIT_STUCK: i32 = 70;
const SIGABRT: i32 = 6;

struct Struck {
    cluster: Cluster,
    writer: Writer,
    /// Id and place of the node whose thread failed; it led the first shard.
    node: (u64, usize),
    at: Instant,
}

/// A cluster under load in which a thread of the first shard's leader has just failed.
async fn struck(fault: &str) -> Struck {
    let mut cluster = Cluster::of_three(SHARDS).await.unwrap();
    let writer = Writer::start(cluster.endpoints(), SHARDS, Duration::from_millis(1)).await.unwrap();
    let place = 0;
    let node = &mut cluster.nodes[place];
    node.kill();
    node.env.push(("GRANARY_STUCK_SECONDS".into(), STUCK.0.into()));
    node.env.push(("GRANARY_STANDS_SECONDS".into(), STUCK.1.into()));
    node.env.push(("GRANARY_FAULT".into(), fault.into()));
    node.start().unwrap();
    let id = node.id().await.unwrap();
    let struck = || async {
        if cluster.nodes[place].log().contains("a thread fails now") {
            return Ok(());
        }
        // Until then it shall lead the first shard.
        if let Ok(state) = cluster.state().await
            && state.shards.iter().any(|shard| shard.shard_id == 1 && shard.leader_node_id != id)
        {
            let transfers = vec![Transfer { shard_id: 1, to_node_id: id }];
            let request = TransferLeadersRequest { operator_token: cluster.token, transfers, ..Default::default() };
            let mut admin = cluster.nodes[1].admin().map_err(|error| error.to_string())?;
            let _ = tokio::time::timeout(Duration::from_secs(2), admin.transfer_leaders(request)).await;
        }
        Err("not yet".to_owned())
    };
    until("the thread fails", LIMIT, struck).await.unwrap();
    Struck { at: Instant::now(), cluster, writer, node: (id, place) }
}

impl Struck {
    async fn writes_go_on(&self) -> Duration {
        let before = self.writer.acknowledged();
        until("writes go on", LIMIT, || {
            let done = self.writer.acknowledged() - before;
            // A shard without a leader would show as a gap that goes on.
            let gap = self.writer.take_longest_gap();
            let goes_on = done >= GOES_ON && gap < Duration::from_millis(500);
            std::future::ready(if goes_on { Ok(()) } else { Err(format!("{done} of {GOES_ON}, gap {gap:?}")) })
        })
        .await
        .unwrap();
        self.at.elapsed()
    }

    /// The node is started again without its fault: everything is whole, and nothing is lost.
    async fn ends_whole(mut self) {
        let node = &mut self.cluster.nodes[self.node.1];
        node.env.clear();
        node.start().unwrap();
        self.cluster.whole().await.unwrap();
        let checked = self.writer.finish().await.unwrap();
        assert_eq!(checked.lost, 0);
        self.cluster.replicas_are_equal().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thread_that_panics_ends_the_process() {
    let mut struck = struck("panic:applier:400").await;
    let status = struck.cluster.nodes[struck.node.1].ended().await.unwrap();
    let log = struck.cluster.nodes[struck.node.1].log();
    println!("ended {:?} behind the panic", struck.at.elapsed());
    assert_eq!(status.signal(), Some(SIGABRT), "{log}");
    assert!(log.contains("a broken invariant ends the node"), "{log}");
    struck.writes_go_on().await;
    struck.ends_whole().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leaders_leave_a_node_whose_applier_hangs_and_then_it_ends_itself() {
    let mut struck = struck("hang:applier:400").await;
    let (id, place) = struck.node;
    let gone = |state: &GetClusterStateResponse| match state.nodes.iter().find(|node| node.node_id == id) {
        Some(node) if node.slow && node.trouble.contains("the applier") && node.leaders == 0 => Ok(()),
        node => Err(format!("{node:?}")),
    };
    struck.cluster.state_until("its leaders are elsewhere", LIMIT, gone).await.unwrap();
    let moved = struck.at.elapsed();
    let ports = struck.cluster.nodes[place].ports;
    // It still lives, and says what is wrong.
    let (_, metrics) = http::get(ports.metrics, "/metrics").await.unwrap();
    let line = "granary_stalled{part=\"apply\"} 1";
    assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    assert_eq!(http::get(ports.metrics, "/livez").await.unwrap().0, 200, "nobody else has to end it");
    let status = struck.cluster.nodes[place].ended().await.unwrap();
    let ended = struck.at.elapsed();
    println!("leaders moved after {moved:?}, ended after {ended:?}");
    let log = struck.cluster.nodes[place].log();
    assert_eq!(status.code(), Some(EXIT_STUCK), "{log}");
    assert!(log.contains("stuck: the applier did not go on for 12 s"), "{log}");
    struck.writes_go_on().await;
    struck.ends_whole().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_store_hangs_ends_itself() {
    // At least 40 turns a second.
    let mut struck = struck("hang:store:1500").await;
    let moved = struck.writes_go_on().await;
    let status = struck.cluster.nodes[struck.node.1].ended().await.unwrap();
    let ended = struck.at.elapsed();
    println!("writes went on after {moved:?}, ended after {ended:?}");
    let log = struck.cluster.nodes[struck.node.1].log();
    assert_eq!(status.code(), Some(EXIT_STUCK), "{log}");
    assert!(log.contains("stuck: the store's loop did not go on for 12 s"), "{log}");
    struck.ends_whole().await;
}
