//! Every kind of file of a node, with a flipped bit or without its end, on a minority of the nodes (HAZARDS H21).
//!
//! What the node must have promised is in `raft/` and in the small files beside it: damaged, they keep the node down, by
//! name, and the node is replaced like one whose disk is gone (`replaced`). What is in `data/` is with the others too: the
//! node makes it anew by itself. In no case is anything wrong served.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use granary_powercut::{DamageKind, Options, Tear};
use granary_tests::{cluster::Shape, node::LIMIT, wait::until};
use rand::{RngExt as _, rngs::StdRng};
use serde_json::{Value, json};

use crate::{
    errors::write_bulk,
    load::Load,
    powered::{Powered, rest},
    report,
    run::{Run, is_long},
};

const SHAPE: Shape = Shape { nodes: 3, factor: 3, shards: 2 };
/// So that some MiB make tables.
const DISK: u64 = 300 << 20;

/// What has to become of a node with such a file damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Duty {
    /// It refuses to start.
    Refuses,
    /// It refuses to start, unless what is damaged is of no use to anybody any more.
    RefusesOrNeedsNot,
    /// It runs and has everything again by itself.
    Mends,
}

/// Every kind of file that a node keeps.
const KINDS: [(&str, &str, Duty); 15] = [
    ("identity", "**/granary/identity", Duty::Refuses),
    ("incarnation", "**/granary/incarnation", Duty::Refuses),
    ("blank-uuid", "**/granary/blank-uuid", Duty::Refuses),
    ("mark of synced writes", "**/granary/raft-synced", Duty::Mends),
    ("log of raft", "**/raft/*.log", Duty::Refuses),
    ("table of raft", "**/raft/*.sst", Duty::RefusesOrNeedsNot),
    // What is lost of its end is in the files that it names, or it misses one (engine/tests/damage.rs).
    ("manifest of raft", "**/raft/MANIFEST-*", Duty::RefusesOrNeedsNot),
    ("CURRENT of raft", "**/raft/CURRENT", Duty::Refuses),
    ("options of raft", "**/raft/OPTIONS-*", Duty::RefusesOrNeedsNot),
    ("log of data", "**/data/*.log", Duty::Mends),
    ("table of data", "**/data/*.sst", Duty::Mends),
    ("manifest of data", "**/data/MANIFEST-*", Duty::Mends),
    ("note of the manifest of data", "**/data/granary-tables", Duty::Mends),
    ("CURRENT of data", "**/data/CURRENT", Duty::Mends),
    ("options of data", "**/data/OPTIONS-*", Duty::Mends),
];

/// What became of it.
#[derive(Debug)]
enum Outcome {
    /// It ended, and said this last.
    Refused(String),
    /// It is whole, after so many more starts.
    Whole(usize),
}

struct Trial {
    outcome: Outcome,
    detected: Duration,
    repaired: Option<Duration>,
}

/// Starts a node on a damaged disk, and supervises it until it is whole or has refused.
async fn start_damaged(powered: &mut Powered, victim: usize) -> Trial {
    powered.start(&[victim]);
    let (began, mut starts, mut detected) = (Instant::now(), 0, None);
    loop {
        if powered.cluster.nodes[victim].has_ended() {
            let said = powered.cluster.nodes[victim].log();
            let last = said.lines().last().unwrap_or_default().to_owned();
            let since = *detected.get_or_insert_with(|| began.elapsed());
            // It ends so when the next start does something about it.
            let mends = said.contains("next start makes") || said.contains("start it again");
            if !mends || starts == 4 {
                return Trial { outcome: Outcome::Refused(last), detected: since, repaired: None };
            }
            starts += 1;
            powered.cluster.nodes[victim].start().unwrap();
        }
        let look = tokio::time::timeout(Duration::from_millis(300), powered.cluster.whole()).await;
        // Also a process that ended just now leaves the others whole.
        if matches!(look, Ok(Ok(_)))
            && !powered.cluster.nodes[victim].has_ended()
            && powered.cluster.nodes[victim].runs()
        {
            let took = began.elapsed();
            return Trial { outcome: Outcome::Whole(starts), detected: detected.unwrap_or(took), repaired: Some(took) };
        }
        assert!(began.elapsed() < LIMIT, "neither whole nor refused: {}", powered.cluster.nodes[victim].log());
    }
}

/// Damages one kind of file of a node whose power was cut, and says what became of it.
async fn try_kind(
    powered: &mut Powered,
    victim: usize,
    (name, files, duty): (&str, &str, Duty),
    truncate: bool,
    random: &mut StdRng,
) -> Value {
    if name.starts_with("log of") || name == "manifest of data" {
        // What was synced of them is itself noted once a second, and so long a new log may have no name that lasts.
        rest(1500).await;
    }
    powered.cut(&[victim], Tear::Drop, random.random());
    let before = powered.keep(victim);
    let damage = loop {
        let damage = powered.damage_newest(victim, files, truncate, random.random());
        match damage.kind {
            // A cut behind the newest mark is told from a torn tail by the leaders only, see `lies`.
            DamageKind::Truncate { from, to } if name == "log of raft" && to > from / 3 => {
                powered.put_back(victim, &before);
            }
            _ => break damage,
        }
    };
    let trial = start_damaged(powered, victim).await;
    let what = format!("{name} ({damage:?}): {:?} after {:?}", trial.outcome, trial.detected);
    println!("{what}");
    let (refused, starts) = match &trial.outcome {
        Outcome::Refused(said) => {
            // By name, so that a person knows which file.
            let named = ["raft/", "identity", "incarnation", "blank-uuid", "torn", "Corruption", "missing"];
            assert!(named.iter().any(|word| said.contains(word)), "{what}");
            (true, 0)
        }
        Outcome::Whole(starts) => (false, *starts),
    };
    // A table is read when a row in it is wanted, or by scrub: until then a flipped bit in it is not seen.
    let mended = powered.cluster.nodes[victim].log().contains("made anew");
    let shows = matches!((name, truncate), ("manifest of data" | "CURRENT of data", _) | ("table of data", true));
    // A table that was being made when the power went is in no list: the start took it away.
    let file = Path::new(&damage.path).file_name().unwrap();
    let is_of_use = name != "table of data" || powered.cluster.nodes[victim].dir.join("data").join(file).exists();
    assert!(mended || !shows || !is_of_use, "it does not say what was damaged: {what}");
    match duty {
        Duty::Refuses => assert!(refused, "{what}"),
        Duty::RefusesOrNeedsNot => {}
        Duty::Mends => assert!(!refused, "{what}"),
    }
    if refused {
        // The disk of before, which nobody has used since: the next kind is tried on it.
        powered.cut(&[victim], Tear::Drop, 0);
        powered.put_back(victim, &before);
        powered.start(&[victim]);
        powered.cluster.whole().await.unwrap();
    }
    json!({
        "kind": name, "truncated": truncate, "refused": refused, "made_anew": mended, "starts": starts,
        "detected_ms": trial.detected.as_millis() as u64, "repaired_ms": trial.repaired.map(|time| time.as_millis() as u64),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_damaged_file_on_one_of_three_is_refused_by_name_or_mended_and_never_served() {
    let Some(run) = Run::begin() else { return };
    let mut random = run.random(0);
    let options = Options { capacity: Some(DISK), seed: run.seed, ..Options::default() };
    let mut powered = Powered::founded(SHAPE, 0, &options, &[]).await;
    let client = powered.cluster.client().await.unwrap();
    write_bulk(&client, 24).await;
    let load = Load::start(&run, powered.cluster.endpoints(), SHAPE.shards, 0).await;
    let victim = random.random_range(0..SHAPE.nodes);
    // Tables of both stores.
    powered.cut(&[victim], Tear::Mixed, random.random());
    powered.start(&[victim]);
    powered.cluster.whole().await.unwrap();
    let mut figures = Vec::new();
    for kind in KINDS {
        // Both in a long run; in a short one what the seed says.
        let ways = if is_long() { vec![false, true] } else { vec![random.random()] };
        for truncate in ways {
            load.goes_on(20).await;
            figures.push(try_kind(&mut powered, victim, kind, truncate, &mut random).await);
        }
    }
    load.forget();
    load.works_again().await;
    let checked = load.finish(&run).await;
    powered.equal_again().await;
    report::note(
        run.name(),
        json!({ "seed": run.seed, "damaged": figures, "operations_checked": checked.operations, "unknown": checked.unknown }),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn two_of_five_with_damaged_tables_mend_themselves_at_the_same_time() {
    let Some(run) = Run::begin() else { return };
    let mut random = run.random(0);
    let shape = Shape { nodes: 5, factor: 5, shards: 2 };
    let options = Options { capacity: Some(DISK), seed: run.seed, ..Options::default() };
    let mut powered = Powered::founded(shape, 0, &options, &[]).await;
    write_bulk(&powered.cluster.client().await.unwrap(), 12).await;
    let load = Load::start(&run, powered.cluster.endpoints(), shape.shards, 0).await;
    let victims = [1, 3];
    powered.cut(&victims, Tear::Mixed, random.random());
    powered.start(&victims);
    powered.cluster.whole().await.unwrap();
    // What was synced of the lists of tables is noted once a second.
    rest(1500).await;
    powered.cut(&victims, Tear::Drop, random.random());
    let mut damages = Vec::new();
    for victim in victims {
        let manifest = powered.damage_newest(victim, "**/data/MANIFEST-*", true, random.random());
        let table = powered.damage_newest(victim, "**/data/*.sst", false, random.random());
        damages.extend([manifest, table].map(|damage| format!("{:?}", damage.kind)));
    }
    let began = Instant::now();
    powered.start(&victims);
    let starts = powered.whole_again().await;
    let repaired = began.elapsed();
    until("what was set aside is gone", LIMIT, || {
        let left =
            victims.iter().filter(|victim| powered.cluster.nodes[**victim].dir.join("damaged-1").exists()).count();
        std::future::ready(if left == 0 { Ok(()) } else { Err(format!("{left} nodes keep it")) })
    })
    .await
    .unwrap();
    let checked = load.finish(&run).await;
    powered.equal_again().await;
    report::note(
        run.name(),
        json!({
            "seed": run.seed, "damages": damages, "starts": starts, "repaired_ms": repaired.as_millis() as u64,
            "operations_checked": checked.operations,
        }),
    );
}
