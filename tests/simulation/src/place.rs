//! A place: a machine with clocks, a disk, and at most one process.

use crate::{
    disk::Disk,
    node::Process,
    rng::Rng,
    world::{Happening, MS, Shape},
};

/// Unix time at the begin of each run, in ms.
pub const EPOCH_MS: u64 = 1_800_000_000_000;

/// The clocks of one machine. Those of two never agree.
#[derive(Clone, Debug)]
pub struct Clock {
    boot_offset_ns: i64,
    /// How much faster its clocks go, in millionths; may be below 0.
    drift_ppm: i64,
    wall_offset_ms: i64,
}

impl Clock {
    /// Since the machine was started.
    pub fn boot_ns(&self, now: u64) -> u64 {
        let drift = i128::from(now) * i128::from(self.drift_ppm) / 1_000_000;
        (i128::from(self.boot_offset_ns) + i128::from(now) + drift).max(1) as u64
    }

    /// Unix time in ms.
    pub fn unix_ms(&self, now: u64) -> u64 {
        (EPOCH_MS + now / MS).saturating_add_signed(self.wall_offset_ms)
    }

    /// When, in the world's time, its boot clock shows `boot_ns`.
    pub fn when(&self, boot_ns: u64) -> u64 {
        let since = i128::from(boot_ns) - i128::from(self.boot_offset_ns);
        (since * 1_000_000 / (1_000_000 + i128::from(self.drift_ppm))).max(0) as u64
    }

    /// The machine starts anew: its boot clock too.
    pub fn reboot(&mut self, now: u64, rng: &mut Rng) {
        let drift = (i128::from(now) * i128::from(self.drift_ppm) / 1_000_000) as i64;
        self.boot_offset_ns = (rng.between(1, 10_000) * MS) as i64 - now as i64 - drift;
    }

    /// Somebody sets the wall clock.
    pub fn set_wall(&mut self, offset_ms: i64) {
        self.wall_offset_ms = offset_ms;
    }
}

/// How fast its devices are, in ns on average.
#[derive(Clone, Copy, Debug)]
pub struct Speeds {
    /// A write of the log with its sync.
    pub log: u64,
    /// A write of applied entries.
    pub apply: u64,
    /// An install of a snapshot.
    pub install: u64,
    /// A flush of `data/`.
    pub flush: u64,
}

/// See the module.
pub struct Place {
    /// Its number, for ever.
    pub index: usize,
    /// Whether the substrate has made it, and has not given it up.
    pub exists: bool,
    /// It was given up.
    pub retired: bool,
    /// What survives.
    pub disk: Disk,
    /// What runs.
    pub process: Option<Process>,
    /// Processes so far.
    pub epoch: u64,
    /// Its clocks.
    pub clock: Clock,
    /// Its devices.
    pub speeds: Speeds,
    /// The process is stopped (SIGSTOP) until then.
    pub paused_until: u64,
    /// The log's device does nothing until then.
    pub stalled_until: u64,
    /// The next sync of the log fails.
    pub sync_fails: bool,
    /// The next install ends the process at this step.
    pub cut_install_at: Option<u8>,
    /// What waits for the end of a pause.
    pub held: Vec<(u64, Happening)>,
    /// Why it is to be started anew.
    pub restart: Option<String>,
    /// Vote requests of transfers that came: (shard, candidate, term).
    pub forced_votes: std::collections::BTreeSet<(u32, u64, u64)>,
    /// Bounds of its store, from almost none to roomy.
    pub store: granary_store::Config,
}

impl Place {
    /// A place that is not made yet.
    pub fn new(index: usize, shape: &Shape, rng: &mut Rng) -> Self {
        let uuid = uuid(rng);
        let clock = Clock {
            boot_offset_ns: (rng.between(1, 1_000_000) * MS) as i64,
            drift_ppm: rng.between(0, 2_001) as i64 - 1_000,
            wall_offset_ms: rng.between(0, 2_001) as i64 - 1_000,
        };
        let speeds = Speeds {
            log: *rng.pick(&[MS / 2, MS, 4 * MS]),
            apply: *rng.pick(&[MS / 4, MS, 3 * MS]),
            install: *rng.pick(&[2 * MS, 100 * MS]),
            flush: *rng.pick(&[5 * MS, 60 * MS]),
        };
        let mut store = granary_store::Config::new(granary_common::NodeId(0), 0);
        if rng.hits(500_000) {
            store.memory_entries = *rng.pick(&[1, 8, 64]);
            store.memory_bytes = *rng.pick(&[1, 1_000, 1 << 20]);
            store.max_append_bytes = *rng.pick(&[1, 300, 1 << 20]);
            store.max_inflight_appends = *rng.pick(&[1, 4, 256]);
            store.max_apply_bytes = *rng.pick(&[1, 300, 1 << 20]);
            store.max_uncommitted_bytes = *rng.pick(&[2_000, 1 << 20]);
            store.retention = crate::disk::retention(rng);
        }
        Self {
            index,
            exists: false,
            retired: false,
            disk: Disk::new(uuid, shape.shards),
            process: None,
            epoch: 0,
            clock,
            speeds,
            paused_until: 0,
            stalled_until: 0,
            sync_fails: false,
            cut_install_at: None,
            held: Vec::new(),
            restart: None,
            forced_votes: Default::default(),
            store,
        }
    }

    /// Another, empty disk takes the place of this one.
    pub fn wipe(&mut self, shards: u32, rng: &mut Rng) {
        self.disk = Disk::new(uuid(rng), shards);
    }
}

/// A random uuid, as text.
pub fn uuid(rng: &mut Rng) -> String {
    let (high, low) = (rng.draw(), rng.draw());
    format!(
        "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
        high >> 32,
        (high >> 16) & 0xffff,
        high & 0xfff,
        low >> 52,
        low & 0xffff_ffff_ffff
    )
}
