use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering},
};

use granary_history::{
    Action, Answer, Budget, Change, Expected, Full, Held, History, Operation, Origin, Outcome, Recorder, Verdict, check,
};

const PUT: Action = Action::Put { value: 1 };

#[test]
fn threads_record_at_once_what_a_shared_register_does() {
    let recorder = Recorder::monotonic(4000);
    let register = Mutex::new(None::<u64>);
    std::thread::scope(|scope| {
        for client in 0..4 {
            let (recorder, register) = (&recorder, &register);
            scope.spawn(move || {
                for number in 0..500u64 {
                    let value = u64::from(client) * 1000 + number;
                    let write = number % 3 == 0;
                    let action = if write { Action::Put { value } } else { Action::Read };
                    let ticket = recorder.call(client, "register", action).unwrap();
                    let answer = if write {
                        *register.lock().unwrap() = Some(value);
                        Answer::Written(None)
                    } else {
                        Answer::Held(register.lock().unwrap().map(|value| Held { value, revision: None }))
                    };
                    recorder.end(ticket, Outcome::Ok(answer));
                }
            });
        }
    });
    let history = recorder.history(Origin::default());
    assert_eq!(history.operations.len(), 2000);
    let report = check(&history, Budget::default()).unwrap();
    assert_eq!(report.verdict(), Verdict::Linearizable, "{report}");
    assert_eq!((report.acknowledged, report.reads, report.unknown), (668, 1332, 0));
}

#[test]
fn a_full_recorder_refuses_calls_and_ends_what_was_called() {
    let recorder = Recorder::monotonic(2);
    let first = recorder.call(1, "a", PUT).unwrap();
    let second = recorder.call(1, "b", PUT).unwrap();
    assert!(!recorder.is_full());
    assert_eq!(recorder.call(1, "c", PUT).unwrap_err(), Full { capacity: 2 });
    assert!(recorder.is_full());
    recorder.end(first, Outcome::Ok(Answer::Written(Some(1))));
    recorder.end(second, Outcome::Failed);
    let outcomes: Vec<_> = recorder.history(Origin::default()).operations.into_iter().map(|one| one.outcome).collect();
    assert_eq!(outcomes, [Outcome::Ok(Answer::Written(Some(1))), Outcome::Failed]);
}

#[test]
fn long_lists_fill_it_as_well() {
    let recorder = Recorder::monotonic(10);
    let ticket = recorder.call(1, "a", Action::ReadList).unwrap();
    recorder.end(ticket, Outcome::Ok(Answer::List(vec![1; 640])));
    assert_eq!(recorder.call(1, "a", Action::ReadList).unwrap_err(), Full { capacity: 10 });
}

#[test]
fn what_never_ended_is_unknown_and_lasts_until_now() {
    let now = Arc::new(AtomicU64::new(5));
    let clock = now.clone();
    let recorder = Recorder::with_clock(10, move || clock.load(Ordering::Relaxed));
    drop(recorder.call(3, "a", PUT).unwrap());
    now.store(9, Ordering::Relaxed);
    let expected =
        Operation { client: 3, key: "a".to_owned(), called: 5, returned: 9, action: PUT, outcome: Outcome::Unknown };
    assert_eq!(recorder.history(Origin::default()).operations, [expected]);
}

#[test]
fn what_is_no_history_is_refused_by_name() {
    let operation = |key: &str, called, returned, action, outcome| Operation {
        client: 1,
        key: key.to_owned(),
        called,
        returned,
        action,
        outcome,
    };
    let written = || Outcome::Ok(Answer::Written(None));
    let on_revision = Action::CompareAndSet { expected: Expected::Revision(1), change: Change::Delete };
    let not_swapped = || Outcome::Ok(Answer::NotSwapped(Some(Held { value: 1, revision: None })));
    let wrong = [
        (operation("a", 5, 4, PUT, Outcome::Unknown), "returns before it is called"),
        (operation("a", 5, 6, Action::Read, written()), "has an answer of another kind"),
        (operation("a", 5, 6, Action::Put { value: u64::MAX }, written()), "stands for what cannot be read"),
        (operation("c", 5, 6, Action::Add { amount: 0 }, written()), "adds nothing"),
        (operation("a", 5, 6, on_revision, not_swapped()), "does not tell the revision"),
        (operation("b", 5, 6, Action::Append { element: 1 }, written()), "uses its key in another way"),
    ];
    for (second, what) in wrong {
        let first = operation("b", 0, 1, PUT, written());
        let history = History { operations: vec![first, second], ..History::default() };
        let error = check(&history, Budget::default()).unwrap_err();
        assert_eq!(error.index, 1);
        assert!(error.to_string().contains(what), "{error}");
    }
}
