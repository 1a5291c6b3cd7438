//! What was asked of the disk, counted for each class of paths.

use std::collections::BTreeMap;

use crate::model::glob::Glob;

/// Class of what matches no class.
pub const OTHER: &str = "other";

/// Counters of one class.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Reads that reached the disk: what the kernel had in its cache is not among them.
    pub reads: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Writes.
    pub writes: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Syncs of files that were done.
    pub syncs: u64,
    /// Bytes that syncs stored.
    pub synced_bytes: u64,
    /// Syncs of directories that were done.
    pub directory_syncs: u64,
    /// Syncs that were said to be done, and were not.
    pub lies: u64,
    /// Requests that a rule made fail.
    pub failed: u64,
    /// Requests that a rule made wait.
    pub delayed: u64,
    /// Requests that were refused, or cut short, because the disk was full.
    pub full: u64,
}

/// Classes by pattern; the first that matches counts.
#[derive(Debug)]
pub struct Classes {
    patterns: Vec<(String, Glob)>,
    counts: Vec<Counts>,
}

impl Classes {
    /// Classes by name and pattern, and [`OTHER`].
    pub fn new(patterns: &[(String, Glob)]) -> Self {
        Self { patterns: patterns.to_vec(), counts: vec![Counts::default(); patterns.len() + 1] }
    }

    /// Counters of a path's class.
    pub fn of(&mut self, path: &str) -> &mut Counts {
        let class = self.patterns.iter().position(|(_, pattern)| pattern.matches(path));
        &mut self.counts[class.unwrap_or(self.patterns.len())]
    }

    /// All counters, by class.
    pub fn all(&self) -> BTreeMap<String, Counts> {
        let names = self.patterns.iter().map(|(name, _)| name.as_str()).chain([OTHER]);
        names.map(str::to_owned).zip(self.counts.iter().copied()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_class_that_matches_counts() {
        let class = |name: &str, pattern| (name.to_owned(), Glob::new(pattern));
        let mut classes = Classes::new(&[class("log", "raft/*.log"), class("raft", "raft/**")]);
        for path in ["raft/1.log", "raft/1.sst", "data/1.log", "raft/2.log"] {
            classes.of(path).writes += 1;
        }
        let writes: Vec<_> = classes.all().into_iter().map(|(name, counts)| (name, counts.writes)).collect();
        assert_eq!(writes, [("log".into(), 2), (OTHER.into(), 1), ("raft".into(), 1)]);
    }
}
