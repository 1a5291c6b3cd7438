//! Replicas of one shard compared at one applied index: which of them holds wrong rows. Pure.
//!
//! Unknown is no difference, and without a majority of voters that hold the same nobody is called wrong: nothing that
//! throws rows away may follow then.

use std::collections::BTreeMap;

use granary_common::ReplicaId;

/// What is known of one replica at the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// The hash of all its rows.
    Hash(u64),
    /// Its rows cannot be read: their checksums say so.
    Unreadable,
    /// Nothing.
    Unknown,
}

/// One replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compared {
    /// Its id.
    pub replica: ReplicaId,
    /// Whether it votes: only voters make a majority.
    pub voter: bool,
    /// What is known of it.
    pub word: Word,
}

/// What the comparison says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every voter, and every learner that said something, holds the same.
    Equal,
    /// The same of those that said something, of which there may be none; of some voters nothing is known.
    Incomplete,
    /// Most voters hold `hash`, and these hold something else or cannot be read.
    Minority {
        /// What is right.
        hash: u64,
        /// In the order given.
        wrong: Vec<ReplicaId>,
    },
    /// Replicas differ or cannot be read, and no majority of the voters is known to hold the same.
    Undecided,
}

/// Compares.
pub fn compare(replicas: &[Compared]) -> Outcome {
    let mut votes: BTreeMap<u64, usize> = BTreeMap::new();
    for replica in replicas {
        if let Word::Hash(hash) = replica.word {
            *votes.entry(hash).or_default() += usize::from(replica.voter);
        }
    }
    let voters = replicas.iter().filter(|replica| replica.voter);
    let is_unreadable = replicas.iter().any(|replica| replica.word == Word::Unreadable);
    if votes.len() <= 1 && !is_unreadable {
        let unknown = voters.clone().any(|voter| voter.word == Word::Unknown);
        return if unknown || votes.is_empty() { Outcome::Incomplete } else { Outcome::Equal };
    }
    let needed = voters.count() / 2 + 1;
    let Some((&hash, _)) = votes.iter().find(|(_, count)| **count >= needed) else { return Outcome::Undecided };
    let is_wrong = |replica: &&Compared| !matches!(replica.word, Word::Unknown) && replica.word != Word::Hash(hash);
    Outcome::Minority { hash, wrong: replicas.iter().filter(is_wrong).map(|replica| replica.replica).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Word = Word::Hash(1);
    const B: Word = Word::Hash(2);
    const C: Word = Word::Hash(3);
    const BAD: Word = Word::Unreadable;
    const NONE: Word = Word::Unknown;

    /// Voters 1, 2, … with these words, then learners.
    fn of(voters: &[Word], learners: &[Word]) -> Outcome {
        let voter = |(replica, word): (u64, &Word)| Compared { replica: ReplicaId(replica), voter: true, word: *word };
        let learner = |(replica, word)| Compared { voter: false, ..voter((replica, word)) };
        let mut all: Vec<Compared> = (1..).zip(voters).map(voter).collect();
        all.extend((11..).zip(learners).map(learner));
        compare(&all)
    }

    fn minority(hash: u64, wrong: &[u64]) -> Outcome {
        Outcome::Minority { hash, wrong: wrong.iter().map(|id| ReplicaId(*id)).collect() }
    }

    #[test]
    fn the_same_everywhere_is_equal_and_silence_is_no_difference() {
        assert_eq!(of(&[A, A, A], &[]), Outcome::Equal);
        assert_eq!(of(&[A], &[]), Outcome::Equal);
        assert_eq!(of(&[A, A, A], &[NONE]), Outcome::Equal);
        assert_eq!(of(&[A, A, NONE], &[]), Outcome::Incomplete);
        assert_eq!(of(&[A, NONE, NONE], &[A]), Outcome::Incomplete);
        assert_eq!(of(&[NONE, NONE, NONE], &[]), Outcome::Incomplete);
        assert_eq!(of(&[], &[]), Outcome::Incomplete);
    }

    #[test]
    fn who_contradicts_a_majority_of_voters_is_wrong() {
        assert_eq!(of(&[A, B, A], &[]), minority(1, &[2]));
        assert_eq!(of(&[A, A, BAD], &[]), minority(1, &[3]));
        assert_eq!(of(&[B, A, B, BAD, B], &[]), minority(2, &[2, 4]));
        assert_eq!(of(&[A, A, NONE], &[B]), minority(1, &[11]));
        assert_eq!(of(&[A, A, NONE, B, A], &[]), minority(1, &[4]));
    }

    #[test]
    fn without_a_majority_nobody_is_called_wrong() {
        assert_eq!(of(&[A, B, NONE], &[]), Outcome::Undecided);
        assert_eq!(of(&[A, B, C], &[]), Outcome::Undecided);
        assert_eq!(of(&[A, BAD, BAD], &[]), Outcome::Undecided);
        assert_eq!(of(&[BAD], &[]), Outcome::Undecided);
        assert_eq!(of(&[A, B], &[]), Outcome::Undecided);
        assert_eq!(of(&[A, A, B, B], &[A, A]), Outcome::Undecided, "learners do not count");
        assert_eq!(of(&[A, NONE, NONE], &[B]), Outcome::Undecided);
    }

    #[test]
    fn no_replica_that_a_majority_holds_equal_to_is_ever_wrong() {
        // All words of up to five voters: who is wrong leaves a majority of voters that hold the same.
        let words = [A, B, BAD, NONE];
        for voters in 1..=5u32 {
            for number in 0..4u32.pow(voters) {
                let said: Vec<Word> = (0..voters).map(|at| words[(number / 4u32.pow(at) % 4) as usize]).collect();
                if let Outcome::Minority { hash, wrong } = of(&said, &[]) {
                    let good = said.iter().filter(|word| **word == Word::Hash(hash)).count();
                    assert!(good > voters as usize / 2 && good + wrong.len() <= voters as usize, "{said:?}");
                    assert!(wrong.iter().all(|id| said[id.0 as usize - 1] != NONE), "{said:?}");
                }
            }
        }
    }
}
