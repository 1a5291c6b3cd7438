//! What a node is told at its start: flags, each also an environment variable, checked before anything is touched.
//! Of the rest of the node it knows only the bounds of free space.

use std::{
    net::{Ipv6Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use clap::{Parser, ValueEnum};
use granary_common::limits::FEATURE_LEVEL;
use granary_duties::{disk::SlowFrom, watchdog};
use granary_proto::map;
use thiserror::Error;

use crate::space::Marks;

const EXAMPLES: &str = "\
Examples:
  A node that talks on this machine only:
    granary-node --data /tmp/node-0 --name node-0 --kv-listen 127.0.0.1:7001 \\
      --peer-listen 127.0.0.1:7002 --metrics-listen 127.0.0.1:7003
  A node that listens everywhere and is reached by a name:
    granary-node --data /data --name granary-0 --kv-listen 0.0.0.0:7001 --kv-advertise granary-0.granary:7001 \\
      --peer-listen 0.0.0.0:7002 --peer-advertise granary-0.granary:7002 --seed granary-1.granary:7002

A new node is blank and waits until it founds a cluster or joins one, which its operator asks it to. After that, it is
a node of that cluster for as long as its disk lives.";

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Text in a terminal, JSON otherwise.
    #[default]
    Auto,
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The storage node of Granary.
#[derive(Clone, Debug, Parser)]
#[command(name = "granary-node", version, about, after_help = EXAMPLES)]
pub struct Options {
    /// Directory of the node's data; made if missing. One node only may use it.
    #[arg(long, env = "GRANARY_DATA", value_name = "DIR")]
    pub data: PathBuf,
    /// Name of the place where the node runs, such as node-0. A wiped disk comes back under it as another node.
    #[arg(long, env = "GRANARY_NAME")]
    pub name: String,

    /// Where the data API, health and reflection listen.
    #[arg(long, env = "GRANARY_KV_LISTEN", default_value = "127.0.0.1:7001", value_name = "IP:PORT")]
    pub kv_listen: SocketAddr,
    /// Where other nodes and the operator are heard.
    #[arg(long, env = "GRANARY_PEER_LISTEN", default_value = "127.0.0.1:7002", value_name = "IP:PORT")]
    pub peer_listen: SocketAddr,
    /// Where metrics and probes (/metrics, /livez, /readyz) are served over plain HTTP.
    #[arg(long, env = "GRANARY_METRICS_LISTEN", default_value = "127.0.0.1:7003", value_name = "IP:PORT")]
    pub metrics_listen: SocketAddr,
    /// Host or IP address under which others reach this node, with the ports of --kv-listen and --peer-listen: in a pod, its
    /// own address. Not used where --kv-advertise or --peer-advertise say more.
    #[arg(long, env = "GRANARY_ADVERTISE_HOST", default_value = "", hide_default_value = true, value_name = "HOST")]
    pub advertise_host: String,
    /// Where clients reach the data API [default: the address of --kv-listen].
    #[arg(long, env = "GRANARY_KV_ADVERTISE", value_name = "HOST:PORT")]
    pub kv_advertise: Option<String>,
    /// Where other nodes reach this one [default: the address of --peer-listen].
    #[arg(long, env = "GRANARY_PEER_ADVERTISE", value_name = "HOST:PORT")]
    pub peer_advertise: Option<String>,
    /// Peer address of another node, to find the cluster again when every known address has changed. Repeat it, or
    /// separate by commas. A name may stand for many nodes, as that of a headless Service does: all are asked, and the
    /// name is resolved anew each time.
    #[arg(long = "seed", env = "GRANARY_SEEDS", value_delimiter = ',', value_name = "HOST:PORT")]
    pub seeds: Vec<String>,

    /// Failure domain: the zone the node runs in.
    #[arg(long, env = "GRANARY_ZONE", default_value = "")]
    pub zone: String,
    /// Failure domain: the machine the node runs on.
    #[arg(long, env = "GRANARY_MACHINE", default_value = "")]
    pub machine: String,

    /// How long a start waits for another process that still uses --data, in seconds; 0: not at all. Where a process may
    /// outlive its pod, as after a deletion by force, give years: to wait is better than to start again and again.
    #[arg(long, env = "GRANARY_LOCK_WAIT_SECONDS", default_value_t = 0, value_name = "SECONDS")]
    pub lock_wait_seconds: u32,

    /// How log lines are written. What is logged is said by RUST_LOG [default: info,raft=warn].
    #[arg(long, env = "GRANARY_LOG_FORMAT", value_enum, default_value_t)]
    pub log_format: LogFormat,

    /// Memory for blocks read from disk, in MiB: 8 to 1,048,576.
    #[arg(long, env = "GRANARY_BLOCK_CACHE_MIB", default_value_t = 64, value_parser = clap::value_parser!(u32).range(8..=1_048_576), value_name = "MIB")]
    pub block_cache_mib: u32,
    /// Fill of the disk, in percent, from which on writes that need space are refused: 50 to 99.
    /// From 256 MiB of free space down they are refused in any case; on a disk below 640 MiB, from two fifths of it down.
    #[arg(long, env = "GRANARY_READ_ONLY_AT_PERCENT", default_value_t = 95, value_parser = clap::value_parser!(u8).range(50..=99), value_name = "PERCENT")]
    pub read_only_at_percent: u8,
    /// Fill of the disk, in percent, at which they are taken again; below --read-only-at-percent.
    #[arg(long, env = "GRANARY_WRITABLE_AT_PERCENT", default_value_t = 93, value_parser = clap::value_parser!(u8).range(1..=98), value_name = "PERCENT")]
    pub writable_at_percent: u8,
    /// Requests under way in the store, over all clients: 16 to 1,048,576. Beyond it they are refused as busy.
    #[arg(long, env = "GRANARY_MAX_REQUESTS", default_value_t = 16_384, value_parser = clap::value_parser!(u32).range(16..=1_048_576), value_name = "COUNT")]
    pub max_requests: u32,
    /// Bytes of writes under way in the store, over all clients, in MiB: 16 to 4,095. Beyond it they are refused as busy.
    #[arg(long, env = "GRANARY_MAX_REQUEST_MIB", default_value_t = 64, value_parser = clap::value_parser!(u32).range(16..=4_095), value_name = "MIB")]
    pub max_request_mib: u32,
    /// Most that snapshots for other nodes take of the network, in MiB per second: 1 to 1,048,576.
    #[arg(long, env = "GRANARY_SNAPSHOT_BANDWIDTH_MIB", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1_048_576), value_name = "MIB/S")]
    pub snapshot_bandwidth_mib: u32,

    /// Pause between two passes of scrub, which reads all that is on the disk and compares replicas at one index, in seconds:
    /// 1 to 31,536,000; 0: none are made.
    #[arg(long, env = "GRANARY_SCRUB_INTERVAL_SECONDS", default_value_t = 86_400, value_parser = clap::value_parser!(u32).range(0..=31_536_000), value_name = "SECONDS", help_heading = "Scrub")]
    pub scrub_interval_seconds: u32,
    /// Most that scrub reads, in MiB per second: 1 to 1,048,576.
    #[arg(long, env = "GRANARY_SCRUB_BANDWIDTH_MIB", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1_048_576), value_name = "MIB/S", help_heading = "Scrub")]
    pub scrub_bandwidth_mib: u32,

    /// Length of a tick, the unit of the next three, in ms: 1 to 1,000.
    #[arg(long, env = "GRANARY_TICK_MS", default_value_t = 25, value_parser = clap::value_parser!(u32).range(1..=1_000), value_name = "MS", help_heading = "Election timing (the same on all nodes)")]
    pub tick_ms: u32,
    /// Ticks between two heartbeats of a leader; less than half of --election-ticks.
    #[arg(long, env = "GRANARY_HEARTBEAT_TICKS", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=1_000), value_name = "TICKS", help_heading = "Election timing (the same on all nodes)")]
    pub heartbeat_ticks: u32,
    /// Ticks without a leader after which an election may start: 10 or more, for a lease lasts for 0.7 of them and a tick
    /// may come early; together at least 200 ms, for a disk may stall so long.
    #[arg(long, env = "GRANARY_ELECTION_TICKS", default_value_t = 12, value_parser = clap::value_parser!(u32).range(10..=10_000), value_name = "TICKS", help_heading = "Election timing (the same on all nodes)")]
    pub election_ticks: u32,
    /// Ticks after which it starts at the latest; the moment is random in between, so that candidates seldom collide.
    #[arg(long, env = "GRANARY_MAX_ELECTION_TICKS", default_value_t = 17, value_parser = clap::value_parser!(u32).range(4..=20_000), value_name = "TICKS", help_heading = "Election timing (the same on all nodes)")]
    pub max_election_ticks: u32,
    /// Time without requests, in ms, behind which a shard's group rests and its leader beats 20 times less often: 250 to
    /// 86,400,000, or 0: never. The first request wakes it.
    #[arg(long, env = "GRANARY_QUIESCE_MS", default_value_t = 500, value_parser = clap::value_parser!(u32).range(0..=86_400_000), value_name = "MS", help_heading = "Election timing (the same on all nodes)")]
    pub quiesce_ms: u32,

    /// How long a node that was asked to stop hands over its leaders and ends its requests, in seconds: 0 to 600.
    #[arg(long, env = "GRANARY_GRACEFUL_SECONDS", default_value_t = 20, value_parser = clap::value_parser!(u32).range(0..=600), value_name = "SECONDS")]
    pub graceful_seconds: u32,

    /// A write of the log that takes longer than this makes the disk slow: leaders move to other nodes. In ms: 600 to 60,000.
    #[arg(long, env = "GRANARY_DISK_SLOW_MS", default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(600..=60_000), value_name = "MS", help_heading = "Watchdog")]
    pub disk_slow_ms: u32,
    /// The same for their average over some seconds, in ms: 50 to 60,000. At half of it leaders may come back.
    #[arg(long, env = "GRANARY_DISK_SLOW_AVERAGE_MS", default_value_t = 500, value_parser = clap::value_parser!(u32).range(50..=60_000), value_name = "MS", help_heading = "Watchdog")]
    pub disk_slow_average_ms: u32,
    /// A write or sync that takes longer than this is a disk that hangs: the process ends. In seconds: 5 to 86,400.
    #[arg(long, env = "GRANARY_DISK_HANGS_SECONDS", default_value_t = 40, value_parser = clap::value_parser!(u32).range(5..=86_400), value_name = "SECONDS", help_heading = "Watchdog")]
    pub disk_hangs_seconds: u32,
    /// A queue or a group that does not go on for this long is reported, in seconds: 1 to 3,600.
    #[arg(long, env = "GRANARY_STANDS_SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=3_600), value_name = "SECONDS", help_heading = "Watchdog")]
    pub stands_seconds: u32,
    /// A thread that does not go on for this long ends the process, in seconds: 5 to 86,400.
    #[arg(long, env = "GRANARY_STUCK_SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u32).range(5..=86_400), value_name = "SECONDS", help_heading = "Watchdog")]
    pub stuck_seconds: u32,

    /// For tests: does as a build would that can do this feature level only.
    #[arg(long, env = "GRANARY_FEATURE_LEVEL", default_value_t = FEATURE_LEVEL, value_parser = clap::value_parser!(u32).range(0..=i64::from(FEATURE_LEVEL)), hide = true)]
    pub feature_level: u32,
}

/// Options that do not fit together. Each says which flag has which value, and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("--{flag} {value}: {problem}")]
pub struct OptionsError {
    /// Long name of the flag.
    pub flag: &'static str,
    /// What was given, or the default.
    pub value: String,
    /// What is wrong, and what to do.
    pub problem: String,
}

fn refused(flag: &'static str, value: impl ToString, problem: impl Into<String>) -> OptionsError {
    OptionsError { flag, value: value.to_string(), problem: problem.into() }
}

/// Shortest election timeout: stalls of single syncs of 170 ms were measured, and each would cost an election (HAZARDS H13).
const MIN_ELECTION: Duration = Duration::from_millis(200);
/// Shortest time behind which a group rests.
const MIN_QUIESCE_MS: u32 = 250;
/// Longest name, in bytes: that of a DNS label, which a name on Kubernetes is.
const MAX_NAME: usize = 63;

impl Options {
    /// Checks what one flag's range cannot say.
    ///
    /// # Errors
    /// The first flag that does not fit.
    pub fn validate(&self) -> Result<(), OptionsError> {
        if !(1..=MAX_NAME).contains(&self.name.len()) {
            return Err(refused(
                "name",
                &self.name,
                format!("has {} bytes; allowed are 1 to {MAX_NAME}", self.name.len()),
            ));
        }
        self.validate_addresses()?;
        self.validate_timing()?;
        if self.writable_at_percent >= self.read_only_at_percent {
            return Err(refused(
                "writable-at-percent",
                self.writable_at_percent,
                format!("must be below --read-only-at-percent, which is {}", self.read_only_at_percent),
            ));
        }
        self.validate_watchdog()
    }

    fn validate_watchdog(&self) -> Result<(), OptionsError> {
        if u64::from(self.disk_slow_ms) * 2 > u64::from(self.disk_hangs_seconds) * 1_000 {
            let problem = format!(
                "must be at most half of --disk-hangs-seconds, which is {}: leaders leave first",
                self.disk_hangs_seconds
            );
            return Err(refused("disk-slow-ms", self.disk_slow_ms, problem));
        }
        if self.stands_seconds >= self.stuck_seconds {
            let problem = format!("must be below --stuck-seconds, which is {}", self.stuck_seconds);
            return Err(refused("stands-seconds", self.stands_seconds, problem));
        }
        Ok(())
    }

    fn validate_addresses(&self) -> Result<(), OptionsError> {
        let advertised = [
            ("kv-advertise", "kv-listen", &self.kv_advertise, self.kv_listen),
            ("peer-advertise", "peer-listen", &self.peer_advertise, self.peer_listen),
        ];
        for (flag, listen_flag, advertised, listen) in advertised {
            match advertised {
                Some(address) => host_and_port(flag, address)?,
                None if !self.advertise_host.is_empty() => {
                    host_and_port("advertise-host", &join_host(&self.advertise_host, listen.port()))?;
                }
                None if listen.ip().is_unspecified() => {
                    let problem = format!(
                        "nobody can connect to this address; say with --advertise-host or --{flag} where the node is reached"
                    );
                    return Err(refused(listen_flag, listen, problem));
                }
                None => {}
            }
        }
        self.seeds.iter().try_for_each(|seed| host_and_port("seed", seed))
    }

    fn validate_timing(&self) -> Result<(), OptionsError> {
        // As u64: the sums and products of two u32.
        let ticks = |count: u32| u64::from(count);
        if ticks(self.heartbeat_ticks) * 2 >= ticks(self.election_ticks) {
            let problem = format!("must be less than half of --election-ticks, which is {}", self.election_ticks);
            return Err(refused("heartbeat-ticks", self.heartbeat_ticks, problem));
        }
        if self.election_timeout() < MIN_ELECTION {
            let problem = format!(
                "is {} ms with --tick-ms {}; allowed are {} ms and more",
                self.election_timeout().as_millis(),
                self.tick_ms,
                MIN_ELECTION.as_millis()
            );
            return Err(refused("election-ticks", self.election_ticks, problem));
        }
        if self.max_election_ticks <= self.election_ticks {
            let problem = format!("must be more than --election-ticks, which is {}", self.election_ticks);
            return Err(refused("max-election-ticks", self.max_election_ticks, problem));
        }
        // Uses of a lease are noticed eight times a second.
        if (1..MIN_QUIESCE_MS).contains(&self.quiesce_ms) {
            return Err(refused(
                "quiesce-ms",
                self.quiesce_ms,
                format!("allowed are 0, and {MIN_QUIESCE_MS} and more"),
            ));
        }
        Ok(())
    }

    /// Ticks in one tick of a group at rest: 20, or fewer where its leader would beat less than once a second, since others count
    /// on hearing of each node now and then.
    pub fn quiesced_pace(&self) -> u32 {
        (1_000 / self.tick_ms.saturating_mul(self.heartbeat_ticks).max(1)).clamp(1, 20)
    }

    /// Where others reach this node.
    pub fn addresses(&self) -> map::Addresses {
        let or_listen = |advertised: &Option<String>, listen: SocketAddr| match advertised {
            Some(address) => address.clone(),
            None if self.advertise_host.is_empty() => listen.to_string(),
            None => join_host(&self.advertise_host, listen.port()),
        };
        map::Addresses {
            kv: or_listen(&self.kv_advertise, self.kv_listen),
            peer: or_listen(&self.peer_advertise, self.peer_listen),
        }
    }

    /// The failure domains.
    pub fn domains(&self) -> map::Domains {
        map::Domains { zone: self.zone.clone(), machine: self.machine.clone() }
    }

    /// How long a start waits for another process to leave the data directory.
    pub fn lock_wait(&self) -> Duration {
        Duration::from_secs(self.lock_wait_seconds.into())
    }

    /// Bounds of free space, on a disk of `total` bytes.
    pub fn space_marks(&self, total: u64) -> Marks {
        Marks::of(total, self.read_only_at_percent, self.writable_at_percent)
    }

    /// When the watchdog does something.
    pub fn watchdog(&self) -> watchdog::Limits {
        let seconds = |seconds: u32| Duration::from_secs(seconds.into());
        watchdog::Limits {
            disk: SlowFrom {
                single: Duration::from_millis(self.disk_slow_ms.into()),
                average: Duration::from_millis(self.disk_slow_average_ms.into()),
            },
            disk_hangs: seconds(self.disk_hangs_seconds),
            stands: seconds(self.stands_seconds),
            stuck: seconds(self.stuck_seconds),
        }
    }

    /// Pause between two passes of scrub; `None`: there are none.
    pub fn scrub_interval(&self) -> Option<Duration> {
        (self.scrub_interval_seconds > 0).then(|| Duration::from_secs(self.scrub_interval_seconds.into()))
    }

    /// Length of a tick.
    pub fn tick(&self) -> Duration {
        Duration::from_millis(self.tick_ms.into())
    }

    /// Shortest time without a leader after which an election may start.
    pub fn election_timeout(&self) -> Duration {
        self.tick() * self.election_ticks
    }

    /// Longest time that a graceful stop takes.
    pub fn graceful(&self) -> Duration {
        Duration::from_secs(self.graceful_seconds.into())
    }
}

/// host:port; an IPv6 address gets its brackets.
fn join_host(host: &str, port: u16) -> String {
    match host.parse::<Ipv6Addr>() {
        Ok(address) => SocketAddr::from((address, port)).to_string(),
        Err(_) => format!("{host}:{port}"),
    }
}

/// host:port with a port from 1 to 65,535; the host is resolved when it is used.
fn host_and_port(flag: &'static str, address: &str) -> Result<(), OptionsError> {
    let port = address.rsplit_once(':').filter(|(host, _)| !host.is_empty()).and_then(|(_, port)| port.parse().ok());
    match port {
        Some(1..=u16::MAX) => Ok(()),
        _ => Err(refused(flag, address, "is not HOST:PORT, such as node-1.example:7002")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(more: &[&str]) -> Options {
        Options::parse_from(["granary-node", "--data", "d", "--name", "node-0"].iter().chain(more))
    }

    fn refused_flag(more: &[&str]) -> Option<&'static str> {
        options(more).validate().err().map(|error| error.flag)
    }

    #[test]
    fn the_flags_themselves_are_consistent() {
        use clap::CommandFactory as _;
        Options::command().debug_assert();
    }

    #[test]
    fn the_defaults_are_valid() {
        assert_eq!(refused_flag(&[]), None);
    }

    #[test]
    fn heartbeats_must_come_more_than_twice_in_an_election_timeout() {
        assert_eq!(refused_flag(&["--heartbeat-ticks", "5"]), None);
        assert_eq!(refused_flag(&["--heartbeat-ticks", "6"]), Some("heartbeat-ticks"));
    }

    #[test]
    fn an_election_timeout_that_a_slow_sync_can_reach_is_refused() {
        assert_eq!(refused_flag(&["--tick-ms", "17"]), None);
        let error = options(&["--tick-ms", "16"]).validate().unwrap_err();
        assert_eq!(error.flag, "election-ticks");
        assert!(error.to_string().contains("192 ms"), "{error}");
    }

    #[test]
    fn the_latest_election_must_be_behind_the_earliest() {
        assert_eq!(refused_flag(&["--max-election-ticks", "12"]), Some("max-election-ticks"));
        assert_eq!(refused_flag(&["--quiesce-ms", "249"]), Some("quiesce-ms"));
        assert_eq!(refused_flag(&["--quiesce-ms", "250"]), None);
        assert_eq!(refused_flag(&["--quiesce-ms", "0"]), None);
        assert_eq!(options(&[]).quiesced_pace(), 20, "a beat a second");
        assert_eq!(options(&["--tick-ms", "100"]).quiesced_pace(), 5);
        assert_eq!(options(&["--tick-ms", "1000"]).quiesced_pace(), 1);
    }

    #[test]
    fn an_address_nobody_can_connect_to_is_not_advertised() {
        assert_eq!(refused_flag(&["--kv-listen", "0.0.0.0:7001"]), Some("kv-listen"));
        let advertised = ["--kv-listen", "0.0.0.0:7001", "--kv-advertise", "node-0.nodes:7001"];
        assert_eq!(refused_flag(&advertised), None);
        assert_eq!(options(&advertised).addresses().kv, "node-0.nodes:7001");
        assert_eq!(options(&[]).addresses().peer, "127.0.0.1:7002");
    }

    #[test]
    fn an_advertised_host_gets_the_ports_that_are_listened_on() {
        let everywhere = ["--kv-listen", "0.0.0.0:7001", "--peer-listen", "0.0.0.0:7002"];
        let advertised = |host: &str, more: &[&str]| {
            let options = options(&[&everywhere[..], &["--advertise-host", host], more].concat());
            options.validate().map(|()| options.addresses())
        };
        let of = |kv: &str, peer: &str| Ok(map::Addresses { kv: kv.into(), peer: peer.into() });
        assert_eq!(advertised("10.0.0.7", &[]), of("10.0.0.7:7001", "10.0.0.7:7002"));
        assert_eq!(advertised("fd00::7", &[]), of("[fd00::7]:7001", "[fd00::7]:7002"));
        assert_eq!(advertised("node", &["--kv-advertise", "outside:1"]), of("outside:1", "node:7002"));
        assert_eq!(advertised("", &[]).unwrap_err().flag, "kv-listen", "an empty variable is none");
    }

    #[test]
    fn leaders_leave_a_slow_disk_before_it_counts_as_one_that_hangs() {
        assert_eq!(refused_flag(&["--disk-slow-ms", "3000", "--disk-hangs-seconds", "6"]), None);
        assert_eq!(refused_flag(&["--disk-slow-ms", "3001", "--disk-hangs-seconds", "6"]), Some("disk-slow-ms"));
        assert_eq!(refused_flag(&["--stands-seconds", "60"]), Some("stands-seconds"));
    }

    #[test]
    fn seeds_may_be_repeated_or_separated_and_need_a_port() {
        assert_eq!(options(&["--seed", "a:1", "--seed", "b:2,[::1]:3"]).seeds, ["a:1", "b:2", "[::1]:3"]);
        for seed in ["a", "a:", "a:0", ":1", "a:65536"] {
            assert_eq!(refused_flag(&["--seed", seed]), Some("seed"), "{seed}");
        }
    }

    #[test]
    fn the_disk_must_get_emptier_before_writes_are_taken_again() {
        assert_eq!(refused_flag(&["--writable-at-percent", "95"]), Some("writable-at-percent"));
    }
}
