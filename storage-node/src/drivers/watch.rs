//! The watchdog's thread: looks at all drivers ten times a second, and less often at rest, says what stands still, and ends the process where the
//! verdict says so. It touches no disk, takes no lock that is held through IO, and does not need the runtime: it must be the
//! last to hang. What follows from a look is decided by [`granary_duties::watchdog`].

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use granary_duties::{
    standing::{Standing, Work},
    watchdog::{End, LOOK, Limits, Part, Seen, Verdict, Watchdog},
};

use super::{Health, LaneTo, Outbound, fatal::end_at_once, meters::Meters};
use crate::exit;

/// Between two looks of which the first saw that nothing was under way.
const LOOK_AT_REST: Duration = Duration::from_millis(300);
/// Parts that have nothing to do at times.
const SOMETIMES: [Part; 6] = [Part::Log, Part::LogQueue, Part::Flush, Part::Apply, Part::Intake, Part::Worker];

/// What it looks at.
pub(crate) struct Watch {
    pub(crate) limits: Limits,
    pub(crate) meters: Arc<Meters>,
    pub(crate) health: Arc<Health>,
    /// Jobs that wait for the log writer, the applier and the worker.
    pub(crate) queues: [Box<dyn Fn() -> usize + Send>; 3],
    pub(crate) outbound: Arc<dyn Outbound>,
    /// Threads that must never end before the node stops.
    pub(crate) threads: Arc<Vec<(&'static str, JoinHandle<()>)>>,
    pub(crate) stopping: Arc<AtomicBool>,
}

impl Watch {
    /// Until the node stops.
    pub(crate) fn run(self) {
        let (mut watchdog, mut peers) = (Watchdog::default(), BTreeMap::new());
        let (mut last, mut before) = (Instant::now(), Verdict::default());
        let mut at_rest = false;
        loop {
            std::thread::sleep(if at_rest { LOOK_AT_REST } else { LOOK });
            if self.stopping.load(Relaxed) {
                return;
            }
            let now = Instant::now();
            let passed = now.saturating_duration_since(last);
            last = now;
            let seen = self.seen(&mut peers, passed);
            at_rest = !SOMETIMES.iter().any(|part| seen.work[*part as usize].busy) && seen.peer_stood.is_zero();
            let verdict = watchdog.look(&self.limits, &seen, passed);
            say_what_changed(&before, &verdict, seen.sync_average);
            before = verdict.clone();
            let end = verdict.end;
            self.health.note(verdict, seen.sync_average);
            // A thread may be gone because the node stops meanwhile.
            if let Some(end) = end.filter(|_| !self.stopping.load(Relaxed)) {
                end_at_once(code(&end), &because(&end));
            }
        }
    }

    fn seen(&self, peers: &mut Peers, passed: Duration) -> Seen {
        let meters = &self.meters;
        let [log_queue, apply_queue, worker_queue] = [0, 1, 2].map(|queue: usize| self.queues[queue]());
        let mut seen = Seen {
            sync_average: meters.sync_average(),
            long: meters.long.load(Relaxed) || meters.writes_stopped.load(Relaxed),
            thread_gone: self.threads.iter().find(|(_, thread)| thread.is_finished()).map(|(name, _)| *name),
            ..Seen::default()
        };
        let mut set = |part: Part, work| seen.work[part as usize] = work;
        set(Part::Log, meters.log.work(0));
        set(Part::LogQueue, Work { busy: log_queue > 0, ..meters.log.work(0) });
        set(Part::Flush, meters.flush.work(0));
        set(Part::Apply, meters.apply.work(apply_queue));
        set(Part::Store, meters.store.always());
        set(Part::Runtime, meters.runtime.always());
        set(Part::Intake, meters.intake.work(meters.intake_waits.load(Relaxed)));
        set(Part::Worker, meters.worker.work(worker_queue));
        seen.peer_stood = self.peer_stood(peers, passed);
        seen
    }

    fn peer_stood(&self, known: &mut Peers, passed: Duration) -> Duration {
        let Some(now) = self.outbound.queues() else { return Duration::ZERO };
        known.retain(|peer, _| now.iter().any(|(of, _)| of == peer));
        let stood = now.into_iter().map(|(peer, work)| known.entry(peer).or_default().look(work, passed));
        stood.max().unwrap_or_default()
    }
}

type Peers = BTreeMap<LaneTo, Standing>;

fn say_what_changed(before: &Verdict, now: &Verdict, average: Duration) {
    for part in now.stalled.iter().filter(|part| !before.stalled.contains(part)) {
        let seconds = now.stood[*part as usize].as_secs_f32();
        tracing::warn!(part = part.name(), seconds, "{} has not gone on", part.what());
    }
    for part in before.stalled.iter().filter(|part| !now.stalled.contains(part)) {
        let seconds = before.stood[*part as usize].as_secs_f32();
        tracing::info!(part = part.name(), seconds, "{} goes on", part.what());
    }
    let average_ms = average.as_millis();
    match (before.away, now.away) {
        (false, true) if now.slow_disk => tracing::warn!(average_ms, "the disk is slow: leaders move to other nodes"),
        (false, true) => tracing::warn!("nothing is applied here: leaders move to other nodes"),
        (true, false) => tracing::info!(average_ms, "leaders may come back to this node"),
        _ => {}
    }
}

/// Why the process ends, in words.
pub(super) fn because(end: &End) -> String {
    match end {
        End::Stands(part, stood) if part.is_disk() => format!(
            "the disk hangs: {} has not ended for {} s. This node ends now, since nobody can tell what a thread that \
             hangs would still do; check its disk. The next start goes on from what is durable",
            part.what(),
            stood.as_secs()
        ),
        End::Stands(part, stood) => format!(
            "stuck: {} did not go on for {} s. This node ends now, and its next start goes on from what is durable",
            part.what(),
            stood.as_secs()
        ),
        End::ThreadGone(name) => {
            format!("the thread {name} has ended. This node ends now, and its next start goes on from what is durable")
        }
    }
}

fn code(end: &End) -> i32 {
    match end {
        End::Stands(part, _) if part.is_disk() => exit::DISK_FAILED,
        End::Stands(..) | End::ThreadGone(_) => exit::STUCK,
    }
}
