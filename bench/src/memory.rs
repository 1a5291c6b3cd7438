//! Memory of nodes that hold much data: ours alone.

use std::{path::Path, time::Duration};

use granary_load::Kind;

use crate::{
    args::{Args, Part},
    error::{BenchError, Doing as _, Result},
    figures::Spread,
    filling::Filling,
    ours::Ours,
    page,
    report::{Report, Row},
    rounds::half,
    system::System,
    usage::Resident,
};

/// Shards of it.
const SHARDS: u32 = 64;
/// MiB that a node shall not exceed.
const AIM: u32 = 300;
/// As where data is moved.
const FILLING: Filling = Filling { batch: 512, value_size: 1024 };
/// How long half gets, half puts are asked.
const MIXED: Duration = Duration::from_secs(20);

/// What the nodes of a cluster hold, in MiB.
#[derive(Clone, Copy, Debug)]
pub struct Held {
    /// Now.
    pub now: Option<Spread>,
    /// The most since each started.
    pub most: Option<Spread>,
}

impl Held {
    /// Of all members.
    ///
    /// # Errors
    /// One is gone.
    pub fn of<S: System>(system: &S) -> Result<Self> {
        let each = system.members()?.iter().map(|member| Resident::of(member.pid)).collect::<Result<Vec<_>>>()?;
        let spread = |figure: fn(&Resident) -> f64| Spread::of(each.iter().map(figure));
        Ok(Self { now: spread(|held| held.now), most: spread(|held| held.most) })
    }
}

/// Loads data into a new cluster, and asks for it.
///
/// # Errors
/// A request fails.
pub async fn memory(args: &Args, dir: &Path, report: &mut Report) -> Result<String> {
    let ours = Ours::start(&args.granary, &dir.join("memory"), SHARDS).await?;
    let seen = looked(args, &ours).await;
    ours.end().await?;
    let mut text = format!(
        "| {} MiB in {SHARDS} shards, three copies of each | MiB a node, resident: median (most) | highest so far | aim |\n\
         | --- | ---: | ---: | ---: |\n",
        args.mib
    );
    for (name, words, held) in seen? {
        let (now, most) = (page::of_nodes(held.now), page::of_nodes(held.most));
        text += &format!("| {words} | {now} | {most} | {AIM} |\n");
        for (name, spread) in [(name.to_owned(), held.now), (format!("{name}_highest"), held.most)] {
            let limit = Some(AIM.into());
            let row = Row::alone(name, 0, "MiB of the largest node", spread.map_or(0.0, |spread| spread.most));
            report.add(Part::Memory, Row { limit, ..row });
        }
    }
    Ok(text)
}

async fn looked(args: &Args, ours: &Ours) -> Result<[(&'static str, &'static str, Held); 3]> {
    let keys = u32::try_from(args.mib * (1 << 20) / u64::from(FILLING.value_size)).doing("counting keys")?;
    let targets = ours.targets(args.connections).await?;
    let first = targets.first().ok_or_else(|| BenchError("no client".into()))?;
    let empty = Held::of(ours)?;
    FILLING.load(first, (0, keys), || false).await?;
    let loaded = Held::of(ours)?;
    let mut plan = args.manner().plan(Kind::Mixed, 64);
    (plan.keys, plan.value_size, plan.time) = (keys, FILLING.value_size, MIXED);
    half(ours, &targets, &plan).await?;
    Ok([
        ("memory_empty", "empty", empty),
        ("memory_loaded", "after the load", loaded),
        ("memory_mixed", "after 20 s of puts and gets", Held::of(ours)?),
    ])
}
