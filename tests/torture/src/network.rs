//! Partitions between processes on one loopback device, by iptables in a network namespace of our own.
//!
//! Each node runs under a group id of its own, by which the first packet of a connection tells who made it; the kernel
//! remembers that as the connection's mark, and with the direction a packet's sender and receiver are known. Nodes need
//! not know of it, and connections that are open when a cut begins are cut too: TCP sends again, backs off, gives up.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    process::Stdio,
    sync::Arc,
};

use granary_tests::{HarnessError, Result};
use tokio::{io::AsyncWriteExt as _, process::Command, sync::Mutex};

use crate::cuts::Cuts;

/// Group id of node 0's process; the next has the next. Also the mark of its connections.
const FIRST_GROUP: u32 = 47_000;

/// Group id under which a node runs.
pub fn group(index: u32) -> u32 {
    FIRST_GROUP + index
}

/// Where a node listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// Data API.
    pub kv: u16,
    /// Other nodes and the operator.
    pub peer: u16,
}

/// Ports of nodes by index.
pub type Where = BTreeMap<u32, Ports>;

/// What is cut for one reason.
#[derive(Clone, Debug)]
pub enum Cut {
    /// Between nodes.
    Nodes(Cuts),
    /// What these nodes answer to clients.
    Answers(BTreeSet<u32>),
}

/// The rules in force.
#[derive(Clone, Default)]
pub struct Network {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    next: u64,
    cuts: BTreeMap<u64, (Cut, Where)>,
    dropped: u64,
}

impl Network {
    /// Brings the loopback device up and lets the kernel mark connections. For `nodes` indices.
    pub async fn prepare(nodes: u32) -> Result<Self> {
        run("ip", &["link", "set", "lo", "up"], None).await?;
        let mut rules = "*mangle\n:OUTPUT ACCEPT [0:0]\n".to_owned();
        for index in 0..nodes {
            let group = group(index);
            let _ =
                writeln!(rules, "-A OUTPUT -p tcp --syn -m owner --gid-owner {group} -j CONNMARK --set-mark {group}");
        }
        rules.push_str("COMMIT\n");
        run("iptables-restore", &[], Some(rules)).await?;
        let network = Self::default();
        network.state.lock().await.restore().await?;
        Ok(network)
    }

    /// Begins a cut; nodes that start later at other ports are not in it.
    pub async fn cut(&self, cut: Cut, at: Where) -> Result<u64> {
        let mut state = self.state.lock().await;
        state.next += 1;
        let id = state.next;
        state.cuts.insert(id, (cut, at));
        state.apply().await?;
        Ok(id)
    }

    /// Ends one. One that has ended is fine.
    pub async fn mend(&self, id: u64) -> Result<()> {
        let mut state = self.state.lock().await;
        if state.cuts.remove(&id).is_some() {
            state.apply().await?;
        }
        Ok(())
    }

    /// Ends all.
    pub async fn mend_all(&self) -> Result<()> {
        let mut state = self.state.lock().await;
        state.cuts.clear();
        state.apply().await
    }

    /// Packets that were dropped so far.
    pub async fn dropped(&self) -> Result<u64> {
        let mut state = self.state.lock().await;
        state.count().await?;
        Ok(state.dropped)
    }
}

impl State {
    /// The counters go with the rules: they are read and set to 0 just before.
    async fn apply(&mut self) -> Result<()> {
        self.count().await?;
        self.restore().await
    }

    async fn restore(&self) -> Result<()> {
        run("iptables-restore", &["--table", "filter"], Some(rules(self.cuts.values()))).await.map(|_| ())
    }

    async fn count(&mut self) -> Result<()> {
        let listed = run("iptables", &["-nvxL", "INPUT", "-Z"], None).await?;
        let packets = |line: &str| {
            let mut words = line.split_whitespace();
            let packets: u64 = words.next()?.parse().ok()?;
            (words.nth(1)? == "DROP").then_some(packets)
        };
        self.dropped += listed.lines().filter_map(packets).sum::<u64>();
        Ok(())
    }
}

/// The table, for iptables-restore.
fn rules<'a>(cuts: impl Iterator<Item = &'a (Cut, Where)>) -> String {
    let mut text = "*filter\n:INPUT ACCEPT [0:0]\n".to_owned();
    for (cut, at) in cuts {
        match cut {
            Cut::Nodes(cuts) => {
                for (from, to) in cuts {
                    let ports = |index| at.get(index).into_iter().flat_map(|ports: &Ports| [ports.kv, ports.peer]);
                    // By connections that the sender made, and by those that the receiver made.
                    ports(to).for_each(|port| rule(&mut text, "dport", port, group(*from), "ORIGINAL"));
                    ports(from).for_each(|port| rule(&mut text, "sport", port, group(*to), "REPLY"));
                }
            }
            Cut::Answers(nodes) => {
                let ports = nodes.iter().filter_map(|index| at.get(index));
                // Clients have no mark.
                ports.for_each(|ports| rule(&mut text, "sport", ports.kv, 0, "REPLY"));
            }
        }
    }
    text.push_str("COMMIT\n");
    text
}

fn rule(text: &mut String, side: &str, port: u16, mark: u32, direction: &str) {
    let _ = writeln!(
        text,
        "-A INPUT -p tcp --{side} {port} -m connmark --mark {mark} -m conntrack --ctdir {direction} -j DROP"
    );
}

async fn run(program: &str, args: &[&str], input: Option<String>) -> Result<String> {
    let failed = |error| HarnessError::because(format!("running {program}"), error);
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(failed)?;
    if let (Some(mut stdin), Some(input)) = (child.stdin.take(), input) {
        stdin.write_all(input.as_bytes()).await.map_err(failed)?;
    }
    let done = child.wait_with_output().await.map_err(failed)?;
    if done.status.success() {
        Ok(String::from_utf8_lossy(&done.stdout).into_owned())
    } else {
        Err(HarnessError::because(program, String::from_utf8_lossy(&done.stderr).trim()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at() -> Where {
        [(0, Ports { kv: 10, peer: 11 }), (1, Ports { kv: 20, peer: 21 })].into()
    }

    #[test]
    fn a_one_way_cut_drops_one_direction_of_connections_from_both_sides() {
        let text = rules([&(Cut::Nodes(Cuts::from([(0, 1)])), at())].into_iter());
        let lines: Vec<_> = text.lines().filter(|line| line.starts_with("-A")).collect();
        assert_eq!(lines.len(), 4);
        assert!(lines[1].contains("--dport 21 -m connmark --mark 47000 -m conntrack --ctdir ORIGINAL"), "{text}");
        assert!(lines[3].contains("--sport 11 -m connmark --mark 47001 -m conntrack --ctdir REPLY"), "{text}");
    }

    #[test]
    fn lost_answers_are_those_to_clients() {
        let text = rules([&(Cut::Answers([1].into()), at())].into_iter());
        assert!(text.contains("--sport 20 -m connmark --mark 0 -m conntrack --ctdir REPLY -j DROP"), "{text}");
        assert_eq!(text.matches("-A ").count(), 1);
    }
}
