use granary_history::{Action, Answer, Finals, Held, History, Operation, Origin, Outcome, final_reads};

use crate::world::{Kind, Shape, make};

fn op(key: &str, called: u64, action: Action, outcome: Outcome) -> Operation {
    Operation { client: 1, key: key.to_owned(), called, returned: called + 5, action, outcome }
}

fn put(called: u64, value: u64) -> Operation {
    op("r", called, Action::Put { value }, done())
}

fn append(called: u64, element: u64, outcome: Outcome) -> Operation {
    op("l", called, Action::Append { element }, outcome)
}

fn done() -> Outcome {
    Outcome::Ok(Answer::Written(None))
}

fn held(value: u64) -> Outcome {
    Outcome::Ok(Answer::Held(Some(Held { value, revision: None })))
}

fn look(operations: Vec<Operation>) -> Finals {
    final_reads(&History { origin: Origin::default(), operations }).unwrap()
}

#[test]
fn an_acknowledged_write_that_is_neither_there_nor_overwritten_is_lost() {
    let finals = look(vec![put(0, 1), put(10, 2), op("r", 20, Action::Read, held(1))]);
    assert_eq!((finals.lost, finals.acknowledged, finals.keys), (1, 2, 1));
    assert!(finals.violations[0].to_string().contains("put 2"), "{}", finals.violations[0]);
    let nothing = Outcome::Ok(Answer::Held(None));
    assert_eq!(look(vec![put(0, 1), put(10, 2), op("r", 20, Action::Read, nothing)]).lost, 2);
    assert_eq!(look(vec![put(0, 1), op("r", 20, Action::Read, held(7))]).lost, 1);
}

#[test]
fn an_older_revision_than_an_acknowledged_one_is_a_loss() {
    let at = |revision| Outcome::Ok(Answer::Written(Some(revision)));
    let seen = Outcome::Ok(Answer::Held(Some(Held { value: 1, revision: Some(3) })));
    let finals = look(vec![
        op("r", 0, Action::Put { value: 1 }, at(3)),
        op("r", 1, Action::Put { value: 2 }, at(4)),
        op("r", 20, Action::Read, seen),
    ]);
    assert_eq!(finals.lost, 1);
}

#[test]
fn what_is_overwritten_is_not_lost() {
    let unknown = op("r", 0, Action::Put { value: 9 }, Outcome::Unknown);
    assert!(look(vec![put(0, 1), put(10, 2), op("r", 20, Action::Read, held(2))]).is_good());
    assert!(look(vec![unknown, put(10, 2), op("r", 20, Action::Read, held(9))]).is_good());
    assert!(look(vec![put(0, 1), put(3, 2), op("r", 20, Action::Read, held(1))]).is_good());
    assert!(look(vec![put(0, 1), put(5, 2), op("r", 20, Action::Read, held(1))]).is_good());
}

#[test]
fn a_key_that_was_not_read_after_its_last_write_is_named() {
    let finals = look(vec![put(0, 1), op("r", 3, Action::Read, held(1))]);
    assert_eq!(finals.unread, ["r"]);
    assert!(!finals.is_good());
}

#[test]
fn lists_show_what_is_lost_and_what_is_there_twice() {
    let writes = || vec![append(0, 1, done()), append(10, 2, done()), append(11, 3, Outcome::Unknown)];
    let with = |list: &[u64]| {
        let read = op("l", 30, Action::ReadList, Outcome::Ok(Answer::List(list.to_vec())));
        let finals = look([writes(), vec![read]].concat());
        (finals.lost, finals.doubled)
    };
    assert_eq!(with(&[1, 2]), (0, 0));
    assert_eq!(with(&[1, 3, 2]), (0, 0));
    assert_eq!(with(&[1, 3]), (1, 0));
    assert_eq!(with(&[1, 2, 1]), (0, 1));
    assert_eq!(with(&[3, 2, 3]), (1, 1));
}

#[test]
fn counters_equal_what_was_acknowledged_but_for_what_is_unknown() {
    let with = |sum| {
        let add = |called, outcome| op("c", called, Action::Add { amount: 1 }, outcome);
        let read = op("c", 30, Action::ReadCounter, Outcome::Ok(Answer::Count(sum)));
        let finals = look(vec![add(0, done()), add(0, done()), add(9, Outcome::Unknown), read]);
        (finals.lost, finals.doubled)
    };
    assert_eq!(with(1), (1, 0));
    assert_eq!(with(2), (0, 0));
    assert_eq!(with(3), (0, 0));
    assert_eq!(with(5), (0, 2));
}

/// The last reads of a cluster that does everything right are good; with one of them changed they are not.
#[test]
fn a_cluster_that_does_everything_right_loses_nothing() {
    let kinds = &[Kind::Register, Kind::List, Kind::Counter];
    for seed in 0..20 {
        let shape = Shape { seed, operations: 900, keys: 9, clients: 5, unknown: 50, revisions: false, kinds };
        let mut history = make(shape);
        let finals = final_reads(&history).unwrap();
        assert!(finals.is_good(), "seed {seed}: {finals:?}");
        assert_eq!((finals.keys, finals.acknowledged > 200), (9, true));
        let last = history.operations.last_mut().unwrap();
        last.outcome = Outcome::Ok(Answer::Count(10_000));
        assert!(final_reads(&history).unwrap().doubled > 9000);
    }
}
