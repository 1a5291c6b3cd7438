//! A history's file, damaged in every way: refused, or a history that can be written and read again.

use granary_fuzz::{cases, damage};
use granary_history::{Action, Answer, Change, Expected, Held, History, Operation, Origin, Outcome};
use proptest::prelude::*;

fn history() -> History {
    let operation = |number: u64, action, outcome| Operation {
        client: number as u32,
        key: format!("key-{number}"),
        called: number * 10,
        returned: number * 10 + 5,
        action,
        outcome,
    };
    let held = Held { value: 7, revision: Some(3) };
    let swap = Action::CompareAndSet { expected: Expected::Revision(3), change: Change::Put(8) };
    let operations = vec![
        operation(1, Action::Put { value: 7 }, Outcome::Ok(Answer::Written(Some(3)))),
        operation(2, Action::Read, Outcome::Ok(Answer::Held(Some(held)))),
        operation(3, swap, Outcome::Unknown),
        operation(4, Action::Delete, Outcome::Failed),
    ];
    History { origin: Origin { seed: 1, replay: "again".into() }, operations }
}

proptest! {
    #![proptest_config(cases(1_024))]

    #[test]
    fn a_damaged_file_is_refused_or_is_a_history(damages in damage::damages()) {
        let mut good = Vec::new();
        history().write_to(&mut good).unwrap();
        let damaged = damage::apply(&damages, &good);
        if let Ok(read) = History::read_from(&*damaged) {
            let _ = read.validate();
            let mut again = Vec::new();
            read.write_to(&mut again).unwrap();
            prop_assert_eq!(History::read_from(&*again).unwrap().operations, read.operations);
        }
    }
}
