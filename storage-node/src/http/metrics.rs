//! Every metric of a node, with its name and meaning. All names begin with `granary_`; labels have closed sets of values,
//! but for `shard`, of which a node has as many as replicas.
//!
//! | name | labels | meaning |
//! | --- | --- | --- |
//! | `requests_total` | `kind`, `result` | requests answered; `result` is `ok` or the reason of the refusal |
//! | `request_seconds` | `kind` | histogram: from the reading of a request until its answer is there |
//! | `member` | | 1 once the node belongs to a cluster; without it none of the following are shown |
//! | `replicas` | | replicas here |
//! | `leaders` | | those of them that lead |
//! | `quiesced` | | replicas here whose groups rest, since nothing is asked of them |
//! | `shard_applied_index` | `shard` | last entry applied |
//! | `shard_revision` | `shard` | revision of the last write |
//! | `shard_bytes` | `shard` | rough size of the rows |
//! | `map_version` | | version of the node's copy of the cluster map |
//! | `requests_free` | | requests that the store could take now |
//! | `read_only` | | 1 while writes are refused for lack of disk space |
//! | `disk_slow` | | 1 while leaders shall stay away since the disk is slow: it was within the last 15 s to 4 min |
//! | `sync_seconds` | | average time of a write of the log over some seconds |
//! | `stands_seconds` | `part` | how long a part of the node has had work and not gone on; parts are in `duties/src/watchdog.rs` |
//! | `stalled` | `part` | 1 while that is too long |
//! | `shard_stalled` | `shard`, `what` | 1 while nothing that waits is committed (`commit`), or nothing that is committed is applied (`apply`) |
//! | `damaged` | | 1 while something of its data is known to be damaged, and not repaired yet |
//! | `replicas_refused` | | replicas of which nothing is served, since most others contradict their rows |
//! | `damages_total` | | damages found on the disk by scrub, reads or writes |
//! | `scrub_read_bytes_total` | `store` | bytes that scrub has read |
//! | `scrub_passes_total` | | times that scrub has read all |
//! | `scrub_age_seconds` | | since the last of them, or the start; not shown where there are none by the options |
//! | `scrub_compared_total` | | comparisons of the replicas of shards that were led here |
//! | `scrub_wrong_total` | | replicas that a majority contradicted in them |
//! | `scrub_undecided_total` | | those with differences and without a majority, where nothing is done |
//! | `replicas_rebuilt_total` | | replicas here that were made anew, as most others contradicted them |
//! | `syncs_total` | `store` | syncs of `raft/` and `data/` since the start |
//! | `written_bytes_total` | `store` | bytes written to them, before compaction |

use std::{fmt, time::Duration};

use granary_proto::kv::Reason;
use granary_store::Stands;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelValue, EncodeMetric, text},
    metrics::{
        MetricType,
        counter::{ConstCounter, Counter},
        family::Family,
        gauge::ConstGauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

use super::live::Sample;
use crate::{grpc::Kind, scrub::ScrubSample};

const KINDS: usize = Kind::ALL.len();
/// `ok`, and one for each number of [`Reason`].
const RESULTS: usize = 1 + REASONS;
const REASONS: usize = Reason::Internal as usize + 1;

/// Upper bounds of the histogram's buckets: 16, from 50 us to 1.6 s, each twice the one before.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.000_05, 2.0, 16))
}

/// The metrics of one process. Cheap to count in: no lookup of labels.
pub struct Metrics {
    registry: Registry,
    /// By kind, then result.
    requests: [[Counter; RESULTS]; KINDS],
    seconds: [Histogram; KINDS],
}

impl Metrics {
    /// Of what [`Metrics::text`] gives.
    pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

    /// `sample` is asked at each scrape; `None` while the node belongs to no cluster.
    pub fn new(sample: impl Fn() -> Option<Sample> + Send + Sync + 'static) -> Self {
        let mut registry = Registry::with_prefix("granary");
        let requests = Family::<[(&str, String); 2], Counter>::default();
        let seconds = Family::<[(&str, String); 1], Histogram>::new_with_constructor(seconds);
        registry.register("requests", "Requests answered, by kind and result", requests.clone());
        registry.register("request_seconds", "Time until the answer to a request is there", seconds.clone());
        registry.register_collector(Box::new(Live(Box::new(sample))));
        let kind = |place: usize| Kind::ALL[place].name().to_owned();
        Self {
            requests: std::array::from_fn(|place| {
                std::array::from_fn(|result| {
                    requests.get_or_create_owned(&[("kind", kind(place)), ("result", result_name(result))])
                })
            }),
            seconds: std::array::from_fn(|place| seconds.get_or_create_owned(&[("kind", kind(place))])),
            registry,
        }
    }

    /// Counts a request that was answered after `time`; `refused` is why it was not done.
    pub fn request(&self, kind: Kind, time: Duration, refused: Option<Reason>) {
        let result = refused.map_or(0, |reason| 1 + reason as usize);
        self.requests[kind as usize][result].inc();
        self.seconds[kind as usize].observe(time.as_secs_f64());
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

/// `ok`, or the reason in small letters.
fn result_name(result: usize) -> String {
    let reason = result.checked_sub(1).and_then(|number| Reason::try_from(i32::try_from(number).ok()?).ok());
    reason.map_or("ok".to_owned(), |reason| reason.as_str_name().trim_start_matches("REASON_").to_ascii_lowercase())
}

/// Gauges and counters that are read at the scrape.
struct Live(Box<dyn Fn() -> Option<Sample> + Send + Sync>);

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Live")
    }
}

impl Collector for Live {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let mut page = Page(encoder);
        let sample = (self.0)();
        page.gauge("member", "1 once the node belongs to a cluster", u64::from(sample.is_some()))?;
        let Some(sample) = sample else { return Ok(()) };
        let leaders = sample.shards.iter().filter(|shard| shard.leads).count();
        page.gauge("replicas", "Replicas here", sample.shards.len() as u64)?;
        page.gauge("leaders", "Replicas here that lead", leaders as u64)?;
        let quiesced = sample.shards.iter().filter(|shard| shard.quiesced).count();
        page.gauge("quiesced", "Replicas here whose groups rest", quiesced as u64)?;
        page.gauge("map_version", "Version of the node's copy of the cluster map", sample.map_version)?;
        page.gauge("requests_free", "Requests that the store could take now", sample.requests_free as u64)?;
        page.gauge("read_only", "1 while writes are refused for lack of space", u64::from(sample.read_only))?;
        let of = |value: fn(&super::ShardSample) -> u64| {
            sample.shards.iter().map(move |shard| (shard.shard.0.to_string(), value(shard)))
        };
        page.gauges("shard_applied_index", "Last entry applied", of(|shard| shard.applied_index))?;
        page.gauges("shard_revision", "Revision of the last write", of(|shard| shard.revision))?;
        page.gauges("shard_bytes", "Rough size of the rows", of(|shard| shard.bytes))?;
        self.health(&mut page, &sample)?;
        scrub(&mut page, &sample.scrub)?;
        let stores = [("raft", sample.raft), ("data", sample.data)];
        page.counters("syncs", "Syncs to disk", stores.map(|(name, store)| (name, store.syncs)))?;
        page.counters("written_bytes", "Bytes written", stores.map(|(name, store)| (name, store.bytes_written)))
    }
}

impl Live {
    fn health(&self, page: &mut Page<'_>, sample: &Sample) -> fmt::Result {
        let health = &sample.health;
        page.gauge("disk_slow", "1 while leaders stay away from a slow disk", u64::from(health.slow_disk))?;
        let seconds = |duration: &Duration| duration.as_secs_f64();
        page.number("sync_seconds", "Average time of a write of the log", seconds(&health.sync_average))?;
        let parts = || health.parts.iter().map(|(part, stood, stalled)| ([("part", part.name())], stood, *stalled));
        let stood = parts().map(|(label, stood, _)| (label, seconds(stood)));
        page.family("stands_seconds", "How long a part has not gone on", stood)?;
        let stalled = parts().map(|(label, _, stalled)| (label, f64::from(u8::from(stalled))));
        page.family("stalled", "1 while a part has not gone on for too long", stalled)?;
        let standing = [("commit", Stands::Commit), ("apply", Stands::Apply)];
        let shards = sample.shards.iter().flat_map(|shard| {
            let id = shard.shard.0.to_string();
            standing.map(|(what, stands)| {
                ([("shard", id.clone()), ("what", what.to_owned())], f64::from(u8::from(shard.stands == stands)))
            })
        });
        page.family("shard_stalled", "1 while a shard's replica here stands still", shards)
    }
}

fn scrub(page: &mut Page<'_>, scrub: &ScrubSample) -> fmt::Result {
    page.gauge("damaged", "1 while something of its data is damaged", u64::from(scrub.damaged))?;
    page.gauge("replicas_refused", "Replicas with wrong rows, not served", scrub.refused)?;
    page.counter("damages", "Damages found on the disk", scrub.damages)?;
    let read = [("raft", scrub.raft_bytes), ("data", scrub.data_bytes)];
    page.counters("scrub_read_bytes", "Bytes that scrub has read", read)?;
    page.counter("scrub_passes", "Times that scrub has read all", scrub.passes)?;
    if let Some(seconds) = scrub.age_seconds {
        page.gauge("scrub_age_seconds", "Since the last pass of scrub, or the start", seconds)?;
    }
    page.counter("scrub_compared", "Comparisons of replicas", scrub.compared)?;
    page.counter("scrub_wrong", "Replicas that a majority contradicted", scrub.wrong)?;
    page.counter("scrub_undecided", "Comparisons with differences and no majority", scrub.undecided)?;
    page.counter("replicas_rebuilt", "Replicas made anew, as most others contradicted them", scrub.rebuilt)
}

struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        ConstGauge::new(value).encode(self.0.encode_descriptor(name, help, None, MetricType::Gauge)?)
    }

    fn number(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        ConstGauge::new(value).encode(self.0.encode_descriptor(name, help, None, MetricType::Gauge)?)
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        ConstCounter::new(value).encode(self.0.encode_descriptor(name, help, None, MetricType::Counter)?)
    }

    fn gauges(&mut self, name: &str, help: &str, values: impl Iterator<Item = (String, u64)>) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (shard, value) in values {
            ConstGauge::new(value).encode(family.encode_family(&[("shard", shard)])?)?;
        }
        Ok(())
    }

    fn family<const N: usize, V: EncodeLabelValue>(
        &mut self,
        name: &str,
        help: &str,
        values: impl Iterator<Item = ([(&'static str, V); N], f64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in values {
            ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn counters(&mut self, name: &str, help: &str, values: [(&str, u64); 2]) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (store, value) in values {
            ConstCounter::new(value).encode(family.encode_family(&[("store", store)])?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use granary_common::ShardId;
    use granary_duties::watchdog::Part;

    use super::*;
    use crate::drivers::HealthSample;
    use crate::http::{ShardSample, StoreSample};

    #[test]
    fn every_kind_and_reason_has_a_counter_of_its_own() {
        let metrics = Metrics::new(|| None);
        metrics.request(Kind::Get, Duration::from_micros(10), None);
        metrics.request(Kind::Scan, Duration::from_secs(9), Some(Reason::Internal));
        let text = metrics.text().unwrap();
        for line in [
            "granary_requests_total{kind=\"get\",result=\"ok\"} 1",
            "granary_requests_total{kind=\"scan\",result=\"internal\"} 1",
            "granary_requests_total{kind=\"put\",result=\"not_leader\"} 0",
            "granary_request_seconds_count{kind=\"get\"} 1",
            "granary_member 0",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("granary_replicas"), "a blank node has no replicas to show");
    }

    #[test]
    fn a_scrape_shows_the_node_as_it_is_at_that_moment() {
        let shard = |id, leads| ShardSample {
            shard: ShardId(id),
            leads,
            quiesced: leads,
            applied_index: 70,
            stands: if leads { Stands::Commit } else { Stands::No },
            ..Default::default()
        };
        let sample = Sample {
            shards: vec![shard(1, true), shard(2, false)],
            raft: StoreSample { syncs: 5, bytes_written: 6 },
            health: HealthSample {
                slow_disk: true,
                sync_average: Duration::from_millis(750),
                parts: vec![(Part::Apply, Duration::from_secs(12), true), (Part::Log, Duration::ZERO, false)],
            },
            scrub: ScrubSample { damaged: true, damages: 2, age_seconds: Some(9), ..ScrubSample::default() },
            read_only: true,
            ..Sample::default()
        };
        let text = Metrics::new(move || Some(sample.clone())).text().unwrap();
        for line in [
            "granary_replicas 2",
            "granary_leaders 1",
            "granary_quiesced 1",
            "granary_shard_applied_index{shard=\"2\"} 70",
            "granary_syncs_total{store=\"raft\"} 5",
            "granary_read_only 1",
            "granary_damaged 1",
            "granary_damages_total 2",
            "granary_scrub_age_seconds 9",
            "granary_disk_slow 1",
            "granary_sync_seconds 0.75",
            "granary_stands_seconds{part=\"apply\"} 12.0",
            "granary_stalled{part=\"apply\"} 1",
            "granary_stalled{part=\"log\"} 0",
            "granary_shard_stalled{shard=\"1\",what=\"commit\"} 1",
            "granary_shard_stalled{shard=\"2\",what=\"commit\"} 0",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
