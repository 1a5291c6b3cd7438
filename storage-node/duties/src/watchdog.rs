//! What a node does about itself when something in it stands still: reports it, sends its leaders away, or ends, where that
//! is safer than to go on. Pure: looks come in, a verdict goes out.
//!
//! | part | is | reported after | ends the process after |
//! | --- | --- | --- | --- |
//! | `log` | a sync of `raft/`, for all shards | `disk_slow` | `disk_hangs` |
//! | `flush` | a sync of `data/` | `stands` | `disk_hangs` |
//! | `log_queue` | what waits for the log writer | `stands` | `stuck` |
//! | `apply` | the applier, for all shards | `stands` | `stuck`; while it does what takes long: `stuck`, ten times `stuck` |
//! | `store` | the loop that steps all groups | `stands` | `stuck` |
//! | `runtime` | what serves requests and peers | `stands` | `stuck` |
//! | `intake` | requests and entries that wait for the store | `stands` | never: one of the others is why |
//! | `worker` | reads of old entries, making of snapshots | ten times `stuck` | never: only slow followers wait for it |
//! | `peer` | messages to another node | `stands` | never: the other one does not read |
//!
//! A thread that is gone ends the process at once. Ended is safer: a thread that hangs may hold locks and half of a write,
//! and nobody else can tell its node from one that works. The next start goes on from what is durable. Sources:
//! CockroachDB ends at a stall of its disk (storage.max_sync_duration; 40 s where its log may fail over), TiKV moves
//! leaders off a slow store (evict-slow-store-scheduler). HAZARDS H19, H24.

use std::time::Duration;

use crate::{
    disk::{DiskWatch, SlowFrom, Syncs},
    standing::{LONGEST_LOOK, Standing, Work},
};

/// How often the node looks at itself.
pub const LOOK: Duration = Duration::from_millis(100);
/// How much longer the applier may take for what takes long: installing a snapshot, emptying a shard, or waiting for
/// RocksDB, which stops writes until it has merged enough.
const LONG: u32 = 10;

/// A disk that is slow for less is no matter for a person: leaders have left, and it may end by itself.
const SLOW_FOR_LONG: Duration = Duration::from_secs(60);

/// What can stand still.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// A sync of `raft/`.
    Log,
    /// A sync of `data/`.
    Flush,
    /// What waits for the log writer.
    LogQueue,
    /// The applier.
    Apply,
    /// The store's loop.
    Store,
    /// What serves requests and peers.
    Runtime,
    /// What waits for the store.
    Intake,
    /// Slow reads.
    Worker,
    /// Messages to other nodes.
    Peer,
}

impl Part {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Log,
        Self::Flush,
        Self::LogQueue,
        Self::Apply,
        Self::Store,
        Self::Runtime,
        Self::Intake,
        Self::Worker,
        Self::Peer,
    ];

    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Flush => "flush",
            Self::LogQueue => "log_queue",
            Self::Apply => "apply",
            Self::Store => "store",
            Self::Runtime => "runtime",
            Self::Intake => "intake",
            Self::Worker => "worker",
            Self::Peer => "peer",
        }
    }

    /// What it is, for people.
    pub fn what(self) -> &'static str {
        match self {
            Self::Log => "a sync of the log (raft/)",
            Self::Flush => "a sync of the applied state (data/)",
            Self::LogQueue => "the queue of the log writer",
            Self::Apply => "the applier",
            Self::Store => "the store's loop",
            Self::Runtime => "the threads that serve requests and peers",
            Self::Intake => "what waits for the store",
            Self::Worker => "the reader of old entries and maker of snapshots",
            Self::Peer => "messages to another node",
        }
    }

    /// Whether it waits for the disk and nothing else.
    pub fn is_disk(self) -> bool {
        matches!(self, Self::Log | Self::Flush)
    }

    fn reported_after(self, limits: &Limits, long: bool) -> Duration {
        match self {
            Self::Log => limits.disk.single,
            Self::Apply if long => limits.stuck,
            // A snapshot may take minutes to be made.
            Self::Worker => limits.stuck * LONG,
            _ => limits.stands,
        }
    }

    fn ends_after(self, limits: &Limits, long: bool) -> Option<Duration> {
        match self {
            Self::Log | Self::Flush => Some(limits.disk_hangs),
            Self::Apply if long => Some(limits.stuck * LONG),
            Self::LogQueue | Self::Apply | Self::Store | Self::Runtime => Some(limits.stuck),
            Self::Intake | Self::Worker | Self::Peer => None,
        }
    }
}

/// From when on something is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The disk is slow: leaders leave.
    pub disk: SlowFrom,
    /// The disk hangs: the process ends.
    pub disk_hangs: Duration,
    /// Anything else stands: reported.
    pub stands: Duration,
    /// A thread is stuck: the process ends.
    pub stuck: Duration,
}

/// What is seen of the node at one look.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    /// By place in [`Part::ALL`]; that of [`Part::Peer`] does not count.
    pub work: [Work; Part::ALL.len()],
    /// How long messages have waited for the peer that has not taken any for longest.
    pub peer_stood: Duration,
    /// Average of the log's syncs.
    pub sync_average: Duration,
    /// The applier does what takes long.
    pub long: bool,
    /// A thread that must never end has ended.
    pub thread_gone: Option<&'static str>,
}

/// Why the process shall end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// A part has stood for so long.
    Stands(Part, Duration),
    /// A thread of this name is gone.
    ThreadGone(&'static str),
}

/// What is wrong for long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The disk has been slow for a minute.
    SlowDisk,
    /// This part stands, and not for its first seconds.
    Stands(Part),
}

/// What follows from a look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// How long each part has stood, by place in [`Part::ALL`].
    pub stood: [Duration; Part::ALL.len()],
    /// Parts that are to be reported.
    pub stalled: Vec<Part>,
    /// The disk is too slow to lead on.
    pub slow_disk: bool,
    /// What a person should hear of: what does not end by itself soon.
    pub trouble: Vec<Trouble>,
    /// Leaders shall leave: the disk is slow, or nothing is applied here.
    pub away: bool,
    /// The process shall end.
    pub end: Option<End>,
}

/// Remembers the looks before.
#[derive(Debug, Default)]
pub struct Watchdog {
    parts: [Standing; Part::ALL.len()],
    disk: DiskWatch,
    slow_for: Duration,
}

impl Watchdog {
    /// Takes a look, `passed` after the one before.
    pub fn look(&mut self, limits: &Limits, seen: &Seen, passed: Duration) -> Verdict {
        let mut verdict = Verdict::default();
        for (place, part) in Part::ALL.into_iter().enumerate() {
            let stood = match part {
                Part::Peer => seen.peer_stood,
                _ => self.parts[place].look(seen.work[place], passed),
            };
            verdict.stood[place] = stood;
            if stood >= part.reported_after(limits, seen.long) {
                verdict.stalled.push(part);
            }
            if verdict.end.is_none() && part.ends_after(limits, seen.long).is_some_and(|limit| stood >= limit) {
                verdict.end = Some(End::Stands(part, stood));
            }
        }
        let log = Part::Log as usize;
        let syncs = Syncs { under_way: verdict.stood[log], average: seen.sync_average, done: seen.work[log].done };
        verdict.slow_disk = self.disk.look(&limits.disk, syncs, passed);
        self.slow_for = if verdict.slow_disk { self.slow_for + passed.min(LONGEST_LOOK) } else { Duration::ZERO };
        verdict.trouble = self.trouble(limits, &verdict);
        verdict.away = verdict.slow_disk || (verdict.stalled.contains(&Part::Apply) && !seen.long);
        if let Some(name) = seen.thread_gone {
            verdict.end = Some(End::ThreadGone(name));
        }
        verdict
    }

    fn trouble(&self, limits: &Limits, verdict: &Verdict) -> Vec<Trouble> {
        let slow = (self.slow_for >= SLOW_FOR_LONG).then_some(Trouble::SlowDisk);
        // Messages that wait are another node's fault.
        let told = |part: &Part| *part != Part::Peer && verdict.stood[*part as usize] >= limits.stands;
        let stands = verdict.stalled.iter().copied().filter(told).map(Trouble::Stands);
        slow.into_iter().chain(stands).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const LIMITS: Limits = Limits {
        disk: SlowFrom { single: Duration::from_secs(2), average: Duration::from_millis(500) },
        disk_hangs: Duration::from_secs(40),
        stands: Duration::from_secs(10),
        stuck: Duration::from_secs(60),
    };

    fn busy(part: Part) -> Seen {
        let mut seen = Seen::default();
        seen.work[part as usize].busy = true;
        seen
    }

    /// Seconds after which a part that never goes on is reported, leaders leave, and the process ends.
    fn of(seen: &Seen) -> [Option<u64>; 3] {
        let mut watchdog = Watchdog::default();
        let mut first = [None; 3];
        for second in 1..=1000 {
            let verdict = watchdog.look(&LIMITS, seen, SECOND);
            let now = [!verdict.stalled.is_empty(), verdict.away, verdict.end.is_some()];
            for (first, _) in first.iter_mut().zip(now).filter(|(first, now)| first.is_none() && *now) {
                *first = Some(second);
            }
        }
        first
    }

    #[test]
    fn the_places_are_those_of_the_list() {
        for (place, part) in Part::ALL.into_iter().enumerate() {
            assert_eq!(part as usize, place);
        }
    }

    #[test]
    fn each_part_is_reported_and_ends_the_process_when_the_table_says() {
        let of = |part| of(&busy(part));
        assert_eq!(of(Part::Log), [Some(2), Some(2), Some(40)]);
        assert_eq!(of(Part::Flush), [Some(10), None, Some(40)]);
        assert_eq!(of(Part::LogQueue), [Some(10), None, Some(60)]);
        assert_eq!(of(Part::Apply), [Some(10), Some(10), Some(60)]);
        assert_eq!(of(Part::Store), [Some(10), None, Some(60)]);
        assert_eq!(of(Part::Runtime), [Some(10), None, Some(60)]);
        assert_eq!(of(Part::Intake), [Some(10), None, None]);
        assert_eq!(of(Part::Worker), [Some(600), None, None]);
    }

    #[test]
    fn a_person_hears_of_what_lasts() {
        let mut watchdog = Watchdog::default();
        let mut looks = |seen: &Seen, seconds| {
            (0..seconds).map(|_| watchdog.look(&LIMITS, seen, SECOND).trouble).last().unwrap_or_default()
        };
        assert_eq!(looks(&busy(Part::Log), 9), []);
        assert_eq!(looks(&busy(Part::Log), 1), [Trouble::Stands(Part::Log)]);
        assert_eq!(looks(&Seen::default(), 1), [], "it is still not trusted with leaders");
        let mut slow = |seconds: u64| {
            let mut seen = Seen { sync_average: SECOND, ..Seen::default() };
            let look = |second| {
                seen.work[Part::Log as usize].done = 1 + second;
                watchdog.look(&LIMITS, &seen, SECOND).trouble
            };
            (0..seconds).map(look).last().unwrap_or_default()
        };
        assert_eq!(slow(40), []);
        assert_eq!(slow(60), [Trouble::SlowDisk]);
    }

    #[test]
    fn a_peer_that_takes_nothing_is_reported_and_nothing_else() {
        let seen = |seconds| Seen { peer_stood: Duration::from_secs(seconds), ..Seen::default() };
        let look = |seen| Watchdog::default().look(&LIMITS, &seen, SECOND);
        assert_eq!(look(seen(9)).stalled, []);
        let verdict = look(seen(1000));
        assert_eq!((verdict.stalled, verdict.away, verdict.end), (vec![Part::Peer], false, None));
    }

    #[test]
    fn an_applier_that_installs_a_snapshot_gets_more_time_and_keeps_its_leaders() {
        assert_eq!(of(&Seen { long: true, ..busy(Part::Apply) }), [Some(60), None, Some(600)]);
    }

    #[test]
    fn a_thread_that_is_gone_ends_the_process_at_once() {
        let seen = Seen { thread_gone: Some("applier"), ..Seen::default() };
        assert_eq!(Watchdog::default().look(&LIMITS, &seen, SECOND).end, Some(End::ThreadGone("applier")));
    }

    #[test]
    fn work_that_goes_on_is_left_alone_however_slow_it_is() {
        let mut watchdog = Watchdog::default();
        let mut seen = Seen::default();
        for second in 0..10_000_u64 {
            seen.work = [Work { busy: true, done: second / 30 }; Part::ALL.len()];
            let verdict = watchdog.look(&LIMITS, &seen, SECOND);
            assert_eq!(verdict.end, None, "after {second} s");
        }
    }

    #[test]
    fn a_process_that_was_paused_does_not_blame_its_disk() {
        let mut watchdog = Watchdog::default();
        watchdog.look(&LIMITS, &busy(Part::Log), LOOK);
        let verdict = watchdog.look(&LIMITS, &busy(Part::Log), Duration::from_secs(3600));
        assert_eq!((verdict.end, verdict.away), (None, false));
    }
}
