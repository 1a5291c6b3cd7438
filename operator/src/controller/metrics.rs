//! Every metric of the operator, with its name and meaning. All names begin with `granary_operator_`.
//!
//! | name | labels | meaning |
//! | --- | --- | --- |
//! | `is_leader` | | 1 while this process holds the Lease and works |
//! | `cluster_info` | `namespace`, `cluster`, `image` | 1 for each cluster looked after |
//! | `cluster_phase` | `namespace`, `cluster`, `phase` | 1 for the phase that it is in, 0 for all others |
//! | `cluster_nodes_desired` | `namespace`, `cluster` | `spec.replicas` |
//! | `cluster_nodes` | `namespace`, `cluster` | members |
//! | `cluster_nodes_ready` | `namespace`, `cluster` | members that are joined and caught up |
//! | `cluster_shards_without_leader` | `namespace`, `cluster` | data shards that serve nobody now |
//! | `cluster_degraded` | `namespace`, `cluster`, `reason` | 1 while it is degraded, for that reason |
//! | `cluster_claims_kept` | `namespace`, `cluster` | claims of nodes that left |
//! | `reconcile_total` | | rounds |
//! | `reconcile_errors_total` | | rounds that ended early |
//! | `reconcile_seconds` | | histogram: how long a round takes |

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use granary_crds::{
    StorageCluster, StorageClusterStatus,
    status::{Phase, condition},
};
use kube::ResourceExt as _;
use parking_lot::Mutex;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, text},
    metrics::{
        MetricType,
        counter::Counter,
        gauge::ConstGauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

const PHASES: [Phase; 6] =
    [Phase::Unknown, Phase::Founding, Phase::Ready, Phase::Progressing, Phase::Degraded, Phase::Paused];

/// One cluster, as its last status says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    image: String,
    phase: Phase,
    desired: i32,
    nodes: i32,
    ready: i32,
    without_leader: i32,
    kept: i32,
    degraded: Option<String>,
}

impl Sample {
    /// Of a cluster and what is said of it.
    pub fn new(object: &StorageCluster, status: &StorageClusterStatus) -> Self {
        let degraded = status.conditions.iter().find(|one| one.type_ == condition::DEGRADED && one.status == "True");
        Self {
            image: object.spec.image.clone(),
            phase: status.phase,
            desired: object.spec.replicas,
            nodes: status.replicas,
            ready: status.ready_nodes,
            without_leader: status.shards.saturating_sub(status.shards_with_leader),
            kept: status.claims_kept,
            degraded: degraded.map(|one| one.reason.clone()),
        }
    }

    /// Degraded for this reason, whatever the status says.
    pub fn degraded(self, reason: &str) -> Self {
        Self { degraded: Some(reason.to_owned()), ..self }
    }
}

type Samples = BTreeMap<(String, String), Sample>;

/// What the collector reads at a scrape.
#[derive(Default)]
struct Shared {
    leader: AtomicBool,
    clusters: Mutex<Samples>,
}

/// The metrics of one process.
pub struct Metrics {
    registry: Registry,
    shared: Arc<Shared>,
    rounds: Counter,
    errors: Counter,
    seconds: Histogram,
}

impl Default for Metrics {
    fn default() -> Self {
        let shared = Arc::<Shared>::default();
        let (rounds, errors) = (Counter::default(), Counter::default());
        // 14 buckets from 1 ms to 8 s, each twice the one before.
        let seconds = Histogram::new(exponential_buckets(0.001, 2.0, 14));
        let mut registry = Registry::with_prefix("granary_operator");
        registry.register("reconcile", "Rounds", rounds.clone());
        registry.register("reconcile_errors", "Rounds that ended early", errors.clone());
        registry.register("reconcile_seconds", "How long a round takes", seconds.clone());
        registry.register_collector(Box::new(Live(shared.clone())));
        Self { registry, shared, rounds, errors, seconds }
    }
}

impl Metrics {
    /// Of what [`Metrics::text`] gives.
    pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

    /// Whether this process works.
    pub fn lead(&self, leads: bool) {
        self.shared.leader.store(leads, Ordering::Relaxed);
    }

    /// Counts a round.
    pub fn round(&self, time: Duration, failed: bool) {
        self.rounds.inc();
        self.errors.inc_by(u64::from(failed));
        self.seconds.observe(time.as_secs_f64());
    }

    /// Shows a cluster from here on.
    pub fn show(&self, object: &StorageCluster, sample: Sample) {
        self.shared.clusters.lock().insert(key(object), sample);
    }

    /// Shows it no more.
    pub fn forget(&self, object: &StorageCluster) {
        self.shared.clusters.lock().remove(&key(object));
    }

    /// All of them in the OpenMetrics text format.
    ///
    /// # Errors
    /// Never in practice: writing to a string does not fail.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

fn key(object: &StorageCluster) -> (String, String) {
    (object.namespace().unwrap_or_default(), object.name_any())
}

struct Live(Arc<Shared>);

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Live")
    }
}

impl Collector for Live {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let leads = i64::from(self.0.leader.load(Ordering::Relaxed));
        let descriptor =
            encoder.encode_descriptor("is_leader", "1 while this process works", None, MetricType::Gauge)?;
        ConstGauge::new(leads).encode(descriptor)?;
        let clusters = self.0.clusters.lock().clone();
        let mut page = Page { encoder, clusters };
        page.each("cluster_info", "Clusters looked after", |one| vec![(Some(("image", one.image.clone())), 1)])?;
        page.each("cluster_phase", "1 for the phase that it is in", |one| {
            let label = |phase: &Phase| Some(("phase", format!("{phase:?}")));
            PHASES.iter().map(|phase| (label(phase), i64::from(*phase == one.phase))).collect()
        })?;
        let plain = |value: i32| vec![(None, i64::from(value))];
        page.each("cluster_nodes_desired", "spec.replicas", |one| plain(one.desired))?;
        page.each("cluster_nodes", "Members", |one| plain(one.nodes))?;
        page.each("cluster_nodes_ready", "Members that are ready", |one| plain(one.ready))?;
        page.each("cluster_shards_without_leader", "Data shards without a leader", |one| plain(one.without_leader))?;
        page.each("cluster_claims_kept", "Claims of nodes that left", |one| plain(one.kept))?;
        page.each("cluster_degraded", "1 while it is degraded", |one| {
            one.degraded.iter().map(|reason| (Some(("reason", reason.clone())), 1)).collect()
        })
    }
}

/// A label beside the two that all have, and the value.
type Row = (Option<(&'static str, String)>, i64);

struct Page<'a> {
    encoder: DescriptorEncoder<'a>,
    clusters: Samples,
}

impl Page<'_> {
    fn each(&mut self, name: &str, help: &str, rows: impl Fn(&Sample) -> Vec<Row>) -> fmt::Result {
        let mut family = self.encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for ((namespace, cluster), sample) in &self.clusters {
            for (label, value) in rows(sample) {
                let mut labels = vec![("namespace", namespace.clone()), ("cluster", cluster.clone())];
                labels.extend(label);
                ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{super::fake_api::object, *};

    #[test]
    fn a_scrape_shows_each_cluster_until_it_is_gone() {
        let (metrics, demo) = (Metrics::default(), object("demo"));
        let status = StorageClusterStatus { shards: 64, shards_with_leader: 60, replicas: 3, ..Default::default() };
        metrics.show(&demo, Sample::new(&demo, &status).degraded("NodeSilent"));
        metrics.lead(true);
        metrics.round(Duration::from_millis(3), true);
        let text = metrics.text().unwrap();
        for line in [
            "granary_operator_is_leader 1",
            "granary_operator_cluster_info{namespace=\"default\",cluster=\"demo\",image=\"granary:0.1.0\"} 1",
            "granary_operator_cluster_phase{namespace=\"default\",cluster=\"demo\",phase=\"Unknown\"} 1",
            "granary_operator_cluster_phase{namespace=\"default\",cluster=\"demo\",phase=\"Ready\"} 0",
            "granary_operator_cluster_shards_without_leader{namespace=\"default\",cluster=\"demo\"} 4",
            "granary_operator_cluster_degraded{namespace=\"default\",cluster=\"demo\",reason=\"NodeSilent\"} 1",
            "granary_operator_reconcile_errors_total 1",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        metrics.forget(&demo);
        assert!(!metrics.text().unwrap().contains("demo"));
    }
}
