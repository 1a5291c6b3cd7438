//! Rules that make requests fail or wait, and how often each did.

use std::{collections::BTreeMap, time::Duration};

use rustix::io::Errno;

use super::{glob::Glob, random::Random};

/// Requests that a rule can hit. Names (create, rename, link, unlink) always work: they are in memory until a sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Reading a file. What the kernel has in its cache is not asked for again.
    Read,
    /// Writing to a file.
    Write,
    /// `fsync` and `fdatasync` of a file.
    Sync,
    /// `fsync` of a directory.
    SyncDirectory,
    /// `ftruncate` and `fallocate`.
    Resize,
}

impl Operation {
    /// Each of them: a disk that hangs or is broken as a whole.
    pub const ALL: [Self; 5] = [Self::Read, Self::Write, Self::Sync, Self::SyncDirectory, Self::Resize];
}

/// What a rule does to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It fails with this error, and does nothing. A sync that fails has lost what it should have stored.
    Fail(Errno),
    /// It waits so long (drawn from the range, both ends included), and then is done.
    Delay(Duration, Duration),
    /// It waits until the rule is withdrawn, and then is done. A process that waits cannot be killed: `kill -9` is put off
    /// until then, as on a disk that hangs. Meanwhile the kernel lets nobody else write to or sync the same file, and nobody
    /// open it while a write waits.
    Stall,
}

/// A rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    operations: Vec<Operation>,
    path: Glob,
    skip: u64,
    times: u64,
    effect: Effect,
}

impl Fault {
    /// Hits all of these requests, from the next one on, on every path.
    pub fn new(operations: &[Operation], effect: Effect) -> Self {
        Self { operations: operations.to_vec(), path: Glob::any(), skip: 0, times: u64::MAX, effect }
    }

    /// Only on these paths.
    #[must_use]
    pub fn on(mut self, path: &str) -> Self {
        self.path = Glob::new(path);
        self
    }

    /// From the n-th request on, counted from 1.
    #[must_use]
    pub fn from_the(mut self, nth: u64) -> Self {
        self.skip = nth.saturating_sub(1);
        self
    }

    /// So many times at most.
    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        self.times = times;
        self
    }
}

/// Number of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FaultId(u64);

/// How long a request waits before it is done or fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// So long.
    For(Duration),
    /// Until this rule is withdrawn.
    Withdrawn(FaultId),
}

/// What happens to one request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Verdict {
    /// It waits first.
    pub wait: Option<Wait>,
    /// It fails then.
    pub fail: Option<Errno>,
}

#[derive(Debug)]
struct Rule {
    fault: Fault,
    seen: u64,
    done: u64,
}

/// All rules of a disk. There are as many as a test made.
#[derive(Debug)]
pub struct Faults {
    rules: BTreeMap<FaultId, Rule>,
    next: u64,
    random: Random,
}

impl Faults {
    /// No rules. The seed decides how long delays are.
    pub fn new(seed: u64) -> Self {
        Self { rules: BTreeMap::new(), next: 0, random: Random::new(seed) }
    }

    /// Adds a rule.
    pub fn add(&mut self, fault: Fault) -> FaultId {
        self.next += 1;
        let id = FaultId(self.next);
        self.rules.insert(id, Rule { fault, seen: 0, done: 0 });
        id
    }

    /// Takes a rule away, and tells how many requests it hit.
    pub fn remove(&mut self, id: FaultId) -> u64 {
        self.rules.remove(&id).map_or(0, |rule| rule.done)
    }

    /// How many requests a rule hit.
    pub fn done(&self, id: FaultId) -> u64 {
        self.rules.get(&id).map_or(0, |rule| rule.done)
    }

    /// Judges a request; counts in every rule that it matches. An error of any rule counts, and the longest wait.
    pub fn judge(&mut self, operation: Operation, path: impl FnOnce() -> String) -> Verdict {
        let mut verdict = Verdict::default();
        if self.rules.is_empty() {
            return verdict;
        }
        let path = path();
        for (id, rule) in &mut self.rules {
            if !rule.fault.operations.contains(&operation) || !rule.fault.path.matches(&path) {
                continue;
            }
            rule.seen += 1;
            if rule.seen <= rule.fault.skip || rule.done == rule.fault.times {
                continue;
            }
            rule.done += 1;
            match rule.fault.effect {
                Effect::Fail(errno) => verdict.fail = verdict.fail.or(Some(errno)),
                Effect::Stall => verdict.wait = Some(Wait::Withdrawn(*id)),
                Effect::Delay(least, most) => {
                    let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
                    let time = Duration::from_nanos(self.random.between(nanos(least), nanos(most)));
                    match verdict.wait {
                        Some(Wait::Withdrawn(_)) => {}
                        Some(Wait::For(other)) if other >= time => {}
                        _ => verdict.wait = Some(Wait::For(time)),
                    }
                }
            }
        }
        verdict
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(faults: &mut Faults, operation: Operation, path: &str) -> Verdict {
        faults.judge(operation, || path.to_owned())
    }

    #[test]
    fn a_rule_hits_from_the_nth_on_and_so_many_times() {
        let mut faults = Faults::new(0);
        let rule = Fault::new(&[Operation::Sync], Effect::Fail(Errno::IO)).on("raft/**").from_the(3).times(2);
        let id = faults.add(rule);
        assert_eq!(judge(&mut faults, Operation::Write, "raft/1.log"), Verdict::default());
        assert_eq!(judge(&mut faults, Operation::Sync, "data/1.log"), Verdict::default());
        let hits: Vec<_> = (0..6).map(|_| judge(&mut faults, Operation::Sync, "raft/1.log").fail.is_some()).collect();
        assert_eq!(hits, [false, false, true, true, false, false]);
        assert_eq!((faults.done(id), faults.remove(id), faults.done(id)), (2, 2, 0));
    }

    #[test]
    fn the_longest_wait_counts_and_an_error_comes_after_it() {
        let mut faults = Faults::new(7);
        let delay = |millis| {
            let time = Duration::from_millis(millis);
            Fault::new(&Operation::ALL, Effect::Delay(time, time))
        };
        faults.add(delay(5));
        faults.add(delay(3));
        faults.add(Fault::new(&[Operation::Read], Effect::Fail(Errno::IO)));
        let wait = Some(Wait::For(Duration::from_millis(5)));
        assert_eq!(judge(&mut faults, Operation::Write, "a"), Verdict { wait, fail: None });
        assert_eq!(judge(&mut faults, Operation::Read, "a"), Verdict { wait, fail: Some(Errno::IO) });
        let stall = faults.add(Fault::new(&Operation::ALL, Effect::Stall));
        faults.add(delay(9));
        let verdict = judge(&mut faults, Operation::Write, "a");
        assert_eq!(verdict.wait, Some(Wait::Withdrawn(stall)));
    }

    #[test]
    fn random_delays_are_of_their_range_and_differ() {
        let mut faults = Faults::new(7);
        let range = (Duration::from_millis(1), Duration::from_millis(20));
        faults.add(Fault::new(&[Operation::Sync], Effect::Delay(range.0, range.1)));
        let waits: Vec<_> = (0..50).map(|_| judge(&mut faults, Operation::Sync, "a").wait).collect();
        let within =
            |wait: &Option<Wait>| matches!(wait, Some(Wait::For(time)) if *time >= range.0 && *time <= range.1);
        assert!(waits.iter().all(within));
        assert!(waits.iter().any(|wait| *wait != waits[0]));
    }
}
