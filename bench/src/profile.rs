//! Folded stacks made shares: of threads by their names, and of functions by what they did themselves. Pure.

use std::collections::HashMap;

/// Letters of a function that tables show.
const LETTERS: usize = 90;

/// Shares of all samples, in percent, the largest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Profile {
    /// How many samples there are.
    pub samples: u64,
    /// Of threads with one name together.
    pub threads: Vec<(String, f64)>,
    /// Of functions, without those that they call.
    pub functions: Vec<(String, f64)>,
}

impl Profile {
    /// Of lines as `thread;outer;inner 7`.
    pub fn of(folded: &str) -> Self {
        let (mut threads, mut functions, mut samples) = (HashMap::new(), HashMap::new(), 0);
        for (stack, count) in folded.lines().filter_map(|line| line.rsplit_once(' ')) {
            let count: u64 = count.parse().unwrap_or(0);
            let Some((thread, frames)) = stack.split_once(';') else { continue };
            let inner = frames.rsplit(';').next().unwrap_or(frames);
            *threads.entry(thread).or_default() += count;
            *functions.entry(inner).or_default() += count;
            samples += count;
        }
        Self { samples, threads: shares(threads, samples), functions: shares(functions, samples) }
    }

    /// The share of a thread's name, in percent.
    pub fn thread(&self, name: &str) -> f64 {
        self.threads.iter().find(|(of, _)| of == name).map_or(0.0, |(_, share)| *share)
    }
}

fn shares(counts: HashMap<&str, u64>, all: u64) -> Vec<(String, f64)> {
    let mut counts: Vec<(&str, u64)> = counts.into_iter().collect();
    counts.sort_by_key(|(name, count)| (std::cmp::Reverse(*count), *name));
    let share = |(name, count): (&str, u64)| (name.to_owned(), 100.0 * count as f64 / all.max(1) as f64);
    counts.into_iter().map(share).collect()
}

/// A function as a cell of a table shows it.
pub fn cell(function: &str) -> String {
    let short: String = match function.char_indices().nth(LETTERS) {
        None => function.to_owned(),
        Some((at, _)) => format!("{}…", &function[..at]),
    };
    format!("`{}`", short.replace('|', "\\|").replace('`', "'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_has_what_it_did_itself_in_all_threads() {
        let profile = Profile::of("store;run;step 2\nstore;run 1\napplier;run;rocksdb::Foo<A, B>;step 5\nlost\n");
        assert_eq!(profile.samples, 8);
        assert_eq!(profile.threads, [("applier".to_owned(), 62.5), ("store".to_owned(), 37.5)]);
        assert_eq!(profile.functions, [("step".to_owned(), 87.5), ("run".to_owned(), 12.5)]);
        assert_eq!((profile.thread("store"), profile.thread("none")), (37.5, 0.0));
        assert_eq!(Profile::of(""), Profile::default());
    }

    #[test]
    fn a_cell_is_short_and_does_not_break_the_table() {
        assert_eq!(cell("a|b"), "`a\\|b`");
        assert_eq!(cell(&"ä".repeat(200)).chars().count(), LETTERS + 3);
    }
}
