//! Runs rounds until time is over: begins and ends faults as the plan says, then sees that every shard is written
//! again.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use granary_tests::{HarnessError, Result, wait::until};

use crate::{
    calm::Calm,
    faults::{Going, Targets},
    kind::Kind,
    plan::{Plan, Round, Timed},
    progress::Progress,
};

/// Longest time until every shard is written again when all faults have ended.
const WRITTEN: Duration = Duration::from_secs(90);
/// Longest time until every replica is whole again.
const WHOLE: Duration = Duration::from_secs(240);
/// Tries to ask for what needs the cluster's answer, such as a drain.
const LATEST: Duration = Duration::from_millis(200);

/// The nemesis.
pub struct Nemesis {
    /// What it torments.
    pub targets: Targets,
    /// Told when faults begin and have ended.
    pub calm: Arc<Calm>,
    /// Told what goes on.
    pub progress: Arc<Progress>,
    /// Faults that happened, by kind.
    pub counts: BTreeMap<Kind, u64>,
    /// Longest time from the end of a round until every replica was whole.
    pub longest_whole: Duration,
    going: Vec<(Instant, Kind, Going)>,
    /// Ids of nodes whose disks were wiped: they must never be seen again.
    wiped: Vec<u64>,
}

impl Nemesis {
    /// One that has done nothing yet.
    pub fn new(targets: Targets, calm: Arc<Calm>, progress: Arc<Progress>) -> Self {
        Self {
            targets,
            calm,
            progress,
            counts: BTreeMap::new(),
            longest_whole: Duration::ZERO,
            going: Vec::new(),
            wiped: Vec::new(),
        }
    }

    /// Runs rounds for so long, the last of which may begin just before; and on, for half as long again at most, until
    /// each of the `wanted` kinds has happened.
    pub async fn run(&mut self, plan: &mut Plan, time: Duration, wanted: &BTreeSet<Kind>) -> Result<()> {
        let started = Instant::now();
        let mut rounds = 0;
        loop {
            let all = wanted.iter().all(|kind| self.counts.contains_key(kind));
            if started.elapsed() >= if all { time } else { time + time / 2 } {
                return Ok(());
            }
            rounds += 1;
            self.progress.round(rounds);
            let round = plan.deal();
            if round.from_whole {
                self.whole("before the next round").await?;
            }
            self.round(&round).await?;
            self.written().await?;
            tokio::time::sleep(round.calm).await;
        }
    }

    async fn round(&mut self, round: &Round) -> Result<()> {
        self.calm.ends(Instant::now());
        let start = Instant::now();
        let mut next = round.faults.iter().peekable();
        loop {
            let begins = next.peek().map(|fault| start + fault.after);
            let ends = self.going.iter().map(|(ends, ..)| *ends).min();
            let Some(at) = begins.into_iter().chain(ends).min() else { break };
            tokio::time::sleep_until(at.into()).await;
            match next.next_if(|fault| start + fault.after <= at) {
                Some(fault) => self.begin(fault).await?,
                None => self.end_due(at).await?,
            }
        }
        self.calm.begins(Instant::now());
        self.progress.now("healed");
        Ok(())
    }

    async fn begin(&mut self, fault: &Timed) -> Result<()> {
        let begun = self.targets.begin(fault).await;
        let Some((going, what)) = begun.map_err(|error| HarnessError::because(fault.kind.name(), error))? else {
            self.progress.note(&format!("{}: nothing to do it to", fault.kind.name()));
            return Ok(());
        };
        self.progress.note(&what);
        if let Going::Wiped(id) = going {
            self.wiped.push(id);
        }
        self.going.push((Instant::now() + fault.lasts.max(LATEST), fault.kind, going));
        Ok(())
    }

    async fn end_due(&mut self, at: Instant) -> Result<()> {
        while let Some(due) = self.going.iter().position(|(ends, ..)| *ends <= at) {
            let (_, kind, going) = self.going.swap_remove(due);
            self.end(kind, going).await?;
        }
        Ok(())
    }

    async fn end(&mut self, kind: Kind, going: Going) -> Result<()> {
        let ended = self.targets.end(going).await;
        if ended.map_err(|error| HarnessError::because(format!("ending {}", kind.name()), error))? {
            *self.counts.entry(kind).or_default() += 1;
            self.progress.fault();
        }
        Ok(())
    }

    /// Ends what goes on, in spite of errors; gives the first of them.
    pub async fn heal(&mut self) -> Result<()> {
        let mut all = Ok(());
        for (_, kind, going) in std::mem::take(&mut self.going) {
            all = all.and(self.end(kind, going).await);
        }
        self.calm.begins(Instant::now());
        all
    }

    /// Every shard is written again.
    async fn written(&self) -> Result<()> {
        until("every shard is written again behind the faults", WRITTEN, || async {
            let waiting = self.calm.waiting();
            if waiting.is_empty() { Ok(()) } else { Err(format!("shards {waiting:?} are not (counted from 0)")) }
        })
        .await
    }

    /// Every replica is whole.
    pub async fn whole(&mut self, when: &str) -> Result<()> {
        let started = Instant::now();
        self.progress.now("waiting for every replica to be whole");
        let whole = self.targets.cluster.whole(WHOLE).await;
        whole.map_err(|error| HarnessError::because(when, error))?;
        self.longest_whole = self.longest_whole.max(started.elapsed());
        let back = self.targets.cluster.nodes()?.into_iter().find(|node| self.wiped.contains(&node.id));
        back.map_or(Ok(()), |node| {
            Err(HarnessError(format!("node {} was wiped, and is there again: {node:?}", node.id)))
        })
    }
}
