//! `kubectl drain`, as a person does it before work on a machine.

use std::time::{Duration, Instant};

use granary_tests::wait::until;
use serde_json::json;
use tokio::task::JoinHandle;

use super::Scenario;
use crate::{
    cluster::{Cluster, LIMIT},
    commands::{Done, run_within},
    data::{nothing_lost, reader::Reader},
    failure::{Result, failed},
    faults,
    figures::Figures,
    pod_watch::PodWatch,
    scene::Scene,
};

pub const SCENARIOS: &[Scenario] = &[Scenario {
    name: "08_kubectl_drain",
    says: "two drains at once: one goes, the other waits until every shard is whole; no request is lost",
    run: |scene| Box::pin(drained(scene)),
}];

/// Between two writes to a shard.
const PAUSE: Duration = Duration::from_millis(20);

async fn drained(scene: &Scene) -> Result<Figures> {
    let mut figures = Figures::new();
    let cluster = scene.cluster(json!({})).await?;
    cluster.ready(3).await?;
    // Once all is whole and nothing is stopped, one may go.
    allows(&cluster, 1).await?;
    let members = cluster.state().await?.members();
    let before = cluster.runs().await?;
    let writer = cluster.writer(PAUSE).await?;
    let reader = Reader::start(cluster.client().await?, PAUSE).await?;
    let pods = PodWatch::of_cluster(&scene.client, &cluster);

    writer.take_longest_gap();
    let started = Instant::now();
    let mut one = Drain::start(&cluster, "demo-node-0-0").await?;
    let mut other = Drain::start(&cluster, "demo-node-1-0").await?;
    until("one of two drains is done", LIMIT, || async {
        if one.is_done() || other.is_done() { Ok(()) } else { Err("both go on".to_owned()) }
    })
    .await?;
    if other.is_done() {
        std::mem::swap(&mut one, &mut other);
    }
    let (first, second) = (one, other);
    figures.seconds("drain_s", started.elapsed());
    figures.millis("longest_gap_ms", writer.take_longest_gap());
    let (first_pod, first_machine, _) = first.end().await?;
    scene.say(format!("{first_machine} is drained after {:?}", started.elapsed()));

    let written = writer.acknowledged();
    for _ in 0..20 {
        assert!(!faults::evict(&cluster, &second.pod).await?, "{} was evicted beside {first_pod}", second.pod);
    }
    until("writes go on", LIMIT, || async {
        let more = writer.acknowledged() - written;
        if more >= 2_000 { Ok(()) } else { Err(format!("{more} writes")) }
    })
    .await?;
    assert!(!second.is_done(), "the second drain did not wait");
    let held = cluster.runs().await?;
    assert_eq!(held[&second.pod], before[&second.pod], "{}, whose drain has to wait", second.pod);
    figures.millis("longest_gap_held_ms", writer.take_longest_gap());

    faults::uncordon(&first_machine).await?;
    let started = Instant::now();
    until("the second drain is done", LIMIT, || async {
        if second.is_done() { Ok(()) } else { Err("it waits".to_owned()) }
    })
    .await?;
    figures.seconds("held_drain_s", started.elapsed());
    figures.millis("longest_gap_second_ms", writer.take_longest_gap());
    let (_, second_machine, done) = second.end().await?;
    scene.say(format!("{second_machine} is drained {:?} after {first_machine} came back", started.elapsed()));
    assert!(done.stderr.contains("disruption budget"), "kubectl did not say that it waits: {}", done.stderr);
    faults::uncordon(&second_machine).await?;

    cluster.ready(3).await?;
    cluster.whole(LIMIT).await?;
    allows(&cluster, 1).await?;
    let pods = pods.end().await;
    assert_eq!(pods.most_down, 1, "pods down at the same time: {pods:?}");
    assert_eq!(pods.remade().values().sum::<usize>(), 2, "pods made anew: {:?}", pods.remade());
    let ids = |members: &std::collections::BTreeMap<String, granary_proto::map::Node>| {
        members.values().map(|node| node.id).collect::<Vec<_>>()
    };
    assert_eq!(ids(&cluster.state().await?.members()), ids(&members), "the same nodes as before");
    figures.put("reads_answered", reader.nothing_failed().await?);
    figures.put("writes_acknowledged", nothing_lost(writer).await?);
    Ok(figures)
}

/// Waits until the budget lets so many pods go.
pub(super) async fn allows(cluster: &Cluster, disruptions: u64) -> Result<()> {
    let allowed = ["get", "pdb", "-o", "jsonpath={.items[*].status.disruptionsAllowed}"];
    until(&format!("the budget lets {disruptions} go"), LIMIT, || async {
        match cluster.kubectl(&allowed).await.map_err(|error| error.to_string())? {
            now if now == disruptions.to_string() => Ok(()),
            now => Err(format!("it lets {now:?} go")),
        }
    })
    .await?;
    Ok(())
}

/// A running `kubectl drain` of the Kubernetes node that a pod is on.
struct Drain {
    pod: String,
    machine: String,
    task: JoinHandle<Result<Done>>,
}

impl Drain {
    async fn start(cluster: &Cluster, pod: &str) -> Result<Self> {
        let machine = cluster.machine_of(pod).await?;
        let node = machine.clone();
        let task = tokio::spawn(async move {
            let drain = ["drain", &node, "--ignore-daemonsets", "--delete-emptydir-data"];
            run_within(LIMIT, "kubectl", &drain, "").await
        });
        Ok(Self { pod: pod.to_owned(), machine, task })
    }

    fn is_done(&self) -> bool {
        self.task.is_finished()
    }

    /// Its pod, its machine, and what kubectl said, which has to have worked.
    async fn end(self) -> Result<(String, String, Done)> {
        let done = self.task.await??;
        match done.code {
            0 => Ok((self.pod, self.machine, done)),
            _ => failed(format!("kubectl drain {}: {}", self.machine, done.stderr)),
        }
    }
}
