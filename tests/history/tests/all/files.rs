use granary_history::{Answer, Budget, FileError, History, NotGood, Outcome, Verdict, check, verify};

use crate::world::{Kind, Shape, make};

fn some() -> History {
    let kinds = &[Kind::Register, Kind::List, Kind::Counter];
    make(Shape { seed: 7, operations: 300, keys: 9, clients: 5, unknown: 100, revisions: true, kinds })
}

#[test]
fn a_history_comes_back_as_it_was_saved() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("history.jsonl");
    let history = some();
    history.save(&path).unwrap();
    assert_eq!(History::load(&path).unwrap(), history);
    let text = std::fs::read_to_string(&path).unwrap();
    let first = text.lines().next().unwrap();
    assert!(first.starts_with(r#"{"format":1,"seed":7,"replay":"#), "{first}");
    assert_eq!(text.lines().count(), 310);
    assert_eq!(check(&history, Budget::default()).unwrap().verdict(), Verdict::Linearizable);
}

#[test]
fn a_file_that_was_cut_short_is_refused() {
    let mut bytes = Vec::new();
    some().write_to(&mut bytes).unwrap();
    let whole_lines = bytes[..bytes.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    let error = History::read_from(&bytes[..whole_lines]).unwrap_err();
    assert!(matches!(error, FileError::Count { expected: 309, found: 308 }), "{error}");
    let error = History::read_from(&bytes[..whole_lines + 20]).unwrap_err();
    assert!(matches!(error, FileError::Line { line: 310, .. }), "{error}");
}

#[test]
fn a_file_of_another_format_is_refused() {
    let error = History::read_from(&br#"{"format":2,"seed":1,"replay":"x","operations":0}"#[..]).unwrap_err();
    assert!(matches!(error, FileError::Format { found: 2 }), "{error}");
}

#[test]
fn what_is_not_good_is_saved_with_what_replays_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("runs/7.jsonl");
    let mut history = some();
    assert!(verify(&history, Budget::default(), &path).unwrap().finals.unread.is_empty());
    assert!(!path.exists());
    history.operations.last_mut().unwrap().outcome = Outcome::Ok(Answer::Count(0));
    let error = verify(&history, Budget::default(), &path).unwrap_err();
    assert_eq!(History::load(&path).unwrap(), history);
    let text = error.to_string();
    assert!(text.starts_with("seed 7; replay: Shape { seed: 7"), "{text}");
    assert!(text.contains("runs/7.jsonl") && text.contains("acknowledged writes lost"), "{text}");
    let NotGood::Refused(refused) = error else { panic!("{error}") };
    assert_eq!((refused.report.violated, refused.finals.lost > 0), (1, true));
}

#[test]
fn what_was_not_decided_is_not_good() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("history.jsonl");
    let error = verify(&some(), Budget { steps_per_key: 1 }, &path).unwrap_err();
    assert!(error.to_string().contains("not decided within the allowed steps"), "{error}");
    assert!(path.exists());
}
