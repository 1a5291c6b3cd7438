//! Shows how far a long command is: a bar on a terminal, a line every two seconds otherwise. On stderr.

use std::{
    cell::Cell,
    io::IsTerminal as _,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

use crate::output::{bytes, grouped};

const BETWEEN_LINES: Duration = Duration::from_secs(2);

/// Shows how far a long command is.
pub struct Progress {
    verb: &'static str,
    total: u64,
    done: AtomicU64,
    done_bytes: AtomicU64,
    bar: Option<ProgressBar>,
    started: Instant,
    next_line_ms: AtomicU64,
}

impl Progress {
    /// For `total` keys; `verb` as in "loading".
    pub fn new(verb: &'static str, total: u64) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(total);
            // The template is fixed; should it be wrong, the bar keeps its default look.
            if let Ok(style) =
                ProgressStyle::with_template("{prefix} {wide_bar} {human_pos}/{human_len} keys {per_sec}")
            {
                bar.set_style(style);
            }
            bar.set_prefix(verb);
            bar
        });
        let between = AtomicU64::new(BETWEEN_LINES.as_millis() as u64);
        Self {
            verb,
            total,
            done: AtomicU64::new(0),
            done_bytes: AtomicU64::new(0),
            bar,
            started: Instant::now(),
            next_line_ms: between,
        }
    }

    /// One more key of `size` bytes.
    pub fn add(&self, size: usize) {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        let size = self.done_bytes.fetch_add(size as u64, Ordering::Relaxed) + size as u64;
        match &self.bar {
            Some(bar) => bar.inc(1),
            None => self.line(done, size),
        }
    }

    /// Removes the bar; the command's summary takes its place.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn line(&self, done: u64, size: u64) {
        let now = self.started.elapsed().as_millis() as u64;
        let due = self.next_line_ms.load(Ordering::Relaxed);
        if now < due {
            return;
        }
        let next = now + BETWEEN_LINES.as_millis() as u64;
        if self.next_line_ms.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            eprintln!("{}: {} of {} keys, {}", self.verb, grouped(done), grouped(self.total), bytes(size));
        }
    }
}

/// Shows how far something with steps that are not keys is, and a few words of it.
pub struct Steps {
    verb: &'static str,
    total: u64,
    bar: Option<ProgressBar>,
    last_line: Cell<Instant>,
}

impl Steps {
    /// For `total` steps.
    pub fn new(verb: &'static str, total: u64) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(total);
            if let Ok(style) = ProgressStyle::with_template("{prefix} {wide_bar} {human_pos}/{human_len} {msg}") {
                bar.set_style(style);
            }
            bar.set_prefix(verb);
            bar
        });
        Self { verb, total, bar, last_line: Cell::new(Instant::now()) }
    }

    /// So many are done.
    pub fn at(&self, done: u64, words: &str) {
        if let Some(bar) = &self.bar {
            bar.set_position(done);
            bar.set_message(words.to_owned());
        } else if self.last_line.get().elapsed() >= BETWEEN_LINES {
            self.last_line.set(Instant::now());
            let words = if words.is_empty() { String::new() } else { format!(", {words}") };
            eprintln!("{}: {} of {}{words}", self.verb, grouped(done), grouped(self.total));
        }
    }

    /// Removes the bar; the command's summary takes its place.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
