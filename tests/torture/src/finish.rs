//! The end of a run: everything heals, gets finished, and is checked. Each step is tried, whatever came of those before
//! it.

use std::time::{Duration, Instant};

use granary_common::{SlotRange, slot_of};
use granary_history::{Budget, NotGood, Origin, check_revisions, verify};
use granary_tests::{HarnessError, Result};

use crate::{Args, logs::Logs, replicas, report::Report, run::Running};

/// Steps of the check for a key: more than ever needed, and an end.
const STEPS: u64 = 20_000_000;

/// Heals, waits, checks.
pub async fn finish(running: &mut Running, seed: u64, args: &Args, report: &mut Report) {
    running.progress.note("healing");
    let healed = heal(running).await;
    note(report, healed);
    // Writes go on until here: what heals heals under load.
    running.quiet().await;
    running.progress.note("reading everything back");
    let lost = running.probes.lost().await;
    if let Some(lost) = note(report, lost) {
        report.lost += lost.len() as u64;
        report.failures.extend(lost.into_iter().take(5));
    }
    let unread = running.clients.last_reads().await;
    if unread > 0 {
        report.failures.push(format!("{unread} keys could not be read at the end"));
    }
    let differ = replicas::that_differ(&running.nemesis.targets.cluster).await;
    if let Some(differ) = note(report, differ) {
        report.violations += differ.len() as u64;
        report.failures.extend(differ);
    }
    report.packets_dropped = running.nemesis.targets.network.dropped().await.unwrap_or_default();
    report.longest_gap_ms = millis(running.nemesis.calm.longest(Instant::now()));
    report.longest_until_whole_ms = millis(running.nemesis.longest_whole);
    report.longest_late_ms = millis(running.progress.latest());
    let logs = Logs::read(&running.nemesis.targets.cluster.local.dir.join("logs"));
    report.snapshots = logs.snapshots;
    report.failures.extend(logs.panics);
    running.progress.note("checking the history");
    check(running, seed, args, report);
}

async fn heal(running: &mut Running) -> Result<()> {
    let ended = running.nemesis.heal().await;
    let mended = running.nemesis.targets.network.mend_all().await;
    running.nemesis.targets.cluster.local.edit_replicas(3)?;
    ended.and(mended).and(running.nemesis.whole("at the end").await)
}

fn check(running: &Running, seed: u64, args: &Args, report: &mut Report) {
    if running.clients.is_full() {
        report.failures.push("the recorder was full: clients stopped early".into());
    }
    let history = running.clients.history(Origin { seed, replay: args.replay(seed) });
    report.acknowledged = running.clients.acknowledged() + running.probes.acknowledged();
    match verify(&history, Budget { steps_per_key: STEPS }, &args.dir.join("history.jsonl")) {
        Ok(good) => {
            (report.operations, report.keys) = (good.report.operations, good.report.keys);
            (report.reads, report.unknown) = (good.report.reads, good.report.unknown);
            if !good.finals.unread.is_empty() {
                report.failures.push(format!("{} keys were not read at the end", good.finals.unread.len()));
            }
        }
        Err(error) => {
            if let NotGood::Refused(refused) = &error {
                (report.operations, report.keys) = (refused.report.operations, refused.report.keys);
                (report.reads, report.unknown) = (refused.report.reads, refused.report.unknown);
                report.lost += refused.finals.lost;
                report.violations += refused.report.violated + refused.finals.doubled;
            }
            report.failures.push(error.to_string());
        }
    }
    if report.acknowledged == 0 || report.reads == 0 {
        report.failures.push("no write or no read was answered: nothing is proved".into());
    }
    let shards = running.nemesis.targets.cluster.shards;
    let ranges: Vec<SlotRange> = (0..shards).map(|index| SlotRange::of_shard(index, shards)).collect();
    let shard_of = |key: &str| {
        let at = ranges.iter().position(|range| range.contains(slot_of(key.as_bytes())));
        at.and_then(|at| u32::try_from(at).ok()).unwrap_or(u32::MAX)
    };
    let revisions = check_revisions(&history, shard_of);
    if let Some(revisions) = note(report, revisions.map_err(|error| HarnessError(error.to_string()))) {
        report.violations += revisions.violated;
        report.failures.extend(revisions.violations.iter().map(ToString::to_string));
    }
}

/// Notes an error as a failure of the run.
fn note<T>(report: &mut Report, result: Result<T>) -> Option<T> {
    result.map_err(|error| report.failures.push(error.to_string())).ok()
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
