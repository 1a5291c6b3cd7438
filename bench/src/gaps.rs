//! How long nothing could be written when a leader goes: probes that begin at fixed times, whatever became of those before.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use granary_load::{Op, Target};
use tokio::{sync::Mutex, task::JoinSet, time::MissedTickBehavior};

use crate::error::{BenchError, Doing as _, Result};

/// Between two probes of a key. With 16 keys that is 1,600 writes a second, which neither system takes for a load.
const PACE: Duration = Duration::from_millis(10);
/// Between the first writes of all keys and the event.
const BEFORE: Duration = Duration::from_millis(300);
/// Watched at least behind it, in which what goes wrong later is seen too.
const BEHIND: Duration = Duration::from_millis(1_500);
/// Nothing is waited for longer.
const LIMIT: Duration = Duration::from_secs(30);

/// Writes of one key: when each began and was acknowledged.
#[derive(Debug, Default)]
struct Acknowledged(Vec<(Instant, Instant)>);

impl Acknowledged {
    /// The longest time between two acknowledgements, the first before `event`.
    fn gap(&self, event: Instant) -> Option<Duration> {
        let mut ends: Vec<Instant> = self.0.iter().map(|(_, end)| *end).collect();
        ends.sort_unstable();
        let from = ends.iter().rposition(|end| *end <= event)?;
        ends[from..].windows(2).map(|two| two[1].saturating_duration_since(two[0])).max()
    }

    fn works_again(&self, event: Instant) -> bool {
        self.0.iter().any(|(begin, _)| *begin > event)
    }
}

/// The longest time in which any of `keys` could not be written around `event`.
///
/// # Errors
/// `event` fails, or keys cannot be written again within half a minute.
pub async fn gap<T, F, A>(target: &T, keys: &[Bytes], event: F) -> Result<Duration>
where
    T: Target,
    F: FnOnce() -> A,
    A: Future<Output = Result<()>>,
{
    let seen: Vec<Arc<Mutex<Acknowledged>>> = keys.iter().map(|_| Arc::default()).collect();
    let mut writers = JoinSet::new();
    let from = tokio::time::Instant::now();
    for (place, (key, seen)) in keys.iter().cloned().zip(seen.iter().cloned()).enumerate() {
        let first = from + PACE * place as u32 / keys.len() as u32;
        writers.spawn(write(target.clone(), key, seen, first));
    }
    let began = Instant::now();
    for seen in &seen {
        while seen.lock().await.0.is_empty() {
            if began.elapsed() > LIMIT {
                return Err(BenchError("a key cannot be written before anything was done".into()));
            }
            tokio::time::sleep(PACE).await;
        }
    }
    tokio::time::sleep(BEFORE).await;
    let happened = Instant::now();
    event().await?;
    tokio::time::sleep(BEHIND).await;
    let mut longest = Duration::ZERO;
    for seen in &seen {
        loop {
            let seen = seen.lock().await;
            if seen.works_again(happened) {
                longest = longest.max(seen.gap(happened).unwrap_or_default());
                break;
            }
            drop(seen);
            if happened.elapsed() > LIMIT {
                return Err(BenchError(format!("a key cannot be written {} s later", LIMIT.as_secs())));
            }
            tokio::time::sleep(PACE).await;
        }
    }
    writers.shutdown().await;
    Ok(longest)
}

/// Begins a write at each tick from `first` on, and waits for none.
async fn write<T: Target>(target: T, key: Bytes, seen: Arc<Mutex<Acknowledged>>, first: tokio::time::Instant) {
    let mut ticks = tokio::time::interval_at(first, PACE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut probes = JoinSet::new();
    loop {
        ticks.tick().await;
        let (target, key, seen) = (target.clone(), key.clone(), seen.clone());
        probes.spawn(async move {
            let begin = Instant::now();
            let value = Bytes::from_static(&[7; 64]);
            // What failed is begun again at the next tick: only what was acknowledged counts.
            if let Ok(Ok(_)) = tokio::time::timeout(LIMIT, target.ask(Op::Put { key, value })).await {
                seen.lock().await.0.push((begin, Instant::now()));
            }
        });
        while probes.try_join_next().is_some() {}
    }
}

/// SIGKILL, SIGSTOP or SIGCONT to a process.
///
/// # Errors
/// It is gone.
pub fn signal(pid: u32, signal: rustix::process::Signal) -> Result<()> {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    let pid = pid.ok_or_else(|| BenchError("no process".into()))?;
    rustix::process::kill_process(pid, signal).doing("sending a signal")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_counted_from_the_last_acknowledgement_before_the_event() {
        let begin = Instant::now();
        let at = |ms| begin + Duration::from_millis(ms);
        let seen = Acknowledged(vec![
            (at(0), at(900)),
            (at(1_000), at(1_010)),
            (at(1_005), at(1_600)),
            (at(1_500), at(1_610)),
        ]);
        assert_eq!(seen.gap(at(1_100)), Some(Duration::from_millis(590)));
        assert_eq!(seen.gap(at(800)), None, "nothing was acknowledged before");
        assert!(seen.works_again(at(1_100)) && !seen.works_again(at(1_550)));
    }

    /// Answers nothing for 200 ms.
    #[derive(Clone)]
    struct Still(Instant);

    impl Target for Still {
        async fn ask(&self, _: Op) -> std::result::Result<u64, String> {
            let since = self.0.elapsed();
            let still = Duration::from_millis(400)..Duration::from_millis(600);
            if still.contains(&since) { Err("nobody leads".into()) } else { Ok(1) }
        }
    }

    #[tokio::test]
    async fn what_stands_still_for_a_while_has_a_gap_of_it() {
        let target = Still(Instant::now());
        let gap = gap(&target, &["a".into(), "b".into()], || async { Ok(()) }).await.unwrap();
        assert!((190..700).contains(&gap.as_millis()), "{gap:?}");
    }
}
