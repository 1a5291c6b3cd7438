//! What a client asks for next.

use rand::{Rng, RngExt as _};

use crate::{Kind, Op, Plan, Values, key, keys::Keys};

/// Chooses requests.
#[derive(Clone, Debug)]
pub(crate) struct Choice {
    plan: Plan,
    keys: Keys,
    values: Values,
}

impl Choice {
    pub(crate) fn new(plan: &Plan) -> Self {
        let (keys, values) = (Keys::new(plan.distribution, plan.keys), Values::new(plan.value_size));
        Self { plan: plan.clone(), keys, values }
    }

    pub(crate) fn next(&self, random: &mut impl Rng) -> Op {
        let first = self.keys.pick(random);
        match self.plan.kind {
            Kind::Put => self.put(first, random),
            Kind::Get => Op::Get { key: key(first) },
            Kind::Mixed if random.random() => self.put(first, random),
            Kind::Mixed => Op::Get { key: key(first) },
            Kind::Batch => {
                // Neighbours by number, which are spread over shards by their hash; none twice.
                let count = self.plan.batch.clamp(1, self.plan.keys.max(1));
                let at = |step: u32| ((u64::from(first) + u64::from(step)) % u64::from(self.plan.keys.max(1))) as u32;
                Op::Batch { rows: (0..count).map(|step| (key(at(step)), self.values.draw(random))).collect() }
            }
            // From the first key on: which rows follow another one is not the same where rows lie in another order.
            Kind::Scan => Op::Scan { from: key(0), rows: self.plan.rows },
        }
    }

    fn put(&self, number: u32, random: &mut impl Rng) -> Op {
        Op::Put { key: key(number), value: self.values.draw(random) }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, time::Duration};

    use rand::{SeedableRng as _, rngs::StdRng};

    use super::*;
    use crate::Distribution;

    fn next(kind: Kind, keys: u32, count: usize) -> Vec<Op> {
        let plan = Plan {
            kind,
            clients: 1,
            value_size: 3,
            keys,
            distribution: Distribution::Uniform,
            batch: 64,
            rows: 10,
            rate: None,
            warm_up: Duration::ZERO,
            time: Duration::ZERO,
        };
        let (choice, mut random) = (Choice::new(&plan), StdRng::seed_from_u64(3));
        (0..count).map(|_| choice.next(&mut random)).collect()
    }

    #[test]
    fn half_of_a_mixed_load_are_puts() {
        let puts = next(Kind::Mixed, 100, 1_000).iter().filter(|op| matches!(op, Op::Put { .. })).count();
        assert!((400..600).contains(&puts), "{puts}");
    }

    #[test]
    fn a_batch_has_each_key_once_and_no_more_than_there_are() {
        for (keys, wanted) in [(1_000, 64), (20, 20), (1, 1)] {
            for op in next(Kind::Batch, keys, 50) {
                let Op::Batch { rows } = op else { panic!("{op:?}") };
                assert!(rows.iter().all(|(_, value)| value.len() == 3));
                assert_eq!(rows.len(), wanted);
                assert_eq!(rows.into_iter().map(|(key, _)| key).collect::<BTreeSet<_>>().len(), wanted);
            }
        }
    }

    #[test]
    fn a_scan_begins_with_the_first_key() {
        for op in next(Kind::Scan, 12, 50) {
            assert_eq!(op, Op::Scan { from: key(0), rows: 10 });
        }
    }
}
