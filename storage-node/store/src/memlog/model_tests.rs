//! The log against `raft`'s own in-memory storage as the model.

use proptest::prelude::*;
use raft::storage::MemStorage;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    /// Appends so many entries of a term so much higher, so far before the end.
    Append { back: u64, count: u64, raise: u64 },
    /// Purges so much of what is there, in percent, but never all.
    Truncate(u64),
    /// Forgets what is applied from memory.
    Trim(usize),
    /// A snapshot so far behind the end.
    Restart(u64),
    /// The process starts again with what is on the disk.
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        5 => (0u64..4, 1u64..6, 0u64..3).prop_map(|(back, count, raise)| Step::Append { back, count, raise }),
        2 => (0u64..100).prop_map(Step::Truncate),
        1 => (0usize..4).prop_map(Step::Trim),
        1 => (1u64..9).prop_map(Step::Restart),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 1..40)
}

fn reopened(log: &MemLog, model: &MemStorage) -> MemLog {
    // The model cannot be asked for nothing.
    let all = match log.last_index - log.truncated.index {
        0 => Vec::new(),
        _ => model.entries(log.truncated.index + 1, log.last_index + 1, None, GetEntriesContext::empty(false)).unwrap(),
    };
    let mut recovered = Recovered {
        truncated: log.truncated,
        terms: log.terms.clone(),
        last_index: log.last_index,
        entries: all.iter().map(crate::convert::entry_from_raft).collect(),
        ..Recovered::default()
    };
    MemLog::new(&mut recovered)
}

proptest! {
    #[test]
    fn it_answers_as_rafts_own_storage_does(steps in steps()) {
        let mut log = MemLog::new(&mut Recovered::default());
        let model = MemStorage::new();
        let mut term = 1;
        for step in steps {
            let (truncated, last) = (log.truncated.index, log.last_index);
            match step {
                Step::Append { back, count, raise } => {
                    term += raise;
                    let first = (last + 1).saturating_sub(back).max(truncated + 1);
                    let entries: Vec<Entry> = (first..first + count)
                        .map(|index| Entry { index, term, data: vec![7; index as usize % 5].into(), ..Entry::default() })
                        .collect();
                    prop_assert_eq!(log.append(&entries), last);
                    model.wl().append(&entries).unwrap();
                }
                Step::Truncate(percent) => {
                    let index = truncated + (last - truncated) * percent / 100;
                    if index > truncated && index < last {
                        let position = log.truncate(index);
                        prop_assert_eq!(position.map(|at| at.term), model.term(index).ok());
                        model.wl().compact(index + 1).unwrap();
                    }
                }
                Step::Trim(entries) => {
                    log.trim(last, entries, 1 << 20);
                    // What is not in memory any more is fetched, which the model cannot: it is read back at once.
                    log = reopened(&log, &model);
                }
                Step::Restart(ahead) => {
                    let position = Position { index: last + ahead, term };
                    log.restart(position);
                    let mut snapshot = Snapshot::default();
                    snapshot.mut_metadata().index = position.index;
                    snapshot.mut_metadata().term = position.term;
                    model.wl().apply_snapshot(snapshot).unwrap();
                }
                Step::Reopen => log = reopened(&log, &model),
            }
            let (first, last) = (log.first_index().unwrap(), log.last_index().unwrap());
            prop_assert_eq!((first, last), (model.first_index().unwrap(), model.last_index().unwrap()));
            for index in first..=last {
                prop_assert_eq!(log.term(index).ok(), model.term(index).ok(), "term of {}", index);
                let of = |max: Option<u64>| log.entries(index, last + 1, max, GetEntriesContext::empty(false)).unwrap();
                let all = model.entries(index, last + 1, None, GetEntriesContext::empty(false)).unwrap();
                prop_assert_eq!(&of(None), &all);
                prop_assert_eq!(&of(Some(0))[..], &all[..1], "at least one");
            }
            prop_assert!(log.term(last + 1).is_err());
            prop_assert!(log.entries(log.truncated.index, last + 1, None, GetEntriesContext::empty(false)).is_err());
        }
    }
}
