//! What a cut may leave of a file, checked against every state that the file was in.

use proptest::prelude::*;

use super::{
    after_cut::{Fate, SECTOR, Tear, after_cut},
    pending::FileOp,
    pending_tests::write,
    random::Random,
};

const TEARS: [Tear; 4] = [Tear::Drop, Tear::Prefix, Tear::Pieces, Tear::Mixed];

fn replay(stored: &[u8], ops: &[FileOp]) -> Vec<u8> {
    let mut bytes = stored.to_vec();
    for op in ops {
        match op {
            FileOp::Write { offset, data } => write(&mut bytes, *offset, data),
            FileOp::SetLen(length) => bytes.resize(*length as usize, 0),
        }
    }
    bytes
}

fn op() -> impl Strategy<Value = FileOp> {
    let length = 1usize..3 * SECTOR as usize;
    prop_oneof![
        4 => (0u64..3000, length, 1u8..).prop_map(|(offset, length, byte)| {
            FileOp::Write { offset, data: vec![byte; length].into() }
        }),
        1 => (0u64..4000).prop_map(FileOp::SetLen),
    ]
}

fn sector(bytes: &[u8], number: usize, length: usize) -> Vec<u8> {
    let size = SECTOR as usize;
    let end = ((number + 1) * size).min(length);
    let mut content = bytes.get(number * size..end.min(bytes.len())).unwrap_or_default().to_vec();
    content.resize(end - number * size, 0);
    content
}

proptest! {
    #[test]
    fn every_sector_and_the_length_were_so_once_since_the_sync(
        stored in prop::collection::vec(1u8.., 0..2000),
        ops in prop::collection::vec(op(), 0..8),
        seed: u64,
    ) {
        let states: Vec<_> = (0..=ops.len()).map(|count| replay(&stored, &ops[..count])).collect();
        for tear in TEARS {
            let remains = after_cut(stored.len() as u64, &ops, tear, &mut Random::new(seed));
            let left = replay(&stored, &remains.steps);
            let torn_end = matches!(tear, Tear::Prefix | Tear::Mixed) && remains.fate.torn == 1;
            prop_assert!(torn_end || states.iter().any(|state| state.len() == left.len()), "{tear:?}: a length of its own");
            for number in 0..left.len().div_ceil(SECTOR as usize) {
                let content = sector(&left, number, left.len());
                prop_assert!(
                    states.iter().any(|state| sector(state, number, left.len()) == content),
                    "{tear:?}: sector {number} never was so"
                );
            }
            let writes = ops.iter().filter(|op| matches!(op, FileOp::Write { .. })).count() as u64;
            prop_assert_eq!(remains.fate.kept + remains.fate.torn + remains.fate.lost, writes);
            let again = after_cut(stored.len() as u64, &ops, tear, &mut Random::new(seed));
            prop_assert_eq!(remains, again, "the same seed leaves the same");
        }
    }

    #[test]
    fn dropping_leaves_what_was_synced(stored: Vec<u8>, ops in prop::collection::vec(op(), 0..8), seed: u64) {
        let remains = after_cut(stored.len() as u64, &ops, Tear::Drop, &mut Random::new(seed));
        prop_assert_eq!(replay(&stored, &remains.steps), stored);
    }
}

/// How often each happened over seeds, for one write of four sectors after one of a few bytes.
fn fates(tear: Tear) -> (Fate, u64) {
    let ops = [
        FileOp::Write { offset: 0, data: vec![1; 100].into() },
        FileOp::Write { offset: SECTOR, data: vec![2; 4 * SECTOR as usize].into() },
    ];
    let (mut fate, mut reordered) = (Fate::default(), 0);
    for seed in 0..200 {
        let remains = after_cut(0, &ops, tear, &mut Random::new(seed));
        fate += remains.fate;
        let left = replay(&[], &remains.steps);
        reordered += u64::from(left.contains(&2) && !left.contains(&1));
    }
    (fate, reordered)
}

#[test]
fn over_seeds_writes_are_kept_torn_lost_and_reordered() {
    let (fate, reordered) = fates(Tear::Prefix);
    assert!(fate.kept > 20 && fate.torn > 20 && fate.lost > 20, "{fate:?}");
    assert_eq!(reordered, 0, "a prefix keeps the order");
    let (fate, reordered) = fates(Tear::Pieces);
    assert!(fate.kept > 10 && fate.torn > 20 && fate.lost > 20, "{fate:?}");
    assert!(reordered > 10, "{reordered}");
    let (fate, reordered) = fates(Tear::Mixed);
    assert!(fate.kept > 10 && fate.torn > 10 && fate.lost > 10 && reordered > 0, "{fate:?} {reordered}");
}

#[test]
fn a_length_may_survive_without_its_bytes() {
    let ops = [FileOp::Write { offset: 0, data: vec![1; 2 * SECTOR as usize].into() }];
    let zeros = (0..200).any(|seed| {
        let left = replay(&[], &after_cut(0, &ops, Tear::Pieces, &mut Random::new(seed)).steps);
        left.len() == 2 * SECTOR as usize && left.iter().all(|byte| *byte == 0)
    });
    assert!(zeros);
}

#[test]
fn old_bytes_never_come_back_behind_a_shrinking_that_survived() {
    let ops = [FileOp::SetLen(0), FileOp::Write { offset: 2 * SECTOR, data: vec![2; 10].into() }];
    for seed in 0..200 {
        let left =
            replay(&[1; 4 * SECTOR as usize], &after_cut(4 * SECTOR, &ops, Tear::Pieces, &mut Random::new(seed)).steps);
        assert!(left.len() == 4 * SECTOR as usize || !left.contains(&1), "seed {seed}");
    }
}
