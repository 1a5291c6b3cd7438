//! Both systems under the same load, in turn: A B A B.

use std::time::Duration;

use granary_load::{Distribution, Kind, Outcome, Plan, Target};

use crate::{
    error::{BenchError, Doing as _, Result},
    figures::{Spread, ratios},
    system::System,
    usage::Usage,
};

/// A load that is measured.
#[derive(Clone, Debug)]
pub struct Load {
    /// Name of its row.
    pub name: &'static str,
    /// What clients ask for.
    pub kind: Kind,
    /// How many clients.
    pub clients: u32,
    /// By unary calls on our side too.
    pub unary: bool,
}

/// How all loads are measured.
#[derive(Clone, Debug)]
pub struct Manner {
    /// Rounds, from 1 up.
    pub rounds: u32,
    /// Not counted at the beginning of each half round.
    pub warm_up: Duration,
    /// Measured of each half round.
    pub time: Duration,
    /// Bytes of a value.
    pub value_size: u32,
    /// Number of keys.
    pub keys: u32,
    /// Connections to each member.
    pub connections: u32,
    /// Keys of a batch.
    pub batch: u32,
    /// Rows of a scan.
    pub rows: u32,
}

impl Manner {
    /// The plan of the generator.
    pub fn plan(&self, kind: Kind, clients: u32) -> Plan {
        Plan {
            kind,
            clients,
            value_size: self.value_size,
            keys: self.keys,
            distribution: Distribution::Uniform,
            batch: self.batch,
            rows: self.rows,
            rate: None,
            warm_up: self.warm_up,
            time: self.time,
        }
    }
}

/// Half a round.
#[derive(Clone, Debug)]
pub struct Half {
    /// What clients saw.
    pub outcome: Outcome,
    /// What the members used for it, warm-up included.
    pub used: Usage,
    /// Requests and keys of the whole half round, warm-up included, for what was used.
    pub done: u64,
}

/// Lets one system be asked.
///
/// # Errors
/// A request failed: then nothing was measured.
pub async fn half<S: System, T: Target>(system: &S, targets: &[T], plan: &Plan) -> Result<Half> {
    let before = system.usage()?;
    let mut done = 0;
    let outcome = granary_load::run(targets, plan, |seen| done = seen.done).await.doing(system.name())?;
    if let Some((words, times)) = outcome.errors.first_key_value() {
        return Err(BenchError(format!("{}: {times} requests failed: {words}", system.name())));
    }
    let used = system.usage()?.since(before);
    Ok(Half { done: done.max(outcome.latencies.len()), outcome, used })
}

/// What both did under one load.
#[derive(Clone, Debug)]
pub struct Compared {
    /// The load.
    pub load: Load,
    /// Of ours, round by round.
    pub ours: Vec<Half>,
    /// Of etcd, round by round.
    pub etcd: Vec<Half>,
}

impl Compared {
    /// Requests a second; of batches and scans keys a second.
    pub fn rate(&self, half: &Half) -> f64 {
        match self.load.kind {
            Kind::Batch | Kind::Scan => half.outcome.keys_per_second(),
            Kind::Put | Kind::Get | Kind::Mixed => half.outcome.per_second(),
        }
    }

    /// What the rate counts.
    pub fn unit(&self) -> &'static str {
        match self.load.kind {
            Kind::Batch | Kind::Scan => "keys/s",
            Kind::Put | Kind::Get | Kind::Mixed => "op/s",
        }
    }

    /// One figure of each round of one side.
    pub fn each(halves: &[Half], figure: impl Fn(&Half) -> f64) -> Vec<f64> {
        halves.iter().map(figure).collect()
    }

    /// Rates of ours and of etcd, and ours by etcd's.
    pub fn rates(&self) -> (Option<Spread>, Option<Spread>, Option<Spread>) {
        self.compare(|half| self.rate(half))
    }

    /// A figure of ours and of etcd, and ours by etcd's.
    pub fn compare(&self, figure: impl Fn(&Half) -> f64) -> (Option<Spread>, Option<Spread>, Option<Spread>) {
        let (ours, etcd) = (Self::each(&self.ours, &figure), Self::each(&self.etcd, &figure));
        (Spread::of(ours.iter().copied()), Spread::of(etcd.iter().copied()), ratios(&ours, &etcd))
    }
}
