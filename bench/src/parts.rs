//! The parts of a run, one after the other; what each measured goes into the report at once.

use std::{fs, path::Path, time::Duration};

use bytes::Bytes;
use granary_client::Client;
use granary_common::{SlotRange, slot_of};
use indicatif::{ProgressBar, ProgressStyle};
use rustix::process::Signal;

use crate::{
    args::{Args, Part},
    error::{BenchError, Doing as _, Result},
    etcd::Etcd,
    figures::{Spread, quantile, ratios},
    gaps::{gap, signal},
    grow::grow,
    idle::idle,
    limits::Limits,
    machine,
    ours::Ours,
    page,
    report::{Report, Row},
    rounds::{Compared, Manner, half},
    system::System,
};

/// How long a stopped leader stays so.
const STOPPED: Duration = Duration::from_secs(3);
/// Numbers of shards with which idle nodes are looked at.
const IDLE_SHARDS: [u32; 3] = [64, 128, 256];

/// Does all that is asked.
///
/// # Errors
/// A part failed; those before it are in the report.
pub async fn run(args: Args) -> Result<()> {
    fs::create_dir_all(&args.dir).doing(args.dir.display())?;
    let work = tempfile::Builder::new().prefix("run-").tempdir_in(&args.dir).doing(args.dir.display())?;
    let mut report = Report { machine: machine::describe(&args.dir), rows: Vec::new() };
    let mut text = format!("Measured on {}.\n", report.machine);
    let time = Duration::from_secs(if args.short { 1 } else { 3 });
    let limits = Limits::measure(work.path(), time)?;
    text += &format!(
        "The disk by itself, one write after the other: {} appends a second with fdatasync, {} writes over a file that is \
         there; RocksDB {} synced puts a second.\n\n",
        page::grouped(limits.appends),
        page::grouped(limits.overwrites),
        page::grouped(limits.rocksdb),
    );
    print!("{text}");
    if args.wants(Part::Loads) || args.wants(Part::Failover) {
        let ours = Ours::start(&args.granary, &work.path().join("ours"), args.shards).await?;
        let etcd = if args.alone { None } else { Some(Etcd::start(&args.etcd, &work.path().join("etcd")).await?) };
        let done = beside(&args, &limits, ours, etcd, &mut report, &mut text).await;
        report.write(&args.dir.join("report.json"))?;
        done?;
    }
    if args.wants(Part::Grow) {
        text += &moving(&args, work.path(), &mut report).await?;
    }
    if args.wants(Part::Idle) {
        text += &at_rest(&args, work.path(), &mut report).await?;
    }
    report.write(&args.dir.join("report.json"))?;
    if let Some(page) = &args.page {
        page::write(page, &text)?;
    }
    println!("{}", args.dir.join("report.json").display());
    Ok(())
}

/// Both systems, one beside the other.
async fn beside(
    args: &Args,
    limits: &Limits,
    mut ours: Ours,
    mut etcd: Option<Etcd>,
    report: &mut Report,
    text: &mut String,
) -> Result<()> {
    let done = compare(args, limits, &mut ours, etcd.as_mut(), report, text).await;
    drop(etcd);
    // Whatever came of it: nodes in the background would go on without a directory.
    ours.end().await?;
    done
}

async fn compare(
    args: &Args,
    limits: &Limits,
    ours: &mut Ours,
    etcd: Option<&mut Etcd>,
    report: &mut Report,
    text: &mut String,
) -> Result<()> {
    if args.wants(Part::Loads) {
        let compared = loads(args, ours, etcd.as_deref()).await?;
        for of in &compared {
            let limit = (of.load.kind == granary_load::Kind::Put && of.load.clients == 1).then_some(limits.appends);
            let row = Row::compared(of.load.name, of.load.clients, of.unit(), of.rates());
            report.rows.push(Row { limit, ..row });
        }
        let tables = format!("{}\n{}\n", page::loads(&compared), page::usage(&compared, 3.0));
        println!("{tables}");
        *text += &tables;
    }
    if args.wants(Part::Failover) {
        let table = failovers(args, ours, etcd, report).await?;
        println!("{table}");
        *text += &table;
    }
    Ok(())
}

async fn loads(args: &Args, ours: &Ours, etcd: Option<&Etcd>) -> Result<Vec<Compared>> {
    let (manner, loads) = (args.manner(), args.loads());
    let bar = bar(u64::from(manner.rounds) * loads.len() as u64, "loads");
    let clients = ours.targets(manner.connections).await?;
    let unary = ours.unary(manner.connections).await?;
    fill(&clients, &manner).await?;
    let theirs = match etcd {
        Some(etcd) => etcd.targets(manner.connections).await?,
        None => Vec::new(),
    };
    fill(&theirs, &manner).await?;
    let mut compared: Vec<Compared> =
        loads.into_iter().map(|load| Compared { load, ours: Vec::new(), etcd: Vec::new() }).collect();
    for _ in 0..manner.rounds {
        for of in &mut compared {
            bar.set_message(format!("{}, {} clients", of.load.name, of.load.clients));
            let plan = manner.plan(of.load.kind, of.load.clients);
            of.ours.push(if of.load.unary {
                half(ours, &unary, &plan).await?
            } else {
                half(ours, &clients, &plan).await?
            });
            if let Some(etcd) = etcd {
                of.etcd.push(half(etcd, &theirs, &plan).await?);
            }
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    Ok(compared)
}

async fn fill<T: granary_load::Target>(targets: &[T], manner: &Manner) -> Result<()> {
    match targets.first() {
        None => Ok(()),
        Some(first) => {
            let plan = manner.plan(granary_load::Kind::Put, 1);
            granary_load::fill(first, &plan, |_| ()).await.map_err(BenchError)
        }
    }
}

/// What is done to the leader.
#[derive(Clone, Copy)]
enum Blow {
    Kill,
    Stop,
    HandOver,
}

async fn strike<S: System>(system: &mut S, targets: &[S::Target], keys: &[Bytes], blow: Blow) -> Result<f64> {
    let leader = system.leader().await?;
    let target = targets.first().ok_or_else(|| BenchError("no target".into()))?;
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
    // Leaders come back to where they are spread evenly.
    tokio::time::sleep(Duration::from_secs(1)).await;
    Ok(seen?.as_secs_f64() * 1000.0)
}

async fn failovers(args: &Args, ours: &mut Ours, mut etcd: Option<&mut Etcd>, report: &mut Report) -> Result<String> {
    let mut text = String::from(
        "| longest time without a write, ms | times | ours: median (to) | ours: p99 | etcd: median (to) | etcd: p99 | ours : etcd |\n\
         | --- | ---: | ---: | ---: | ---: | ---: | ---: |\n",
    );
    let keys = one_a_shard(args.shards);
    for (name, blow) in [("failover_kill", Blow::Kill), ("failover_stop", Blow::Stop), ("transfer", Blow::HandOver)] {
        let bar = bar(args.failovers.into(), name);
        let (mut of_ours, mut of_etcd) = (Vec::new(), Vec::new());
        for _ in 0..args.failovers {
            let clients: Vec<Client> = ours.targets(1).await?;
            of_ours.push(strike(ours, &clients, &keys, blow).await?);
            if let Some(etcd) = etcd.as_deref_mut() {
                let theirs = etcd.targets(1).await?;
                of_etcd.push(strike(etcd, &theirs, &keys, blow).await?);
            }
            let last = |gaps: &[f64]| gaps.last().map_or("–".into(), |gap| format!("{gap:.0}"));
            bar.set_message(format!("{name}: ours {} ms, etcd {} ms", last(&of_ours), last(&of_etcd)));
            bar.inc(1);
        }
        bar.finish_and_clear();
        let ratio = ratios(&of_ours, &of_etcd);
        let (mine, theirs) = (Spread::of(of_ours.iter().copied()), Spread::of(of_etcd.iter().copied()));
        let shown =
            |spread: Option<Spread>| spread.map_or("–".into(), |s| format!("{:.0} ({:.0})", s.median, s.most));
        let p99 = |gaps: &[f64]| quantile(gaps, 0.99).map_or("–".into(), |gap| format!("{gap:.0}"));
        let fraction = ratio.map_or("–".into(), |ratio| format!("**{:.2}**", ratio.median));
        text += &format!(
            "| {name} | {} | {} | {} | {} | {} | {fraction} |\n",
            args.failovers,
            shown(mine),
            p99(&of_ours),
            shown(theirs),
            p99(&of_etcd),
        );
        report.rows.push(Row::compared(name, 0, "ms", (mine, theirs, ratio)));
    }
    Ok(text + "\n")
}

/// A key of each shard, so that it counts when any of them cannot be written.
fn one_a_shard(shards: u32) -> Vec<Bytes> {
    let of_shard = |range: SlotRange| (0..u32::MAX).map(granary_load::key).find(|key| range.contains(slot_of(key)));
    (0..shards).filter_map(|shard| of_shard(SlotRange::of_shard(shard, shards))).collect()
}

async fn moving(args: &Args, dir: &Path, report: &mut Report) -> Result<String> {
    let seen = grow(&args.granary, &dir.join("grow"), args.shards, args.mib).await?;
    let [quiet, scaled, made] = seen.p99;
    let mut text = format!(
        "| with {} MiB, three copies of each, and 1,000 writes a second | seconds | p99 of writes, ms | by that before |\n\
         | --- | ---: | ---: | ---: |\n",
        seen.mib
    );
    let rows = [("scale_up", seen.scale_up, Some(scaled)), ("rereplicate", seen.rereplicate, Some(made))];
    for (name, seconds, p99) in rows.into_iter().chain([("cold_start", seen.cold_start, None)]) {
        let clients = p99.map_or("– | –".into(), |p99| format!("{p99:.1} | {:.1}", p99 / quiet));
        text += &format!("| {name} | {seconds:.1} | {clients} |\n");
        report.rows.push(Row {
            name: name.into(),
            clients: 0,
            ours: Some(seconds),
            etcd: None,
            limit: None,
            ratio: None,
            unit: "s".into(),
        });
    }
    println!("{text}");
    Ok(text + "\n")
}

async fn at_rest(args: &Args, dir: &Path, report: &mut Report) -> Result<String> {
    let mut text =
        String::from("| at rest | shards | % of a core a member | MiB a member |\n| --- | ---: | ---: | ---: |\n");
    let (settle, time) = (Duration::from_secs(10), Duration::from_secs(20));
    let mut etcd_cpu = None;
    if !args.alone {
        let etcd = Etcd::start(&args.etcd, &dir.join("etcd-idle")).await?;
        let seen = idle(&etcd, settle, time).await?;
        text += &format!("| etcd | – | {:.2} | {:.0} |\n", seen.cpu_percent, seen.memory_mib);
        etcd_cpu = Some(seen.cpu_percent);
    }
    for shards in IDLE_SHARDS {
        let ours = Ours::start(&args.granary, &dir.join(format!("idle-{shards}")), shards).await?;
        let seen = idle(&ours, settle, time).await;
        ours.end().await?;
        let seen = seen?;
        text += &format!("| ours | {shards} | {:.2} | {:.0} |\n", seen.cpu_percent, seen.memory_mib);
        let ratio = etcd_cpu.filter(|cpu| *cpu > 0.0).map(|cpu| seen.cpu_percent / cpu);
        let name = if shards == 128 { "idle_cpu".into() } else { format!("idle_cpu_{shards}") };
        let unit = "% of a core a member".into();
        report.rows.push(Row {
            name,
            clients: 0,
            ours: Some(seen.cpu_percent),
            etcd: etcd_cpu,
            limit: None,
            ratio,
            unit,
        });
    }
    println!("{text}");
    Ok(text + "\n")
}

fn bar(steps: u64, what: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{elapsed_precise} {bar:30} {pos}/{len} {msg}");
    let bar = ProgressBar::new(steps).with_message(what);
    if let Ok(style) = style { bar.with_style(style) } else { bar }
}
