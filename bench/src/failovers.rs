//! Leaders killed, stopped and handed over, of ours and of etcd in turn.

use std::time::{Duration, Instant};

use bytes::Bytes;
use granary_common::{SlotRange, slot_of};
use rustix::process::Signal;

use crate::{
    args::{Args, Part},
    error::{BenchError, Result},
    etcd::Etcd,
    figures::{Spread, quantile, ratios},
    gaps::{gap, signal},
    ours::Ours,
    parts::bar,
    report::{Report, Row},
    system::System,
};

/// How long a stopped leader stays so, behind the time that clients are watched.
const STOPPED: Duration = Duration::from_secs(3);
/// In which leaders come back to where they are spread evenly. The same for both systems.
const SETTLE: Duration = Duration::from_secs(1);

/// What is done to the leader.
#[derive(Clone, Copy)]
enum Blow {
    Kill,
    Stop,
    HandOver,
}

/// Times without a write of one kind, in ms, and the seconds that it took to have them all.
#[derive(Debug, Default)]
struct Seen {
    gaps: Vec<f64>,
    took: Duration,
}

impl Seen {
    async fn strike<S: System>(&mut self, system: &mut S, keys: &[Bytes], blow: Blow) -> Result<()> {
        let began = Instant::now();
        self.gaps.push(strike(system, keys, blow).await?);
        self.took += began.elapsed();
        Ok(())
    }

    fn last(&self) -> String {
        self.gaps.last().map_or("–".into(), |gap| format!("{gap:.0}"))
    }

    fn spread(&self) -> Option<Spread> {
        Spread::of(self.gaps.iter().copied())
    }

    fn shown(&self) -> String {
        self.spread().map_or("–".into(), |spread| format!("{:.0} ({:.0})", spread.median, spread.most))
    }

    fn p99(&self) -> String {
        quantile(&self.gaps, 0.99).map_or("–".into(), |gap| format!("{gap:.0}"))
    }

    /// Seconds that one of them took, with all the waiting about it.
    fn each(&self) -> f64 {
        self.took.as_secs_f64() / self.gaps.len().max(1) as f64
    }
}

/// Each kind so often as asked. Rounds in which etcd takes part come first, so that ratios are of neighbours in time.
///
/// # Errors
/// A member does not come back.
pub async fn failovers(
    args: &Args,
    ours: &mut Ours,
    mut etcd: Option<&mut Etcd>,
    report: &mut Report,
) -> Result<String> {
    let mut text = String::from(
        "| longest time without a write, ms | times, ours : etcd | ours: median (to) | ours: p99 | etcd: median (to) | etcd: p99 | ours : etcd |\n\
         | --- | ---: | ---: | ---: | ---: | ---: | ---: |\n",
    );
    let keys = one_a_shard(args.shards);
    for (name, blow) in [("failover_kill", Blow::Kill), ("failover_stop", Blow::Stop), ("transfer", Blow::HandOver)] {
        let bar = bar(args.failovers.into(), name);
        let (mut of_ours, mut of_etcd) = (Seen::default(), Seen::default());
        for round in 0..args.failovers {
            of_ours.strike(ours, &keys, blow).await?;
            if let Some(etcd) = etcd.as_deref_mut().filter(|_| round < args.failovers_of_etcd()) {
                of_etcd.strike(etcd, &keys, blow).await?;
            }
            bar.set_message(format!("{name}: ours {} ms, etcd {} ms", of_ours.last(), of_etcd.last()));
            bar.inc(1);
        }
        bar.finish_and_clear();
        println!("{name}: each took {:.1} s with ours, {:.1} s with etcd", of_ours.each(), of_etcd.each());
        let ratio = ratios(&of_ours.gaps, &of_etcd.gaps);
        let fraction = ratio.map_or("–".into(), |ratio| format!("**{:.2}**", ratio.median));
        text += &format!(
            "| {name} | {} : {} | {} | {} | {} | {} | {fraction} |\n",
            of_ours.gaps.len(),
            of_etcd.gaps.len(),
            of_ours.shown(),
            of_ours.p99(),
            of_etcd.shown(),
            of_etcd.p99(),
        );
        report.add(Part::Failover, Row::compared(name, 0, "ms", (of_ours.spread(), of_etcd.spread(), ratio)));
        let (mine, theirs) = (quantile(&of_ours.gaps, 0.99), quantile(&of_etcd.gaps, 0.99));
        let row = Row { name: format!("{name}_p99"), ours: mine, etcd: theirs, unit: "ms".into(), ..Row::default() };
        report.add(Part::Failover, row);
    }
    Ok(text)
}

async fn strike<S: System>(system: &mut S, keys: &[Bytes], blow: Blow) -> Result<f64> {
    let targets = system.targets(1).await?;
    let target = targets.first().ok_or_else(|| BenchError("no target".into()))?;
    let leader = system.leader().await?;
    let this = &*system;
    let event = || async {
        match blow {
            Blow::Kill => signal(leader.pid, Signal::KILL),
            Blow::Stop => signal(leader.pid, Signal::STOP),
            Blow::HandOver => this.hand_over(&leader).await,
        }
    };
    let seen = gap(target, keys, event).await;
    if let Blow::Stop = blow {
        tokio::time::sleep(STOPPED).await;
        signal(leader.pid, Signal::CONT)?;
    }
    system.whole().await?;
    tokio::time::sleep(SETTLE).await;
    Ok(seen?.as_secs_f64() * 1000.0)
}

/// A key of each shard, so that it counts when any of them cannot be written.
fn one_a_shard(shards: u32) -> Vec<Bytes> {
    let of_shard = |range: SlotRange| (0..u32::MAX).map(granary_load::key).find(|key| range.contains(slot_of(key)));
    (0..shards).filter_map(|shard| of_shard(SlotRange::of_shard(shard, shards))).collect()
}
