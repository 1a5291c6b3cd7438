//! One run: fills keys in, starts the clients, waits for them.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use crate::{Op, Outcome, Plan, Target, Values, choice::Choice, key, recorder::Recorder, schedule::Schedule};

/// Keys of one batch while keys are filled in.
const FILL: u32 = 512;
/// Between two looks of who watches.
const LOOK: Duration = Duration::from_millis(500);

/// What a run has seen so far, warm-up included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Since the run began.
    pub elapsed: Duration,
    /// Requests that succeeded.
    pub done: u64,
    /// Requests that failed.
    pub failed: u64,
}

/// Makes all keys of the plan hold a value. `seen` is told how many do.
///
/// # Errors
/// The words of the first request that failed.
pub async fn fill<T: Target>(target: &T, plan: &Plan, mut seen: impl FnMut(u32)) -> Result<(), String> {
    let values = Values::new(plan.value_size);
    for first in (0..plan.keys).step_by(FILL as usize) {
        let last = plan.keys.min(first.saturating_add(FILL));
        let rows = (first..last).map(|number| (key(number), values.any())).collect();
        target.ask(Op::Batch { rows }).await?;
        seen(last);
    }
    Ok(())
}

/// Lets all clients of the plan ask for its time; each takes one of the targets, from the first on. `seen` is told twice a
/// second how far it is, and at the end.
///
/// # Errors
/// When no target is given, or a client panics.
pub async fn run<T: Target>(targets: &[T], plan: &Plan, mut seen: impl FnMut(Seen)) -> Result<Outcome, String> {
    let begin = Instant::now();
    let measured_from = begin + plan.warm_up;
    let schedule = Arc::new(Schedule::new(begin, plan.warm_up + plan.time, plan.rate));
    let recorder = Arc::new(Recorder::new());
    let choice = Arc::new(Choice::new(plan));
    let mut clients = tokio::task::JoinSet::new();
    for (number, target) in (0..plan.clients as usize).zip(targets.iter().cycle()) {
        let client = Client { number, target: target.clone(), choice: choice.clone(), measured_from };
        clients.spawn(client.work(schedule.clone(), recorder.clone()));
    }
    if clients.is_empty() {
        return Err("nobody asks: no clients, or nothing to ask".into());
    }
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            ended = clients.join_next() => match ended {
                None => break,
                Some(ended) => ended.map_err(|error| format!("a client stopped: {error}"))?,
            },
            _ = looks.tick() => {
                let (done, failed) = recorder.so_far();
                seen(Seen { elapsed: begin.elapsed(), done, failed });
            }
        }
    }
    let (done, failed) = recorder.so_far();
    seen(Seen { elapsed: begin.elapsed(), done, failed });
    let (latencies, keys, errors) = recorder.total();
    let seconds = measured_from.elapsed().as_secs_f64();
    Ok(Outcome { latencies, keys, seconds, errors, unsent: schedule.unsent() })
}

struct Client<T> {
    number: usize,
    target: T,
    choice: Arc<Choice>,
    measured_from: Instant,
}

impl<T: Target> Client<T> {
    async fn work(self, schedule: Arc<Schedule>, recorder: Arc<Recorder>) {
        while let Some(due) = schedule.next() {
            if due > Instant::now() {
                sleep_until(due).await;
            }
            let op = self.choice.next(&mut rand::rng());
            let answer = self.target.ask(op).await;
            recorder.note(self.number, due.elapsed(), answer, due >= self.measured_from);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    use super::*;
    use crate::{Distribution, Kind};

    /// Answers after a time, and stands still for a second once.
    #[derive(Clone, Default)]
    struct Slow {
        asked: Arc<AtomicU64>,
        stands_still_at: Option<u64>,
        fails: bool,
    }

    impl Target for Slow {
        async fn ask(&self, op: Op) -> Result<u64, String> {
            let number = self.asked.fetch_add(1, Relaxed);
            let still = self.stands_still_at == Some(number);
            tokio::time::sleep(Duration::from_millis(if still { 1_000 } else { 1 })).await;
            match op {
                _ if self.fails => Err("it is full".into()),
                Op::Batch { rows } => Ok(rows.len() as u64),
                _ => Ok(1),
            }
        }
    }

    fn plan(clients: u32, rate: Option<u32>) -> Plan {
        Plan {
            kind: Kind::Put,
            clients,
            value_size: 10,
            keys: 1_000,
            distribution: Distribution::Uniform,
            batch: 64,
            rows: 100,
            rate,
            warm_up: Duration::from_secs(1),
            time: Duration::from_secs(4),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_closed_loop_asks_again_as_soon_as_it_has_its_answer() {
        let outcome = run(&[Slow::default()], &plan(3, None), |_| ()).await.unwrap();
        // Three clients, 1 ms each, 4 s.
        assert!((10_000..=12_003).contains(&outcome.latencies.len()), "{}", outcome.latencies.len());
        assert!(outcome.quantile_us(0.99) < 2_100, "{}", outcome.quantile_us(0.99));
        assert_eq!((outcome.failed(), outcome.unsent), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn with_a_rate_a_standstill_is_seen_by_all_that_were_due_in_it() {
        let still = Slow { stands_still_at: Some(300), ..Slow::default() };
        let open = run(std::slice::from_ref(&still), &plan(1, Some(200)), |_| ()).await.unwrap();
        // A fifth of 4 s: 200 requests were due in that second, half of them waited for 500 ms and more.
        assert!(open.quantile_us(0.9) > 400_000, "{}", open.quantile_us(0.9));
        let still = Slow { stands_still_at: Some(1_300), ..Slow::default() };
        let closed = run(&[still], &plan(1, None), |_| ()).await.unwrap();
        assert!(closed.quantile_us(0.9) < 3_000, "one request only saw it");
    }

    #[tokio::test(start_paused = true)]
    async fn failures_are_counted_by_their_words_and_have_no_latency() {
        let fails = Slow { fails: true, ..Slow::default() };
        let outcome = run(std::slice::from_ref(&fails), &plan(1, Some(100)), |_| ()).await.unwrap();
        assert_eq!((outcome.latencies.len(), outcome.failed(), outcome.errors["it is full"]), (0, 400, 400));
        assert_eq!(fill(&fails, &plan(1, None), |_| ()).await, Err("it is full".into()));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_watches_sees_how_far_it_is() {
        let (mut looks, target) = (Vec::new(), Slow::default());
        run(std::slice::from_ref(&target), &plan(1, Some(100)), |seen| looks.push(seen)).await.unwrap();
        assert!(looks.len() >= 9 && looks.windows(2).all(|two| two[0].done <= two[1].done), "{looks:?}");
        let mut filled = 0;
        fill(&target, &plan(1, None), |keys| filled = keys).await.unwrap();
        assert_eq!(filled, 1_000);
    }

    #[tokio::test]
    async fn without_a_target_nothing_is_measured() {
        assert!(run::<Slow>(&[], &plan(1, None), |_| ()).await.is_err());
    }
}
