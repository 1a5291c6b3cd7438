//! Where the processors' time goes in the three nodes while clients put and get: perf samples them, tables and flame graphs
//! show it.
//!
//! ```text
//! perf record ──► perf script ──► inferno folds ──► Profile (tables), flame-put.svg, flame-get.svg
//! ```

use std::{fs, path::Path, time::Duration};

use granary_load::Kind;
use inferno::{
    collapse::{Collapse as _, perf::Folder},
    flamegraph,
};
use tokio::process::Command;

use crate::{
    args::{Args, Part},
    error::{BenchError, Doing as _, Result},
    ours::Ours,
    profile::{Profile, cell},
    report::{Report, Row},
    rounds::half,
    shards::CLIENTS,
    system::System,
};

/// Samples a second of each processor: no round number, so that they do not fall in step with what the nodes do.
const FREQUENCY: &str = "299";
/// Bytes of stack that are copied with a sample, by which it is unwound later: our code has no frame pointers. With fewer
/// the outer frames of deep stacks are lost.
const STACK: &str = "dwarf,16384";
/// How long is sampled.
const SECONDS: u64 = 10;
/// How long clients ask before.
const BEFORE: Duration = Duration::from_secs(2);
/// Frames of less than this part of all samples, in percent, are not drawn.
const NARROWEST: f64 = 0.1;
/// Functions of the table.
const FUNCTIONS: usize = 10;
/// Threads of less than so many percent are left out of the table.
const SMALLEST: f64 = 0.5;

/// Samples a new cluster under puts, then under gets. Without perf nothing is done, and the text says so.
///
/// # Errors
/// A request fails, or perf does.
pub async fn flame(args: &Args, dir: &Path, report: &mut Report) -> Result<String> {
    if Command::new("perf").arg("--version").output().await.is_err() {
        return Ok("Where the time goes was not measured: perf is not installed.\n".into());
    }
    let ours = Ours::start(&args.granary, &dir.join("flame"), args.shards).await?;
    let done = both(args, &ours, dir).await;
    ours.end().await?;
    let [put, get] = done?;
    for (of, profile) in [("put", &put), ("get", &get)] {
        for (thread, share) in profile.threads.iter().filter(|(_, share)| *share >= SMALLEST) {
            report.add(Part::Flame, Row::alone(format!("flame_{of}_{thread}"), CLIENTS, "% of samples", *share));
        }
    }
    Ok(format!("{}\n{}", threads(&put, &get), functions(&put, &get)))
}

async fn both(args: &Args, ours: &Ours, dir: &Path) -> Result<[Profile; 2]> {
    let targets = ours.targets(args.connections).await?;
    let first = targets.first().ok_or_else(|| BenchError("no client".into()))?;
    let manner = args.manner();
    granary_load::fill(first, &manner.plan(Kind::Put, 1), |_| ()).await.map_err(BenchError)?;
    fs::create_dir_all(&args.flames).doing(args.flames.display())?;
    let mut profiles = [Profile::default(), Profile::default()];
    for ((name, kind), profile) in [("put", Kind::Put), ("get", Kind::Get)].into_iter().zip(&mut profiles) {
        let mut plan = manner.plan(kind, CLIENTS);
        plan.time = BEFORE + Duration::from_secs(SECONDS);
        let data = dir.join(format!("perf-{name}"));
        let (asked, sampled) = tokio::join!(half(ours, &targets, &plan), sample(&data));
        asked?;
        sampled?;
        let folded = folded(ours, &data).await?;
        let path = args.flames.join(format!("flame-{name}.svg"));
        draw(&folded, &format!("{CLIENTS} clients, {name}: three nodes"), &path)?;
        println!("{}: {} KiB", path.display(), fs::metadata(&path).map_or(0, |file| file.len() >> 10));
        *profile = Profile::of(&folded);
    }
    Ok(profiles)
}

/// Samples the processors, behind the time that clients ask before.
async fn sample(data: &Path) -> Result<()> {
    tokio::time::sleep(BEFORE).await;
    let mut command = Command::new("perf");
    // By the clock: virtual machines often have no counter of cycles. And whoever runs: of single processes the clock
    // starts anew with each switch to them, and shows the switch too often.
    command.args(["record", "-q", "-a", "-e", "cpu-clock", "-F", FREQUENCY, "--call-graph", STACK, "-o"]).arg(data);
    command.args(["--", "sleep", &SECONDS.to_string()]);
    said(command, "perf record").await.map(drop)
}

/// One line for each stack of the nodes that was seen, with the number of its samples.
async fn folded(ours: &Ours, data: &Path) -> Result<String> {
    let pids: Vec<String> = ours.members()?.iter().map(|member| member.pid.to_string()).collect();
    let mut command = Command::new("perf");
    // Looking inlined functions up takes minutes. Without periods each sample counts one.
    command.args(["script", "--no-inline", "-F", "comm,pid,tid,time,event,ip,sym,dso", "--pid", &pids.join(",")]);
    command.arg("-i").arg(data);
    let script = said(command, "perf script").await?;
    let mut folded = Vec::new();
    Folder::default().collapse(script.as_slice(), &mut folded).doing("folding stacks")?;
    String::from_utf8(folded).doing("folding stacks")
}

async fn said(mut command: Command, what: &str) -> Result<Vec<u8>> {
    let output = command.kill_on_drop(true).output().await.doing(what)?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    Err(BenchError(format!("{what}: {}", String::from_utf8_lossy(&output.stderr))))
}

fn draw(folded: &str, title: &str, path: &Path) -> Result<()> {
    let mut options = flamegraph::Options::default();
    options.title = title.into();
    options.min_width = NARROWEST;
    options.deterministic = true;
    let mut drawn = Vec::new();
    flamegraph::from_lines(&mut options, folded.lines(), &mut drawn).doing("drawing a flame graph")?;
    fs::write(path, drawn).doing(path.display())
}

fn threads(put: &Profile, get: &Profile) -> String {
    let mut text = format!(
        "| thread of a node, {CLIENTS} clients | put, % of {} samples | get, % of {} samples |\n| --- | ---: | ---: |\n",
        put.samples, get.samples
    );
    let only_get = get.threads.iter().filter(|(name, _)| put.thread(name) == 0.0);
    for (name, _) in put.threads.iter().chain(only_get) {
        let (put, get) = (put.thread(name), get.thread(name));
        if put.max(get) >= SMALLEST {
            text += &format!("| {name} | {put:.1} | {get:.1} |\n");
        }
    }
    text
}

fn functions(put: &Profile, get: &Profile) -> String {
    let mut text = String::from("| put, by itself | % | get, by itself | % |\n| --- | ---: | --- | ---: |\n");
    let shown = |of: Option<&(String, f64)>| {
        of.map_or("– | –".into(), |(function, share)| format!("{} | {share:.1}", cell(function)))
    };
    for place in 0..FUNCTIONS {
        text += &format!("| {} | {} |\n", shown(put.functions.get(place)), shown(get.functions.get(place)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_of_both_loads_are_shown_and_tiny_ones_are_not() {
        let (put, get) = (Profile::of("store;a 500\nmain;b 1\n"), Profile::of("worker;a 9\n"));
        let text = threads(&put, &get);
        assert!(
            text.contains("| store | 99.8 | 0.0 |\n| worker | 0.0 | 100.0 |\n") && !text.contains("main"),
            "{text}"
        );
        let text = functions(&put, &get);
        assert!(text.contains("| `a` | 99.8 | `a` | 100.0 |\n| `b` | 0.2 | – | – |\n"), "{text}");
    }

    #[test]
    fn a_flame_graph_is_drawn() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("flame.svg");
        draw("store;a;b 5\nstore;a 1\n", "puts", &path).unwrap();
        assert!(fs::read_to_string(&path).unwrap().contains("<svg"));
    }
}
