//! The steps, in order. Each ends only when what it promises was seen.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use granary_tests::{
    HarnessError, Result, cli,
    local::{Local, NodeRow, ShardRow, counts, kill, spread},
    wait::until,
    writer::Writer,
};
use indicatif::{ProgressBar, ProgressStyle};

use crate::{
    Args,
    input::{self, Input},
    report::{Report, StepRow},
};

/// Longest time for any step.
const LIMIT: Duration = Duration::from_secs(180);
/// Between two writes of one shard's writer.
const PAUSE: Duration = Duration::from_millis(10);
/// For the writer to have written before something is done to the cluster.
const WRITES_BEFORE: u64 = 1_000;

/// Name of the fourth step.
const KILL: &str = "kill -9 a leader";

struct Demo<'a> {
    local: Local,
    input: Input,
    shards: u32,
    report: &'a mut Report,
    bar: ProgressBar,
    writer: Option<Writer>,
}

pub async fn run(args: &Args, report: &mut Report) -> Result<()> {
    let shards = if args.short { 16 } else { 64 };
    let words = if args.short { 20_000 } else { usize::MAX };
    std::fs::create_dir_all(&args.dir).map_err(|error| HarnessError::because(args.dir.display(), error))?;
    let local = Local::new(&args.dir, 3, 3, shards)?;
    if local.dir.exists() {
        local.destroy().await?;
    }
    let input = input::prepare(&args.dir, words)?;
    let bar = ProgressBar::new(7).with_style(
        ProgressStyle::with_template("[{pos}/{len}] {bar:20} {msg} {elapsed}").unwrap_or(ProgressStyle::default_bar()),
    );
    bar.enable_steady_tick(Duration::from_millis(200));
    let mut demo = Demo { local, input, shards, report, bar, writer: None };
    let outcome = demo.all(args.kills).await;
    demo.bar.finish_and_clear();
    if !args.keep && outcome.is_ok() {
        demo.local.destroy().await?;
    }
    outcome
}

impl Demo<'_> {
    async fn all(&mut self, kills: u32) -> Result<()> {
        self.start().await?;
        self.load().await?;
        self.scale_out().await?;
        for _ in 0..kills {
            self.kill_the_busiest().await?;
        }
        self.gaps_of_kills();
        self.wipe_a_node().await?;
        self.scale_in().await?;
        self.power_cut().await
    }

    fn begin(&self, what: &str) -> Instant {
        if self.bar.message() != what {
            self.bar.inc(1);
        }
        self.bar.set_message(what.to_owned());
        if self.bar.is_hidden() {
            eprintln!("[{}/7] {what}", self.bar.position());
        }
        if let Some(writer) = &self.writer {
            writer.take_longest_gap();
        }
        Instant::now()
    }

    fn end(&mut self, name: &str, started: Instant, keys_verified: u64, note: String) {
        let gap = self.writer.as_ref().map_or(Duration::ZERO, Writer::take_longest_gap);
        let row = StepRow {
            name: name.to_owned(),
            seconds: started.elapsed().as_secs_f64(),
            keys_verified,
            acknowledged: self.writer.as_ref().map_or(0, Writer::acknowledged),
            longest_write_gap_ms: u64::try_from(gap.as_millis()).unwrap_or(u64::MAX),
            note,
        };
        self.report.keys_verified += keys_verified;
        self.report.steps.push(row);
    }

    /// The gap counts for the promise while a majority is up.
    fn count_gap(&mut self) {
        let gap = self.report.steps.last().map_or(0, |step| step.longest_write_gap_ms);
        self.report.longest_write_gap_ms = self.report.longest_write_gap_ms.max(gap);
    }

    async fn start(&mut self) -> Result<()> {
        let started = self.begin("starting three nodes from the YAML");
        self.local.up().await?;
        self.local.ready(3, LIMIT).await?;
        let leaders = self.local.shards().await?.iter().filter(|shard| shard.id != 0 && shard.leader.is_some()).count();
        self.end("start 3 nodes", started, 0, format!("{leaders} of {} shards have a leader", self.shards));
        if leaders == self.shards as usize { Ok(()) } else { Err(HarnessError("a shard has no leader".into())) }
    }

    async fn load(&mut self) -> Result<()> {
        let started = self.begin("loading and verifying");
        let loaded = self.data("load").await?;
        let keys = self.verify().await?;
        if keys < 20_000 {
            return Err(HarnessError(format!("only {keys} keys of input; at least 20,000 are wanted")));
        }
        let note =
            format!("{} keys stored, {} too large", loaded["keys"], loaded["too_large"].as_array().map_or(0, Vec::len));
        self.end("load and verify", started, keys, note);
        let writer = Writer::start(self.local.endpoints()?, self.shards, PAUSE).await?;
        self.writer = Some(writer);
        Ok(())
    }

    async fn data(&self, command: &str) -> Result<serde_json::Value> {
        let (files, words) = (self.input.files.display().to_string(), self.input.words.display().to_string());
        let args = [command, &files, "--lines", &words, "-o", "json", "--timeout", "60s"];
        let output = cli::run_in_sight(&self.local.dir, &args).await?;
        match output.code {
            0 => output.json(),
            code => Err(HarnessError(format!("granary {command} ended with {code}: {}", output.text()))),
        }
    }

    /// Reads the loaded keys and the writer's keys back; what is wrong with the writer's is a lost write.
    async fn verify(&mut self) -> Result<u64> {
        let verified = self.data("verify").await?;
        let mut keys = verified["keys"].as_u64().unwrap_or(0);
        if let Some(writer) = &self.writer {
            let checked = writer.check().await?;
            keys += checked.keys;
            self.report.acknowledged = checked.acknowledged;
            self.report.lost += checked.lost;
            if checked.lost > 0 {
                return Err(HarnessError(format!("{} writes lost: {:?}", checked.lost, writer.errors())));
            }
        }
        Ok(keys)
    }

    async fn written(&self) -> Result<()> {
        let Some(writer) = &self.writer else { return Ok(()) };
        let before = writer.acknowledged();
        until("the writer writes", LIMIT, || async {
            let written = writer.acknowledged() - before;
            if written >= WRITES_BEFORE { Ok(()) } else { Err(format!("{written} writes, {:?}", writer.errors())) }
        })
        .await
    }

    async fn scale_out(&mut self) -> Result<()> {
        let started = self.begin("replicas: 3 -> 5 in the YAML, under load");
        self.written().await?;
        let before = self.local.shards().await?;
        self.local.edit_replicas(5)?;
        let nodes = self.local.ready(5, LIMIT).await?;
        let after = self.local.shards().await?;
        balanced(&after, &nodes)?;
        let moved = moved(&before, &after);
        let least = least_moves(&before, &nodes);
        let keys = self.verify().await?;
        self.end("scale 3 to 5", started, keys, format!("{moved} replicas moved, {least} are the minimum"));
        self.count_gap();
        if moved > least {
            return Err(HarnessError(format!("{moved} replicas were moved, {least} would have been enough")));
        }
        Ok(())
    }

    async fn kill_the_busiest(&mut self) -> Result<()> {
        let started = self.begin("kill -9 of the node that leads the most shards, under load");
        self.written().await?;
        let victim = self.local.busiest()?;
        kill(victim.pid);
        self.written().await?;
        until("the killed node is started again", LIMIT, || async {
            let nodes = self.local.nodes().map_err(|error| error.to_string())?;
            let again = nodes.iter().find(|node| node.name == victim.name && node.id == victim.id);
            again.filter(|node| node.pid != 0 && node.pid != victim.pid).map(|_| ()).ok_or(format!("{nodes:?}"))
        })
        .await?;
        self.local.ready(5, LIMIT).await?;
        let keys = self.verify().await?;
        self.end(KILL, started, keys, format!("{} led {} shards", victim.name, victim.leaders));
        self.count_gap();
        Ok(())
    }

    /// With several kills: the spread of the gaps, in the note of the last.
    fn gaps_of_kills(&mut self) {
        let kills = self.report.steps.iter().filter(|step| step.name == KILL);
        let mut gaps: Vec<u64> = kills.map(|step| step.longest_write_gap_ms).collect();
        gaps.sort_unstable();
        if let ([least, .., most], Some(last)) = (&gaps[..], self.report.steps.last_mut()) {
            let median = gaps[gaps.len() / 2];
            last.note = format!("{} kills: gaps {least} to {most} ms, median {median} ms", gaps.len());
        }
    }

    async fn wipe_a_node(&mut self) -> Result<()> {
        let started = self.begin("kill -9 and an empty disk: it comes back as a new node");
        self.written().await?;
        let victim = self.local.busiest()?;
        let dir = self.local.node_dir(&victim.name);
        // Away in one step, so that no process can start on half of it.
        let trash = self.local.dir.with_file_name("wiped");
        let _ = std::fs::remove_dir_all(&trash);
        std::fs::rename(&dir, &trash).map_err(|error| HarnessError::because(dir.display(), error))?;
        kill(victim.pid);
        let new = until("a new node takes the place", LIMIT, || async {
            let nodes = self.local.nodes().map_err(|error| error.to_string())?;
            let gone = nodes.iter().all(|node| node.id != victim.id);
            let new = nodes.iter().find(|node| node.name == victim.name && node.id > victim.id).cloned();
            new.filter(|_| gone).ok_or(format!("{nodes:?}"))
        })
        .await?;
        let nodes = self.local.ready(5, LIMIT).await?;
        balanced(&self.local.shards().await?, &nodes)?;
        let keys = self.verify().await?;
        let _ = std::fs::remove_dir_all(&trash);
        self.end("wipe a node", started, keys, format!("{} was node {}, is node {}", victim.name, victim.id, new.id));
        self.count_gap();
        Ok(())
    }

    async fn scale_in(&mut self) -> Result<()> {
        let started = self.begin("replicas: 5 -> 3 in the YAML, under load");
        self.written().await?;
        self.local.edit_replicas(3)?;
        let nodes = self.local.ready(3, LIMIT).await?;
        balanced(&self.local.shards().await?, &nodes)?;
        let keys = self.verify().await?;
        let names: Vec<_> = nodes.iter().map(|node| node.name.as_str()).collect();
        self.end("scale 5 to 3", started, keys, format!("{} stay", names.join(", ")));
        self.count_gap();
        Ok(())
    }

    async fn power_cut(&mut self) -> Result<()> {
        let started = self.begin("kill -9 of all nodes at once");
        self.written().await?;
        let before = self.local.nodes()?;
        before.iter().for_each(|node| kill(node.pid));
        until("all nodes are started again", LIMIT, || async {
            let nodes = self.local.nodes().map_err(|error| error.to_string())?;
            let again = |old: &NodeRow| nodes.iter().any(|n| n.id == old.id && n.pid != 0 && n.pid != old.pid);
            if before.iter().all(again) { Ok(()) } else { Err(format!("{nodes:?}")) }
        })
        .await?;
        self.local.ready(3, LIMIT).await?;
        self.written().await?;
        let mut keys = self.verify().await?;
        if let Some(writer) = self.writer.take() {
            let gap = writer.take_longest_gap();
            let (acknowledged, errors) = (writer.acknowledged(), writer.errors());
            let checked = writer.finish().await?;
            keys += checked.keys;
            self.report.acknowledged = checked.acknowledged;
            self.report.lost += checked.lost;
            self.end("kill -9 all nodes", started, keys, "no majority meanwhile: writes waited".into());
            if let Some(step) = self.report.steps.last_mut() {
                step.longest_write_gap_ms = u64::try_from(gap.as_millis()).unwrap_or(u64::MAX);
                step.acknowledged = acknowledged;
            }
            if checked.lost > 0 {
                return Err(HarnessError(format!("{} writes lost: {errors:?}", checked.lost)));
            }
        }
        Ok(())
    }
}

fn balanced(shards: &[ShardRow], nodes: &[NodeRow]) -> Result<()> {
    let (replicas, leaders) = counts(shards);
    if spread(&replicas, nodes) <= 1 && spread(&leaders, nodes) <= 1 {
        Ok(())
    } else {
        Err(HarnessError(format!("not balanced: replicas {replicas:?}, leaders {leaders:?}")))
    }
}

fn places(shards: &[ShardRow]) -> BTreeSet<(u64, u64)> {
    shards.iter().filter(|s| s.id != 0).flat_map(|s| s.nodes.iter().map(move |node| (s.id, *node))).collect()
}

fn moved(before: &[ShardRow], after: &[ShardRow]) -> usize {
    places(after).difference(&places(before)).count()
}

/// What the new nodes must get at least so that all counts are within 1.
fn least_moves(before: &[ShardRow], nodes: &[NodeRow]) -> usize {
    let (replicas, _) = counts(before);
    let all: u64 = replicas.values().sum();
    let each = all / nodes.len().max(1) as u64;
    let missing = |node: &NodeRow| each.saturating_sub(replicas.get(&node.id).copied().unwrap_or(0));
    usize::try_from(nodes.iter().map(missing).sum::<u64>()).unwrap_or(usize::MAX)
}
