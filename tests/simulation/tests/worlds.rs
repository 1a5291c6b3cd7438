//! Worlds: each seed a cluster, clients, an operator and faults of announced kinds. `GRANARY_SEED` runs one,
//! `GRANARY_SEEDS` that many; `GRANARY_FIRST` ends them at the first that fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

#[path = "worlds/scenarios.rs"]
mod scenarios;

use std::collections::BTreeMap;

use granary_simulation::{faults, run::run};

const SEEDS: u64 = 200;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// Safety at each step, a linearizable history, and everything finished within the stated time behind the faults.
#[test]
fn every_world_is_safe_and_gets_everything_finished() {
    let seeds: Vec<u64> = match number("GRANARY_SEED") {
        Some(seed) => vec![seed],
        None => (1..=number("GRANARY_SEEDS").unwrap_or(SEEDS)).collect(),
    };
    let (mut counts, mut hours, mut gap, mut finish, mut failed) = (BTreeMap::<_, u64>::new(), 0.0, 0, 0, Vec::new());
    std::panic::set_hook(Box::new(|_| {}));
    for seed in &seeds {
        match run(*seed) {
            Ok(outcome) => {
                hours += outcome.simulated_ns as f64 / 3.6e12;
                gap = gap.max(outcome.longest_gap_ns);
                finish = finish.max(outcome.finished_ns);
                outcome.counts.into_iter().for_each(|(kind, times)| *counts.entry(kind).or_default() += times);
            }
            Err(error) => {
                println!("seed {seed}: {error}\nreplay: cargo run --release -p granary-simulation -- --replay {seed}");
                failed.push(*seed);
                if std::env::var_os("GRANARY_FIRST").is_some() {
                    break;
                }
            }
        }
    }
    let _ = std::panic::take_hook();
    println!("{counts:#?}");
    let (gap, finish) = (gap as f64 / 1e9, finish as f64 / 1e9);
    println!(
        "seeds {seeds:?}: {hours:.2} simulated hours; behind the faults: longest gap {gap:.1} s, finished {finish:.1} s"
    );
    assert!(failed.is_empty(), "failed: cargo run --release -p granary-simulation -- --replay {}", failed[0]);
    if seeds.len() as u64 >= SEEDS {
        let happened = |name: &str| counts.get(name).is_some_and(|times| *times > 0);
        let missing: Vec<_> = faults::ALL.iter().filter(|(_, name)| !happened(name)).collect();
        assert!(missing.is_empty(), "never happened: {missing:?}");
    }
}

#[test]
fn one_seed_gives_one_run_byte_for_byte() {
    for seed in [7, 8] {
        let (first, second) = (run(seed).unwrap(), run(seed).unwrap());
        assert_eq!((first.trace, first.happened), (second.trace, second.happened), "seed {seed}");
        assert_eq!(first.counts, second.counts, "seed {seed}");
    }
}
