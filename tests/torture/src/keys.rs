//! Which keys clients use: few at a time, so that they meet, and each for a bounded number of operations, so that
//! checking it stays fast; then another takes its place.

use granary_history::Kind;
use parking_lot::Mutex;
use rand::RngExt;

/// Keys in use at a time, of each kind, and operations of each.
const LIVE: [(Kind, &str, usize, u64); 3] =
    [(Kind::Register, "register", 16, 400), (Kind::List, "list", 5, 120), (Kind::Counter, "counter", 5, 300)];

/// The keys.
pub struct Keys {
    state: Mutex<State>,
}

struct State {
    live: Vec<Live>,
    /// Those that are no longer used.
    retired: Vec<(String, Kind)>,
}

#[derive(Clone)]
struct Live {
    kind: Kind,
    prefix: String,
    generation: u64,
    uses: u64,
    most: u64,
}

impl Live {
    fn key(&self) -> String {
        format!("{}/{}", self.prefix, self.generation)
    }
}

impl Default for Keys {
    fn default() -> Self {
        let live = LIVE.iter().flat_map(|(kind, name, count, most)| {
            (0..*count).map(move |number| Live {
                kind: *kind,
                prefix: format!("{name}/{number}"),
                generation: 0,
                uses: 0,
                most: *most,
            })
        });
        Self { state: Mutex::new(State { live: live.collect(), retired: Vec::new() }) }
    }
}

impl Keys {
    /// A key for one operation.
    pub fn pick(&self, rng: &mut impl RngExt) -> (String, Kind) {
        let state = &mut *self.state.lock();
        let at = rng.random_range(0..state.live.len());
        let live = &mut state.live[at];
        if live.uses >= live.most {
            state.retired.push((live.key(), live.kind));
            live.generation += 1;
            live.uses = 0;
        }
        live.uses += 1;
        (live.key(), live.kind)
    }

    /// All keys that were ever used.
    pub fn all(&self) -> Vec<(String, Kind)> {
        let state = self.state.lock();
        let live = state.live.iter().filter(|live| live.uses > 0).map(|live| (live.key(), live.kind));
        state.retired.iter().cloned().chain(live).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rand::{SeedableRng as _, rngs::StdRng};

    use super::*;

    #[test]
    fn no_key_is_used_more_often_than_is_checked_fast_and_none_is_forgotten() {
        let (keys, mut rng) = (Keys::default(), StdRng::seed_from_u64(1));
        let mut uses = BTreeMap::<String, u64>::new();
        (0..50_000).for_each(|_| *uses.entry(keys.pick(&mut rng).0).or_default() += 1);
        assert!(uses.values().all(|uses| *uses <= 400));
        let mut all: Vec<String> = keys.all().into_iter().map(|(key, _)| key).collect();
        all.sort();
        assert!(uses.keys().eq(all.iter()));
    }
}
