//! What a store is told once.

use granary_common::NodeId;

use crate::standstill::StandstillTicks;

/// Settings of a store. All times are in ns of CLOCK_BOOTTIME unless they are counted in ticks.
#[derive(Clone, Debug)]
pub struct Config {
    /// The node that this store belongs to.
    pub node: NodeId,
    /// Length of a tick.
    pub tick_ns: u64,
    /// Ticks between two heartbeats of a leader.
    pub heartbeat_ticks: usize,
    /// Base election timeout: followers refuse votes for that long after they heard their leader.
    pub election_ticks: usize,
    /// Elections start after a random number of ticks from `election_ticks` to below this.
    pub max_election_ticks: usize,
    /// Longest append message, in bytes of entries (at least one entry is sent).
    pub max_append_bytes: u64,
    /// Append messages in flight to one follower of one group.
    pub max_inflight_appends: usize,
    /// Bytes proposed and not yet committed, a group; beyond it proposals are refused.
    pub max_uncommitted_bytes: u64,
    /// Bytes of committed entries handed to the applier at once, a group.
    pub max_apply_bytes: u64,
    /// Entries kept in memory below the applied index, a group.
    pub memory_entries: usize,
    /// Bytes of the same.
    pub memory_bytes: usize,
    /// How much log is kept on disk for slow followers.
    pub retention: Retention,
    /// Ticks without anything to do behind which a group quiesces; 0: never. See [`Config::quiesced_pace`].
    pub quiesce_after: u64,
    /// Ticks of the store in one tick of a group that has quiesced, so that its leader beats so many times less often.
    pub quiesced_pace: u64,
    /// When a group that stands still is reported, and when its leader gives up.
    pub standstill: StandstillTicks,
    /// Seed of the election timeouts.
    pub seed: u64,
}

/// Log kept below the durable applied index, a group. A follower that needs more gets a snapshot.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// Entries kept in any case.
    pub entries: u64,
    /// Bytes kept in any case; the smaller of the two counts.
    pub bytes: u64,
    /// Entries kept while an active follower or a snapshot on its way still needs them.
    pub entries_for_followers: u64,
    /// Bytes of the same.
    pub bytes_for_followers: u64,
}

impl Retention {
    /// The same for a disk of `total` bytes: less on a small one, so that the logs of many groups leave it room for data.
    pub fn for_disk(self, total: u64) -> Self {
        Self {
            bytes: self.bytes.min(total / 512),
            bytes_for_followers: self.bytes_for_followers.min(total / 128),
            ..self
        }
    }
}

impl Config {
    /// Ticks of 25 ms, heartbeats every 50 ms, elections after 300 to 425 ms; a group without anything to do for half a second
    /// beats once a second from then on; a word about a group that stands still after 10 s, another leader after 60 s.
    pub fn new(node: NodeId, seed: u64) -> Self {
        Self {
            node,
            tick_ns: 25_000_000,
            heartbeat_ticks: 2,
            election_ticks: 12,
            max_election_ticks: 17,
            max_append_bytes: 1 << 20,
            max_inflight_appends: 256,
            max_uncommitted_bytes: 64 << 20,
            max_apply_bytes: 1 << 20,
            memory_entries: 1024,
            memory_bytes: 512 << 10,
            retention: Retention {
                entries: 2_000,
                bytes: 8 << 20,
                entries_for_followers: 100_000,
                bytes_for_followers: 64 << 20,
            },
            quiesce_after: 20,
            quiesced_pace: 20,
            standstill: StandstillTicks { report: 400, give_up: 2_400 },
            seed,
        }
    }

    /// Base election timeout in ns.
    pub fn election_timeout_ns(&self) -> u64 {
        self.tick_ns * self.election_ticks as u64
    }

    /// Time from the send of a message that a quorum answered for which the leader may serve reads: 0.7 of the time for
    /// which those followers refuse other candidates (HAZARDS H16).
    pub fn lease_ns(&self) -> u64 {
        self.election_timeout_ns() / 10 * 7
    }
}
