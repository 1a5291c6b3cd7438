use granary_proto::{
    admin::{BootstrapRequest, ReleaseStopRequest, ReserveStopRequest},
    storage::{MetaCommand, meta_command::Operation},
};

use super::{fixture::*, *};
use crate::errors::code;

#[test]
fn a_cluster_is_founded_the_same_by_each_founder_and_only_from_a_sound_request() {
    let state = founded(&bootstrap()).unwrap();
    assert_eq!(founded(&bootstrap()).unwrap(), state);
    let map = state.map.unwrap();
    assert_eq!((map.version, map.nodes.len(), map.shards.len()), (1, 3, 1));
    let target: Vec<_> = map.shards[0].target.as_ref().unwrap().replicas.iter().map(|r| (r.node_id, r.id)).collect();
    assert_eq!(target, vec![(1, 1), (2, 2), (3, 3)]);
    assert_eq!((state.next_node_id, state.next_replica_id), (4, 4));

    type Spoil = fn(&mut BootstrapRequest);
    let wrong: [(&str, Spoil); 7] = [
        ("cluster_id", |request| request.cluster_id = "demo".into()),
        ("replication_factor", |request| request.replication_factor = 2),
        ("founders", |request| request.founders.truncate(2)),
        ("shard_count", |request| request.shard_count = 6),
        ("shard_count", |request| request.shard_count = 2048),
        ("node ids", |request| request.founders[2].node_id = 4),
        ("share a uuid", |request| request.founders[2].uuid = uuid(1)),
    ];
    for (part, change) in wrong {
        let mut request = bootstrap();
        change(&mut request);
        let refused = founded(&request).unwrap_err();
        assert_eq!(refused.code, code::INVALID_ARGUMENT);
        assert!(refused.message.contains(part), "{part:?} is not in {:?}", refused.message);
    }
}

#[test]
fn the_same_process_keeps_its_token_and_another_of_its_installation_takes_over_at_once() {
    let mut cluster = Cluster::new();
    assert_eq!(cluster.token, 1);
    assert_eq!(cluster.acquire("installation", "process"), Ok(1));
    assert_eq!(cluster.acquire("installation", "another"), Ok(2));
    let refused = cluster.drain(1).unwrap_err();
    assert_eq!(refused.code, code::FAILED_PRECONDITION);
    assert!(refused.message.contains("operator_token 1 is not in force, 2 is"), "{}", refused.message);
    assert_eq!(cluster.acquire("installation", "process"), Ok(3));
}

#[test]
fn another_installation_waits_until_the_last_was_silent_for_30_s() {
    let mut cluster = Cluster::new();
    cluster.now += 10_000;
    cluster.join(&uuid(4), "node-4").unwrap();
    cluster.now += OPERATOR_ACTIVE_MS - 1;
    let refused = cluster.acquire("other", "process").unwrap_err();
    assert_eq!(refused.code, code::FAILED_PRECONDITION);
    assert!(refused.message.contains("in 1 s"), "{}", refused.message);
    cluster.now += 1;
    assert_eq!(cluster.acquire("other", "process"), Ok(2));
    let refused = cluster.drain(1).unwrap_err();
    assert_eq!(refused.code, code::FAILED_PRECONDITION);
}

#[test]
fn a_leader_with_a_slow_clock_does_not_let_an_active_installation_look_silent() {
    let mut cluster = Cluster::new();
    let active = cluster.now;
    cluster.now = 5;
    cluster.join(&uuid(4), "node-4").unwrap();
    cluster.now = active + OPERATOR_ACTIVE_MS - 1;
    assert!(cluster.acquire("other", "process").is_err());
}

#[test]
fn no_mutation_is_accepted_without_a_token() {
    let mut cluster = Cluster::new();
    cluster.state.operator = None;
    cluster.token = 0;
    let before = cluster.state.clone();
    let refused = cluster.join(&uuid(4), "node-4").unwrap_err();
    assert_eq!(refused.code, code::FAILED_PRECONDITION);
    assert!(cluster.reserve(1).is_err() && cluster.drain(1).is_err() && cluster.create(&[1, 2, 3]).is_err());
    assert_eq!(cluster.state, before);
}

#[test]
fn of_two_reservations_at_once_the_second_is_refused_with_the_seconds_that_remain() {
    let mut cluster = Cluster::new();
    let version = cluster.map().version;
    cluster.reserve(1).unwrap();
    cluster.now += 15_000;
    let refused = cluster.reserve(2).unwrap_err();
    assert_eq!(refused.code, code::FAILED_PRECONDITION);
    assert!(refused.message.contains("node 1 is reserved to be stopped, for 45 s more"), "{}", refused.message);
    assert_eq!(stop_hold(&cluster.state, cluster.now), Some((1, 45_000)));
    cluster.reserve(1).unwrap();
    assert_eq!(stop_hold(&cluster.state, cluster.now), Some((1, STOP_HELD_MS)), "renewed");
    cluster.now += STOP_HELD_MS;
    assert_eq!(stop_hold(&cluster.state, cluster.now), None);
    cluster.reserve(2).unwrap();
    assert_eq!(cluster.map().version, version, "a hold is not part of the map");
}

/// Worlds, seed 1083: an hour ahead, and set back.
#[test]
fn a_reservation_made_by_a_clock_that_was_ahead_ends_as_long_after_the_next_entry_as_any() {
    let mut cluster = Cluster::new();
    let right = cluster.now;
    cluster.now += 3_600_000;
    cluster.reserve(1).unwrap();
    cluster.now = right + 10_000;
    // Anything that is written, such as the operator's sign of life.
    cluster.acquire("installation", "process").unwrap();
    assert_eq!(stop_hold(&cluster.state, cluster.now), Some((1, STOP_HELD_MS)));
    cluster.now += STOP_HELD_MS - 1;
    assert!(cluster.reserve(2).is_err(), "not shorter than any other");
    cluster.now += 1;
    cluster.reserve(2).unwrap();
}

#[test]
fn a_released_reservation_is_free_and_anothers_cannot_be_released() {
    let mut cluster = Cluster::new();
    cluster.reserve(1).unwrap();
    let release = |cluster: &Cluster, node_id| {
        Operation::ReleaseStop(ReleaseStopRequest { operator_token: cluster.token, node_id })
    };
    let other = release(&cluster, 2);
    cluster.run(other).unwrap();
    assert!(stop_hold(&cluster.state, cluster.now).is_some());
    let own = release(&cluster, 1);
    cluster.run(own.clone()).unwrap();
    cluster.run(own).unwrap();
    cluster.reserve(2).unwrap();
    let unknown = ReserveStopRequest { operator_token: cluster.token, node_id: 9 };
    assert_eq!(cluster.run(Operation::ReserveStop(unknown)).unwrap_err().code, code::NOT_FOUND);
}

#[test]
fn a_command_that_this_version_does_not_know_is_an_error() {
    let mut cluster = Cluster::new();
    assert!(apply(&mut cluster.state, &MetaCommand::default(), 9).is_err());
}

#[test]
fn a_saved_state_is_loaded_again() {
    let cluster = Cluster::with_shards(4);
    let mut stored = crate::testing::MemView::default();
    assert_eq!(load(&stored).unwrap(), None);
    let mut overlay = Overlay::new(&stored);
    save(&mut overlay, &cluster.state);
    let writes = overlay.into_writes();
    stored.write(writes);
    assert_eq!(load(&stored).unwrap(), Some(cluster.state));
}
