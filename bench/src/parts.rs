//! The parts of a run, one after the other; what each measured goes into the report at once.

use std::{fs, path::Path, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};

use crate::{
    args::{Args, Part},
    error::{BenchError, Doing as _, Result},
    etcd::Etcd,
    failovers::failovers,
    flame,
    grow::grow,
    growth,
    idle::idle,
    limits::Limits,
    machine, memory,
    ours::Ours,
    page,
    report::{Report, Row},
    rounds::{Compared, Manner, half},
    shards,
    system::System,
};

/// Numbers of shards with which idle nodes are looked at.
const IDLE_SHARDS: [u32; 3] = [64, 128, 256];

/// Does all that is asked.
///
/// # Errors
/// A part failed; those before it are in the report, and on the page.
pub async fn run(args: Args) -> Result<()> {
    fs::create_dir_all(&args.dir).doing(args.dir.display())?;
    let work = tempfile::Builder::new().prefix("run-").tempdir_in(&args.dir).doing(args.dir.display())?;
    let path = args.dir.join("report.json");
    let mut report = Report { machine: machine::describe(&args.dir), ..Report::earlier(&path, &args.parts()) };
    let time = Duration::from_secs(if args.short { 1 } else { 3 });
    let limits = Limits::measure(work.path(), time)?;
    let head = head(&report.machine, &limits);
    println!("{head}");
    let mut done = Vec::new();
    let ended = all(&args, &limits, work.path(), &mut report, &mut done).await;
    report.write(&path)?;
    if let Some(page) = &args.page {
        page::write(page, &head, &done)?;
    }
    println!("{}", path.display());
    ended
}

fn head(machine: &str, limits: &Limits) -> String {
    format!(
        "Measured on {machine}.\n\
         The disk by itself, one write after the other: {} appends a second with fdatasync, {} writes over a file that is \
         there; RocksDB {} synced puts a second.\n",
        page::grouped(limits.appends),
        page::grouped(limits.overwrites),
        page::grouped(limits.rocksdb),
    )
}

/// Each part in turn; its tables are in `done` as soon as it is over.
async fn all(
    args: &Args,
    limits: &Limits,
    dir: &Path,
    report: &mut Report,
    done: &mut Vec<(Part, String)>,
) -> Result<()> {
    if args.wants(Part::Loads) || args.wants(Part::Failover) {
        let ours = Ours::start(&args.granary, &dir.join("ours"), args.shards).await?;
        let etcd = if args.alone { None } else { Some(Etcd::start(&args.etcd, &dir.join("etcd")).await?) };
        beside(args, limits, ours, etcd, report, done).await?;
    }
    for part in args.parts() {
        let tables = match part {
            // Both are done.
            Part::Loads | Part::Failover => continue,
            Part::Grow => moving(args, dir, report).await?,
            Part::Idle => at_rest(args, dir, report).await?,
            Part::Growth => growth::growth(args, dir, report).await?,
            Part::Shards => shards::shards(args, dir, report).await?,
            Part::Memory => memory::memory(args, dir, report).await?,
            Part::Flame => flame::flame(args, dir, report).await?,
        };
        println!("{tables}");
        done.push((part, tables));
    }
    Ok(())
}

/// Both systems, one beside the other.
async fn beside(
    args: &Args,
    limits: &Limits,
    mut ours: Ours,
    mut etcd: Option<Etcd>,
    report: &mut Report,
    done: &mut Vec<(Part, String)>,
) -> Result<()> {
    let ended = compare(args, limits, &mut ours, etcd.as_mut(), report, done).await;
    drop(etcd);
    // Whatever came of it: nodes in the background would go on without a directory.
    ours.end().await?;
    ended
}

async fn compare(
    args: &Args,
    limits: &Limits,
    ours: &mut Ours,
    etcd: Option<&mut Etcd>,
    report: &mut Report,
    done: &mut Vec<(Part, String)>,
) -> Result<()> {
    if args.wants(Part::Loads) {
        let compared = loads(args, ours, etcd.as_deref()).await?;
        for of in &compared {
            let limit = (of.load.kind == granary_load::Kind::Put && of.load.clients == 1).then_some(limits.appends);
            let row = Row::compared(of.load.name, of.load.clients, of.unit(), of.rates());
            report.add(Part::Loads, Row { limit, ..row });
        }
        let tables = format!("{}\n{}\n", page::loads(&compared), page::usage(&compared, 3.0));
        println!("{tables}");
        done.push((Part::Loads, tables));
    }
    if args.wants(Part::Failover) {
        let table = failovers(args, ours, etcd, report).await?;
        println!("{table}");
        done.push((Part::Failover, table));
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
        report.add(Part::Grow, Row::alone(name, 0, "s", seconds));
    }
    Ok(text)
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
        let row = Row::alone(name, 0, "% of a core a member", seen.cpu_percent);
        report.add(Part::Idle, Row { etcd: etcd_cpu, ratio, ..row });
    }
    Ok(text)
}

/// How far a part is.
pub fn bar(steps: u64, what: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{elapsed_precise} {bar:30} {pos}/{len} {msg}");
    let bar = ProgressBar::new(steps).with_message(what);
    if let Ok(style) = style { bar.with_style(style) } else { bar }
}
