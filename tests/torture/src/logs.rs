//! What nodes logged: things that a run counts, and what must never be there. It knows lines of text only.

use std::{fs, path::Path};

/// What a node logs when a snapshot comes in.
const SNAPSHOT: &str = "snapshot comes in";
/// What a program says that met what its author held impossible.
const PANIC: &str = "panicked at";
/// Panics that are told in full.
const TOLD: usize = 5;

/// Of all logs of a run. Old logs are put away: there was at least so much.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Logs {
    /// Snapshots that came in.
    pub snapshots: u64,
    /// Lines that tell of panics, with their log.
    pub panics: Vec<String>,
}

impl Logs {
    /// Reads every file of a directory.
    pub fn read(dir: &Path) -> Self {
        let mut logs = Self::default();
        for file in fs::read_dir(dir).into_iter().flatten().flatten() {
            let text = fs::read(file.path()).unwrap_or_default();
            logs.add(&file.file_name().to_string_lossy(), &String::from_utf8_lossy(&text));
        }
        logs
    }

    fn add(&mut self, name: &str, text: &str) {
        self.snapshots += text.matches(SNAPSHOT).count() as u64;
        let panics = text.lines().filter(|line| line.contains(PANIC)).map(|line| format!("{name}: {line}"));
        self.panics.extend(panics.take(TOLD));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snapshots_are_counted_and_panics_are_told() {
        let mut logs = Logs::default();
        logs.add("node-0.log", "{\"message\":\"snapshot comes in\"}\nthread 'x' panicked at src/a.rs:1:2:\n");
        logs.add("node-1.log", "{\"message\":\"snapshot comes in\"}\n{\"message\":\"snapshot sent\"}\n");
        assert_eq!((logs.snapshots, logs.panics.len()), (2, 1));
        assert!(logs.panics[0].starts_with("node-0.log: thread"));
    }
}
