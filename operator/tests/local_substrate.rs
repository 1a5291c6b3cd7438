//! The local substrate over a stand-in for the node: a shell script that only waits.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use granary_operator::substrate::{
    Founding, Start, Substrate as _, SubstrateError,
    local::{self, Local, layout::Layout, wishes},
};
use granary_planner::observed::{Disk, Place, Process, Seen};

/// Waits until it is asked to stop; writes an identity as a node that has joined does.
const WAITS: &str = "#!/bin/sh\ntrap 'exit 0' TERM\n: > \"$2/identity\"\nwhile :; do sleep 0.02; done\n";
const DIES: &str = "#!/bin/sh\necho no room on the disk\nexit 7\n";

struct World {
    dir: tempfile::TempDir,
}

#[allow(clippy::expect_used)]
impl World {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("a directory") }
    }

    fn cluster(&self) -> PathBuf {
        self.dir.path().join("cluster")
    }

    fn binary(&self, script: &str) -> PathBuf {
        let path = self.dir.path().join("granary-node");
        fs::write(&path, script).expect("a script");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a program");
        path
    }

    fn open(&self, script: &str) -> Local {
        Local::open(&self.cluster(), self.binary(script)).expect("the directory is free")
    }
}

fn process(place: &Place) -> Option<Process> {
    place.process.fresh().copied()
}

/// Looks until `wanted` holds, for 10 s at most.
#[allow(clippy::expect_used)]
async fn until(local: &Local, what: &str, wanted: impl Fn(&[Place], &[String]) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let look = local.look().await.expect("the directory can be looked at");
        if wanted(&look.places, &look.notes) {
            return;
        }
        assert!(Instant::now() < deadline, "{what} did not happen: {:?} {:?}", look.places, look.notes);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn has_identity(dir: &Path, index: u32) -> bool {
    dir.join(format!("nodes/node-{index}/identity")).exists()
}

#[tokio::test]
async fn a_second_loop_on_one_directory_is_refused_with_the_pid_of_the_first() {
    let world = World::new();
    let _first = world.open(WAITS);
    let error = Local::open(&world.cluster(), PathBuf::new()).err().unwrap();
    assert!(matches!(error, SubstrateError::Taken(_)));
    assert!(error.to_string().contains(&std::process::id().to_string()), "{error}");
}

#[tokio::test]
async fn a_process_outlives_its_loop_and_is_adopted_by_the_next_one() {
    let world = World::new();
    let first = world.open(WAITS);
    assert_eq!(first.start_node(0).await.unwrap(), Start::Started);
    let pid = first.pids()["node-0"];
    drop(first);

    let second = world.open(WAITS);
    assert_eq!(second.pids()["node-0"], pid);
    assert_eq!(second.start_node(0).await.unwrap(), Start::Running);
    drop(second);

    // Killed between the start and the note: found by its command line.
    fs::remove_file(world.cluster().join("nodes/node-0.pid")).unwrap();
    let third = world.open(WAITS);
    assert_eq!(third.pids()["node-0"], pid);
    assert_eq!(third.stop_all().await.stopped, ["node-0"]);
}

#[tokio::test]
async fn a_pid_that_belongs_to_another_process_now_is_not_taken_for_ours() {
    let world = World::new();
    let first = world.open(WAITS);
    first.start_node(0).await.unwrap();
    first.stop_all().await;
    drop(first);
    // This very test process is alive and has this pid, but another start time and command line.
    let note = format!("{{\"pid\":{},\"started\":1}}", std::process::id());
    fs::write(world.cluster().join("nodes/node-0.pid"), note).unwrap();
    let second = world.open(WAITS);
    assert!(second.pids().is_empty());
    assert_eq!(process(&second.look().await.unwrap().places[0]), Some(Process::Stopped));
}

#[tokio::test]
async fn a_place_keeps_its_ports_and_gets_others_when_somebody_took_one() {
    let world = World::new();
    let local = world.open(WAITS);
    local.start_node(0).await.unwrap();
    let before = local.look().await.unwrap().places[0].clone();
    local.stop_all().await;
    drop(local);

    let local = world.open(WAITS);
    local.start_node(0).await.unwrap();
    assert_eq!(local.look().await.unwrap().places[0].peer_address, before.peer_address);
    local.stop_all().await;
    drop(local);

    let taken = std::net::TcpListener::bind(before.peer_address.clone().unwrap()).unwrap();
    let local = world.open(WAITS);
    local.start_node(0).await.unwrap();
    assert_ne!(local.look().await.unwrap().places[0].peer_address, before.peer_address);
    local.stop_all().await;
    drop(taken);
}

#[tokio::test]
async fn a_process_that_does_not_stay_up_is_left_alone_for_a_while_and_status_says_why() {
    let world = World::new();
    let local = world.open(DIES);
    let deadline = Instant::now() + Duration::from_secs(10);
    let notes = loop {
        let start = local.start_node(0).await.unwrap();
        let notes = local.look().await.unwrap().notes;
        if matches!(start, Start::Later(_)) && !notes.is_empty() {
            break notes;
        }
        assert!(Instant::now() < deadline, "{start:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert!(notes[0].contains("node-0") && notes[0].contains("no room on the disk"), "{notes:?}");
}

#[tokio::test]
async fn a_stopped_place_is_blank_only_when_its_directory_holds_no_identity() {
    let world = World::new();
    let local = world.open(WAITS);
    local.start_node(0).await.unwrap();
    until(&local, "joining", |_, _| has_identity(&world.cluster(), 0)).await;
    local.stop_all().await;
    assert!(matches!(local.look().await.unwrap().places[0].disk, Seen::Unknown(_)));
    fs::remove_dir_all(world.cluster().join("nodes/node-0")).unwrap();
    assert_eq!(local.look().await.unwrap().places[0].disk, Seen::Fresh(Disk::Blank { uuid: None }));
}

#[tokio::test]
async fn a_retired_place_stops_and_its_directory_is_kept_aside_also_when_the_loop_died_in_between() {
    let world = World::new();
    let local = world.open(WAITS);
    local.start_node(0).await.unwrap();
    until(&local, "joining", |_, _| has_identity(&world.cluster(), 0)).await;
    local.retire(0).await.unwrap();
    assert!(local.look().await.unwrap().places.is_empty(), "a retired place is not planned with");
    drop(local);

    let local = world.open(WAITS);
    let deadline = Instant::now() + Duration::from_secs(10);
    while !world.cluster().join("removed/node-0.1/identity").exists() {
        local.look().await.unwrap();
        assert!(Instant::now() < deadline, "the directory was not put aside");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(!world.cluster().join("nodes/node-0").exists());
    assert_eq!(local.start_node(0).await.unwrap(), Start::Started);
    local.stop_all().await;
}

#[tokio::test]
async fn what_the_cluster_is_survives_the_loop() {
    let world = World::new();
    let founding = |shards| Founding { founders: Vec::new(), replication_factor: 3, shards, feature_level: 1 };
    let local = world.open(WAITS);
    local.mint_cluster_id().await.unwrap();
    local.keep_founding(founding(64), false).await.unwrap();
    local.note_founded().await.unwrap();
    let (id, installation) = (local.look().await.unwrap().cluster_id, local.installation());
    drop(local);

    let local = world.open(WAITS);
    local.mint_cluster_id().await.unwrap();
    let look = local.look().await.unwrap();
    assert!(id.is_some() && look.cluster_id == id && look.founded && local.installation() == installation);
    assert_eq!(local.keep_founding(founding(128), false).await.unwrap().shards, 64);
    assert_eq!(local.keep_founding(founding(128), true).await.unwrap().shards, 128);
}

#[tokio::test]
async fn down_stops_what_a_killed_loop_left_and_destroy_removes_only_a_directory_of_ours() {
    let world = World::new();
    let local = world.open(WAITS);
    local.start_node(0).await.unwrap();
    drop(local);
    assert_eq!(local::down(&world.cluster()).await.unwrap().stopped, ["node-0"]);
    assert!(world.cluster().join("nodes/node-0").exists(), "down keeps the data");

    let other = world.dir.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("precious"), "x").unwrap();
    let error = local::destroy(&other).await.unwrap_err();
    assert!(error.to_string().contains("cluster.json"), "{error}");
    assert!(other.join("precious").exists());

    local::destroy(&world.cluster()).await.unwrap();
    assert!(!world.cluster().exists());
}

#[tokio::test]
async fn a_damaged_record_is_an_error_that_names_the_file() {
    let world = World::new();
    drop(world.open(WAITS));
    fs::write(world.cluster().join("cluster.json"), "{\"format\":1").unwrap();
    let error = Local::open(&world.cluster(), PathBuf::new()).err().unwrap();
    assert!(error.to_string().contains("cluster.json is damaged"), "{error}");
}

#[test]
fn the_wish_to_drain_is_kept_and_taken_back() {
    let world = World::new();
    let layout = Layout::create(&world.cluster()).unwrap();
    wishes::drain(&layout, 4, true).unwrap();
    wishes::drain(&layout, 2, true).unwrap();
    wishes::drain(&layout, 4, true).unwrap();
    assert_eq!(wishes::read(&layout).unwrap().draining, [2, 4]);
    wishes::drain(&layout, 4, false).unwrap();
    assert_eq!(wishes::read(&layout).unwrap().draining, [2]);
}
