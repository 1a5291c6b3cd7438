//! What processes have used so far, as Linux tells it.

use std::fs;

use crate::error::{BenchError, Doing as _, Result};

/// Of some processes together, since they started.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// Seconds of one core.
    pub cpu_seconds: f64,
    /// Bytes that were sent to the disk.
    pub written_bytes: f64,
    /// Bytes of memory that only they hold, now.
    pub memory_bytes: f64,
    /// Times that something was synced to disk.
    pub syncs: f64,
}

impl Usage {
    /// Of all of `pids`; syncs are not known here.
    ///
    /// # Errors
    /// A process is gone, or /proc cannot be read.
    pub fn of(pids: &[u32]) -> Result<Self> {
        pids.iter().try_fold(Self::default(), |sum, pid| {
            Ok(Self {
                cpu_seconds: sum.cpu_seconds + cpu_seconds(&read(*pid, "stat")?)?,
                written_bytes: sum.written_bytes + field(&read(*pid, "io")?, "write_bytes:")?,
                memory_bytes: sum.memory_bytes + 1024.0 * field(&read(*pid, "status")?, "RssAnon:")?,
                syncs: 0.0,
            })
        })
    }

    /// What was used between then and now; memory is that of now.
    pub fn since(self, then: Self) -> Self {
        Self {
            cpu_seconds: self.cpu_seconds - then.cpu_seconds,
            written_bytes: self.written_bytes - then.written_bytes,
            memory_bytes: self.memory_bytes,
            syncs: self.syncs - then.syncs,
        }
    }
}

/// Memory of one process, with the files that it has mapped, in MiB.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Resident {
    /// Now.
    pub now: f64,
    /// The most since it started.
    pub most: f64,
}

impl Resident {
    /// Of that process.
    ///
    /// # Errors
    /// It is gone, or /proc cannot be read.
    pub fn of(pid: u32) -> Result<Self> {
        let status = read(pid, "status")?;
        Ok(Self { now: field(&status, "VmRSS:")? / 1024.0, most: field(&status, "VmHWM:")? / 1024.0 })
    }
}

fn read(pid: u32, file: &str) -> Result<String> {
    let path = format!("/proc/{pid}/{file}");
    fs::read_to_string(&path).doing(path)
}

/// User and system time are fields 14 and 15, in 1/100 s; the second field may hold blanks, and ends with a parenthesis.
fn cpu_seconds(stat: &str) -> Result<f64> {
    let fields = stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect::<Vec<_>>());
    let ticks = |at: usize| fields.as_ref()?.get(at)?.parse::<f64>().ok();
    let ticks = ticks(11).zip(ticks(12)).map(|(user, system)| user + system);
    ticks.map(|ticks| ticks / 100.0).ok_or_else(|| BenchError(format!("not as /proc/PID/stat is: {stat}")))
}

fn field(text: &str, name: &str) -> Result<f64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok());
    value.ok_or_else(|| BenchError(format!("no {name} in /proc")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_read_behind_a_name_with_blanks() {
        let stat = "42 (a b) c) S 1 42 42 0 -1 4194560 1 0 0 0 150 50 0 0 20 0 1 0 5 6 7";
        assert_eq!(cpu_seconds(stat).unwrap(), 2.0);
        assert!(cpu_seconds("42 (a)").is_err());
    }

    #[test]
    fn this_process_has_used_memory() {
        let used = Usage::of(&[std::process::id()]).unwrap();
        assert!(used.memory_bytes > 0.0 && used.cpu_seconds >= 0.0);
        assert!(Usage::of(&[u32::MAX]).is_err());
        let resident = Resident::of(std::process::id()).unwrap();
        assert!(resident.now > 1.0 && resident.most >= resident.now);
    }
}
