//! What puts and gets cost as keys become more: ours alone, for etcd is not made for as many.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use granary_client::Client;
use granary_load::Kind;

use crate::{
    args::{Args, Part},
    disk,
    error::{BenchError, Result},
    figures::Spread,
    filling::Filling,
    memory::Held,
    ours::Ours,
    page,
    parts::bar,
    report::{Report, Row},
    rounds::{Half, half},
    shards::{CLIENTS, rates, shown},
    small::Longer,
    system::System,
};

/// Batches of the most keys that the data API takes at once.
const FILLING: Filling = Filling { batch: 4_096, value_size: 16 };
/// The part of the disk that stays free.
const FREE: f64 = 0.2;

/// When no more is loaded.
#[derive(Clone, Debug)]
struct Bounds {
    end: Instant,
    dir: PathBuf,
}

impl Bounds {
    /// Why; `None` as long as there is no reason.
    fn reached(&self) -> Option<&'static str> {
        if Instant::now() >= self.end {
            return Some("the time for loading was over");
        }
        // A disk that cannot be asked is not written to.
        (disk::free(&self.dir).unwrap_or(0.0) < FREE).then_some("less than 20 % of the disk was free")
    }
}

/// What was seen with so many keys.
#[derive(Debug)]
struct Stage {
    keys: u32,
    /// Keys a second while it was loaded; `None` when nothing was left to load.
    loaded: Option<f64>,
    put: Half,
    get: Half,
    /// MiB that a node takes on disk.
    disk: Option<Spread>,
    held: Held,
}

/// Loads stage after stage into one new cluster, and measures behind each.
///
/// # Errors
/// A request fails.
pub async fn growth(args: &Args, dir: &Path, report: &mut Report) -> Result<String> {
    let ours = Ours::start(&args.granary, &dir.join("growth"), args.shards).await?;
    let done = stages(args, &ours, dir).await;
    ours.end().await?;
    let (stages, stopped) = done?;
    let mut text = format!(
        "| keys of 16 bytes, values of 16, {} shards | loaded, keys/s | put, 64 clients | p99 ms | get, 64 clients | p99 ms | MiB on disk a node: median (most) | MiB a node, resident: median (most) |\n\
         | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
        args.shards
    );
    for stage in &stages {
        text += &format!(
            "| {} | {} | {} | {} | {} | {} |\n",
            page::grouped(stage.keys.into()),
            stage.loaded.map_or("–".into(), page::grouped),
            shown(&stage.put),
            shown(&stage.get),
            page::of_nodes(stage.disk),
            page::of_nodes(stage.held.now),
        );
        note(report, stage);
    }
    if let Some((wanted, why)) = stopped {
        text += &format!("\n{} keys were asked for: {why}.\n", page::grouped(wanted.into()));
    }
    Ok(text)
}

/// The stages, and the number of keys that was not reached, with the reason.
async fn stages(args: &Args, ours: &Ours, dir: &Path) -> Result<(Vec<Stage>, Option<(u32, &'static str)>)> {
    let targets: Vec<Longer<Client>> = ours.targets(args.connections).await?.into_iter().map(Longer).collect();
    let first = targets.first().ok_or_else(|| BenchError("no client".into()))?;
    let end = Instant::now() + Duration::from_secs(60 * args.growth_minutes);
    let bounds = Bounds { end, dir: dir.to_owned() };
    let mut wanted = args.growth_keys.clone();
    wanted.sort_unstable();
    let (mut stages, mut keys) = (Vec::new(), 0);
    let bar = bar(wanted.len() as u64, "growth");
    for to in wanted {
        bar.set_message(format!("{to} keys"));
        let (began, from, this) = (Instant::now(), keys, bounds.clone());
        keys = FILLING.load(first, (from, to), move || this.reached().is_some()).await?;
        let took = began.elapsed().as_secs_f64();
        let loaded = (keys > from).then(|| f64::from(keys - from) / took);
        if loaded.is_some() {
            stages.push(measured(args, ours, &targets, keys, loaded).await?);
        }
        if keys < to {
            return Ok((stages, bounds.reached().map(|why| (to, why))));
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok((stages, None))
}

async fn measured(
    args: &Args,
    ours: &Ours,
    targets: &[Longer<Client>],
    keys: u32,
    loaded: Option<f64>,
) -> Result<Stage> {
    let plan = |kind| {
        let mut plan = args.manner().plan(kind, CLIENTS);
        (plan.keys, plan.value_size) = (keys, FILLING.value_size);
        plan
    };
    let put = half(ours, targets, &plan(Kind::Put)).await?;
    let get = half(ours, targets, &plan(Kind::Get)).await?;
    let taken = ours.members()?.iter().map(|member| disk::taken(&ours.data(member))).collect::<Result<Vec<_>>>()?;
    let disk = Spread::of(taken.iter().map(|bytes| *bytes as f64 / f64::from(1 << 20)));
    Ok(Stage { keys, loaded, put, get, disk, held: Held::of(ours)? })
}

fn note(report: &mut Report, stage: &Stage) {
    let name = |figure: &str| format!("growth_{}_{figure}", stage.keys);
    let of_largest = |spread: Option<Spread>| spread.map_or(0.0, |spread| spread.most);
    if let Some(loaded) = stage.loaded {
        report.add(Part::Growth, Row::alone(name("load"), 0, "keys/s", loaded));
    }
    rates(report, Part::Growth, &name("put"), &stage.put);
    rates(report, Part::Growth, &name("get"), &stage.get);
    let unit = "MiB of the largest node";
    report.add(Part::Growth, Row::alone(name("disk"), 0, unit, of_largest(stage.disk)));
    report.add(Part::Growth, Row::alone(name("memory"), 0, unit, of_largest(stage.held.now)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_enough_when_the_time_is_over_or_the_disk_cannot_be_asked() {
        let dir = tempfile::tempdir().unwrap();
        let bounds = Bounds { end: Instant::now(), dir: dir.path().to_owned() };
        assert_eq!(bounds.reached(), Some("the time for loading was over"));
        let end = Instant::now() + Duration::from_secs(60);
        assert!(Bounds { end, dir: dir.path().join("none") }.reached().is_some());
    }
}
