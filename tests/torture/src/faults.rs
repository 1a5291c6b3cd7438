//! How each kind of fault is begun and ended. What is counted happened: packets were dropped, requests hit, processes
//! there.

use std::{collections::BTreeMap, fs, sync::Arc, time::Duration};

use granary_powercut::FaultId;
use granary_tests::{
    HarnessError, Result, cli,
    local::{Signal, signal},
};
use tokio::task::JoinHandle;

use crate::{
    cluster::{Cluster, Seen},
    cuts,
    disks::Disks,
    kind::Kind,
    network::{Cut, Network},
    plan::Timed,
    shim,
};

/// What faults are done to.
#[derive(Clone)]
pub struct Targets {
    /// Nodes and operator.
    pub cluster: Arc<Cluster>,
    /// Their network.
    pub network: Network,
    /// Their disks.
    pub disks: Disks,
}

/// A fault that goes on.
pub enum Going {
    /// It was over at once.
    Over,
    /// So was this; the node with this id is no more.
    Wiped(u64),
    /// Cut since so many packets were dropped.
    Cut { id: u64, dropped: u64 },
    /// A task cuts and mends.
    Flaps { task: JoinHandle<()>, dropped: u64 },
    /// A rule of a disk.
    Rule { index: u32, rule: FaultId },
    /// A full disk.
    Full { index: u32 },
    /// Processes that are stopped.
    Stopped(Vec<u32>),
    /// Wall clocks that are off.
    Clocks(Vec<u32>),
    /// The operator does not run.
    NoOperator,
    /// It is stopped.
    OperatorStopped,
    /// A node is to be emptied.
    Draining(u64),
}

impl Targets {
    /// Begins a fault. None: there was nothing to do it to. Also says what was done, for people.
    pub async fn begin(&self, fault: &Timed) -> Result<Option<(Going, String)>> {
        let running = self.cluster.processes();
        let nodes: Vec<Seen> =
            self.cluster.nodes()?.into_iter().filter(|node| running.contains_key(&node.index)).collect();
        let Some(first) = first(&nodes, fault) else { return Ok(None) };
        let (index, pick) = (first.index, fault.pick);
        let done = match fault.kind {
            Kind::Kill => self.kill(&[index]).await?,
            Kind::KillAll => self.kill(&indices(&nodes)).await?,
            Kind::Stop => self.signalled(&[index], Signal::TERM).map(|_| Going::Over),
            Kind::Pause => self.signalled(&[index], Signal::STOP).map(Going::Stopped),
            Kind::PauseOthers => {
                let others: Vec<u32> = indices(&nodes).into_iter().filter(|other| *other != index).collect();
                self.signalled(&others, Signal::STOP).map(Going::Stopped)
            }
            Kind::Isolate | Kind::OneWay | Kind::OneFromOne | Kind::Bridge | Kind::Ring => {
                let cuts = cuts::of(fault.kind, &indices(&nodes), index, pick);
                Some(self.cut(Cut::Nodes(cuts)).await?)
            }
            Kind::Flapping => {
                let shape = if pick.is_multiple_of(2) { Kind::Isolate } else { Kind::OneWay };
                Some(self.flap(Cut::Nodes(cuts::of(shape, &indices(&nodes), index, pick / 2)), pick).await?)
            }
            Kind::AnswersLost => {
                let of = if pick.is_multiple_of(3) { indices(&nodes) } else { vec![index] };
                Some(self.cut(Cut::Answers(of.into_iter().collect())).await?)
            }
            Kind::Wipe => self.wipe(first).await?,
            Kind::PowerCut => Some(self.power_cut(pick).await?),
            Kind::DiskSlow => Some(Going::Rule { index, rule: self.disks.slow(index, pick)? }),
            Kind::DiskStall => Some(Going::Rule { index, rule: self.disks.stall(index)? }),
            Kind::DiskError => Some(Going::Rule { index, rule: self.disks.fail_a_sync(index)? }),
            Kind::DiskFull => {
                self.disks.fill(index, pick)?;
                Some(Going::Full { index })
            }
            Kind::ClockJump => {
                let of = if pick.is_multiple_of(3) { indices(&nodes) } else { vec![index] };
                let by = if pick.is_multiple_of(2) { "+3600" } else { "-3600" };
                self.set_clocks(&of, by)?;
                Some(Going::Clocks(of))
            }
            Kind::ScaleOut | Kind::ScaleIn => self.scale(fault.kind)?,
            Kind::Drain => self.drain(&nodes, pick).await?,
            Kind::OperatorKill => {
                self.cluster.kill_operator().await;
                Some(Going::NoOperator)
            }
            Kind::OperatorPause => {
                self.cluster.signal_operator(Signal::STOP).await;
                Some(Going::OperatorStopped)
            }
        };
        let what = format!("{} node-{index}", fault.kind.name());
        Ok(done.map(|going| (going, what)))
    }

    /// Ends a fault. Says whether it surely happened.
    pub async fn end(&self, going: Going) -> Result<bool> {
        match going {
            Going::Over | Going::Wiped(_) => return Ok(true),
            Going::Cut { id, dropped } => {
                let happened = self.network.dropped().await? > dropped;
                self.network.mend(id).await?;
                return Ok(happened);
            }
            Going::Flaps { task, dropped } => {
                task.abort();
                let _ = task.await;
                let happened = self.network.dropped().await? > dropped;
                self.network.mend_all().await?;
                return Ok(happened);
            }
            Going::Rule { index, rule } => return Ok(self.disks.withdraw(index, rule)? > 0),
            Going::Full { index } => self.disks.empty(index)?,
            Going::Stopped(pids) => pids.into_iter().for_each(|pid| signal(pid, Signal::CONT)),
            Going::Clocks(indices) => self.set_clocks(&indices, "+0")?,
            Going::NoOperator => self.cluster.start_operator().await?,
            Going::OperatorStopped => self.cluster.signal_operator(Signal::CONT).await,
            Going::Draining(id) => {
                // A node that went meanwhile is drained no more.
                let _ = cli::run(&self.cluster.local.dir, &["node", "undrain", &id.to_string()]).await?;
            }
        }
        Ok(true)
    }

    async fn kill(&self, indices: &[u32]) -> Result<Option<Going>> {
        Ok((self.cluster.kill_nodes(indices).await? > 0).then_some(Going::Over))
    }

    /// Sends it to those that run; gives their processes.
    fn signalled(&self, indices: &[u32], sent: Signal) -> Option<Vec<u32>> {
        let running = self.cluster.processes();
        let pids: Vec<u32> = indices.iter().filter_map(|index| running.get(index)).copied().collect();
        pids.iter().for_each(|pid| signal(*pid, sent));
        (!pids.is_empty()).then_some(pids)
    }

    async fn cut(&self, cut: Cut) -> Result<Going> {
        let dropped = self.network.dropped().await?;
        let id = self.network.cut(cut, self.cluster.ports()?).await?;
        Ok(Going::Cut { id, dropped })
    }

    async fn flap(&self, cut: Cut, pick: u64) -> Result<Going> {
        let dropped = self.network.dropped().await?;
        let (network, ports) = (self.network.clone(), self.cluster.ports()?);
        // From faster than an election to slower than one.
        let (on, off) = (Duration::from_millis(100 + pick % 1_400), Duration::from_millis(50 + pick % 900));
        let task = tokio::spawn(async move {
            while let Ok(id) = network.cut(cut.clone(), ports.clone()).await {
                tokio::time::sleep(on).await;
                if network.mend(id).await.is_err() {
                    return;
                }
                tokio::time::sleep(off).await;
            }
        });
        Ok(Going::Flaps { task, dropped })
    }

    /// The link to the disk goes first, at once: no process can start on half of what was there.
    async fn wipe(&self, node: &Seen) -> Result<Option<Going>> {
        let index = node.index;
        if node.id == 0 {
            return Ok(None);
        }
        let link = self.cluster.local.node_dir(&format!("node-{index}"));
        let Ok(life) = fs::read_link(&link) else { return Ok(None) };
        fs::remove_file(&link).map_err(|error| HarnessError::because(link.display(), error))?;
        self.cluster.kill_nodes(&[index]).await?;
        // In a thread: this very process serves the disk.
        let removed = tokio::task::spawn_blocking(move || fs::remove_dir_all(life)).await;
        removed
            .map_err(|error| error.to_string())
            .and_then(|removed| removed.map_err(|error| error.to_string()))
            .map_err(|error| HarnessError::because("emptying a directory", error))?;
        Ok(Some(Going::Wiped(node.id)))
    }

    /// The operator stands still meanwhile, or it would start nodes on disks without power.
    async fn power_cut(&self, pick: u64) -> Result<Going> {
        self.cluster.signal_operator(Signal::STOP).await;
        let disks = self.disks.clone();
        let blocking = |error| HarnessError::because("cutting the power", error);
        tokio::task::spawn_blocking(move || disks.cut_all(pick)).await.map_err(blocking)??;
        let all: Vec<u32> = self.cluster.processes().into_keys().collect();
        self.cluster.kill_nodes(&all).await?;
        let disks = self.disks.clone();
        tokio::task::spawn_blocking(move || disks.power_on()).await.map_err(blocking)??;
        self.cluster.signal_operator(Signal::CONT).await;
        Ok(Going::Over)
    }

    /// Sets wall clocks off by `by`, as libfaketime reads it.
    pub fn set_clocks(&self, indices: &[u32], by: &str) -> Result<()> {
        for index in indices {
            let path = shim::clock(&self.cluster.run, *index);
            // In one piece: it is read at any time.
            let next = path.with_extension("next");
            fs::write(&next, format!("{by}\n"))
                .and_then(|()| fs::rename(&next, &path))
                .map_err(|error| HarnessError::because(path.display(), error))?;
        }
        Ok(())
    }

    /// From 3 to 5 and back.
    fn scale(&self, kind: Kind) -> Result<Option<Going>> {
        let wanted = if kind == Kind::ScaleOut { 5 } else { 3 };
        if self.cluster.asked()? == wanted {
            return Ok(None);
        }
        self.cluster.local.edit_replicas(wanted)?;
        Ok(Some(Going::Over))
    }

    /// Of three nodes none can be spared.
    async fn drain(&self, nodes: &[Seen], pick: u64) -> Result<Option<Going>> {
        let members: Vec<u64> = nodes.iter().map(|node| node.id).filter(|id| *id != 0).collect();
        if members.len() < 4 {
            return Ok(None);
        }
        let id = members[pick as usize % members.len()];
        let asked = cli::run(&self.cluster.local.dir, &["node", "drain", &id.to_string()]).await?;
        Ok((asked.code == 0).then_some(Going::Draining(id)))
    }
}

/// Whom it is about: mostly the node that leads most.
fn first<'a>(nodes: &'a [Seen], fault: &Timed) -> Option<&'a Seen> {
    let leads_most = nodes.iter().max_by_key(|node| node.leaders);
    let leaders: BTreeMap<u32, u64> = nodes.iter().map(|node| (node.index, node.leaders)).collect();
    let any = nodes.get(fault.pick as usize % nodes.len().max(1));
    // A leader is to lose its followers, and is to be stopped with reads under way.
    let of_leaders = matches!(fault.kind, Kind::OneFromOne | Kind::Pause) || (fault.pick >> 32).is_multiple_of(2);
    if of_leaders && leaders.values().any(|leads| *leads > 0) { leads_most } else { any }
}

fn indices(nodes: &[Seen]) -> Vec<u32> {
    nodes.iter().map(|node| node.index).collect()
}
