use granary_history::{Action, Answer, Held, History, Operation, Origin, Outcome, RevisionReport, check_revisions};

fn put(key: &str, called: u64, revision: u64) -> Operation {
    let outcome = Outcome::Ok(Answer::Written(Some(revision)));
    let action = Action::Put { value: called };
    Operation { client: 1, key: key.to_owned(), called, returned: called + 5, action, outcome }
}

fn read(key: &str, called: u64, value: u64, revision: u64) -> Operation {
    let outcome = Outcome::Ok(Answer::Held(Some(Held { value, revision: Some(revision) })));
    Operation { client: 2, key: key.to_owned(), called, returned: called + 5, action: Action::Read, outcome }
}

/// Keys that begin with the same letter are of one shard.
fn look(operations: Vec<Operation>) -> RevisionReport {
    let history = History { origin: Origin::default(), operations };
    check_revisions(&history, |key| u32::from(key.as_bytes()[0])).unwrap()
}

#[test]
fn two_leaders_that_give_the_same_revision_to_two_keys_are_seen() {
    let report = look(vec![put("a1", 0, 7), put("a2", 1, 7)]);
    assert_eq!((report.violated, report.compared), (1, 2));
    assert!(report.violations[0].to_string().contains("same revision"), "{}", report.violations[0]);
    assert_eq!(look(vec![put("a1", 0, 7), read("a2", 20, 3, 7)]).violated, 1);
    assert_eq!(look(vec![put("a1", 0, 7), read("a1", 20, 3, 7)]).violated, 1);
}

#[test]
fn a_shard_that_came_back_older_is_seen_on_any_key() {
    assert_eq!(look(vec![put("a1", 0, 7), put("a2", 10, 6)]).violated, 1);
    assert_eq!(look(vec![read("a1", 0, 99, 7), put("a2", 10, 6)]).violated, 1);
}

#[test]
fn concurrent_writes_and_other_shards_may_have_any_order() {
    let report = look(vec![put("a1", 0, 7), put("a2", 5, 6), put("b1", 20, 1), read("a1", 30, 0, 7)]);
    assert_eq!((report.violated, report.compared), (0, 4));
}
