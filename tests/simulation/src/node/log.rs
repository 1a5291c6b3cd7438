//! The log writer: all that waits goes into one write, with one sync, and is completed in order.

use granary_store::{Event, Persist};

use super::LogJob;
use crate::{disk::Op, world::World};

impl World {
    /// What the store wants written.
    pub(super) fn persist(&mut self, place: usize, persist: Persist) {
        let mut ops = Vec::new();
        for item in persist.items {
            let log = (item.shard, item.replica);
            if let Some(append) = item.append {
                ops.push(Op::Append(log, append.entries));
            }
            ops.extend(item.hard_state.map(|state| Op::HardState(log, state)));
            ops.extend(item.truncate.map(|to| Op::Truncate(log, to)));
        }
        self.push_log(place, LogJob { ops, sync: persist.must_sync, number: Some(persist.number), done: None });
    }

    /// Writes in its turn, and then calls `done`.
    pub(super) fn write_log(
        &mut self,
        place: usize,
        ops: Vec<Op>,
        sync: bool,
        done: impl FnOnce(&mut World) + 'static,
    ) {
        self.push_log(place, LogJob { ops, sync, number: None, done: Some(Box::new(done)) });
    }

    fn push_log(&mut self, place: usize, job: LogJob) {
        if let Some(member) = self.member_mut(place) {
            member.log.push_back(job);
            self.write_soon(place);
        }
    }

    fn write_soon(&mut self, place: usize) {
        let (here, now) = (self.here(place), self.now);
        let Some(member) = self.member_mut(place) else { return };
        if member.log.is_empty() || std::mem::replace(&mut member.writing, true) {
            return;
        }
        member.writing_since = now;
        let jobs = member.log.len();
        let takes = self.rng.between(self.places[place].speeds.log / 8, self.places[place].speeds.log * 2);
        let stall = self.places[place].stalled_until.saturating_sub(now);
        self.after_in(here, takes + stall, "log", move |world| world.written(place, jobs));
    }

    fn written(&mut self, place: usize, jobs: usize) {
        let stall = self.places[place].stalled_until.saturating_sub(self.now);
        if stall > 0 {
            let here = self.here(place);
            self.after_in(here, stall, "log", move |world| world.written(place, jobs));
            return;
        }
        if std::mem::take(&mut self.places[place].sync_fails) {
            self.count("failed sync");
            self.note(|| format!("place {place}: a sync of the log fails"));
            self.crash(place, false);
            return;
        }
        let Some(member) = self.member_mut(place) else { return };
        let jobs: Vec<LogJob> = member.log.drain(..jobs).collect();
        let (mut ops, mut sync, mut number, mut done) = (Vec::new(), false, None, Vec::new());
        for job in jobs {
            ops.extend(job.ops);
            sync |= job.sync;
            number = job.number.or(number);
            done.extend(job.done);
        }
        self.make_log_write(place, ops, sync);
        if let Some(number) = number {
            self.event(place, Event::Persisted { number });
        }
        for done in done {
            done(self);
        }
        if let Some(member) = self.member_mut(place) {
            member.writing = false;
        }
        self.write_soon(place);
    }

    fn make_log_write(&mut self, place: usize, ops: Vec<Op>, sync: bool) {
        if ops.is_empty() {
            return;
        }
        for op in &ops {
            match op {
                Op::Append(log, entries) => self.checks.appended(*log, entries),
                Op::Truncate(log, to) => self.checks.purged(*log, *to, &self.places[place].disk),
                _ => {}
            }
        }
        self.places[place].disk.write_raft(ops, sync);
    }

    /// The process ends in the middle of what it writes: some of what waits may have reached the disk, in its order.
    pub(super) fn cut_log(&mut self, place: usize) {
        let Some(member) = self.member_mut(place) else { return };
        let waiting: Vec<LogJob> = member.log.drain(..).collect();
        let written = if self.rng.hits(400_000) { self.rng.between(0, waiting.len() as u64 + 1) } else { 0 };
        for job in waiting.into_iter().take(written as usize) {
            self.make_log_write(place, job.ops, false);
        }
    }
}
