//! Single faults, one a test, in the same cluster.

use granary_common::{NodeId, ShardId};
use granary_store::{Config, Event, Retention, Stands, StandstillTicks};

use crate::{cluster::Cluster, node::MS};

const APPEND: u32 = 3;

/// Writes to the shard's leader for `ms`, about one a ms.
fn load(cluster: &mut Cluster, shard: u32, ms: u64) {
    for _ in 0..ms {
        if let Some(leader) = cluster.leader(shard)
            && cluster.nodes[leader as usize - 1].is_up()
        {
            cluster.propose(leader, shard);
        }
        cluster.run(1);
    }
}

fn cluster(seed: u64, nodes: u64, factor: u64, tune: impl Fn(&mut Config)) -> Cluster {
    let mut cluster = Cluster::new(seed, nodes, 1, factor, tune);
    cluster.wait_for_leaders();
    cluster
}

fn term(cluster: &Cluster) -> u64 {
    cluster.nodes.iter().filter_map(|node| node.board.get(&1)).map(|seen| seen.term).max().unwrap_or(0)
}

/// The harness itself fails on a vote that is granted too early; here everything asks for one.
#[test]
fn a_restarted_follower_asked_for_its_vote_within_the_leaders_lease_refuses() {
    let mut cluster = cluster(1, 3, 3, |_| {});
    let leader = cluster.leader(1).unwrap();
    let followers: Vec<u64> = (1..=3).filter(|id| *id != leader).collect();
    // The candidate hears nothing from the leader and asks; the other follower restarts just then.
    cluster.cut.insert((leader, followers[0]));
    cluster.run(250);
    let place = followers[1] as usize - 1;
    cluster.crash(place, false);
    cluster.start(place);
    cluster.cut.insert((leader, followers[1]));
    cluster.run(250);
    assert_eq!(cluster.leader(1), Some(leader), "somebody else was elected with the vote of a restarted follower");
    cluster.run(1_500);
    assert_ne!(cluster.leader(1), Some(leader), "nobody was elected at all");
    cluster.heal_and_compare();
}

#[test]
fn a_learner_added_to_a_shard_gets_a_snapshot() {
    let mut cluster = cluster(2, 4, 3, |_| {});
    load(&mut cluster, 1, 50);
    cluster.reconfigure(1, &[1, 2, 4]);
    cluster.run_until("the shard has moved", 10_000, |cluster| cluster.has_converged());
    assert!(cluster.counts["snapshot taken over"] >= 1);
    cluster.heal_and_compare();
}

#[test]
fn the_leaders_own_removal_under_load_leaves_no_shard_without_a_writable_leader() {
    for seed in 0..10 {
        let mut cluster = cluster(seed, 4, 3, |_| {});
        let leader = cluster.leader(1).unwrap();
        let nodes: Vec<u64> = (1..=4).filter(|node| *node != leader).collect();
        cluster.reconfigure(1, &nodes);
        for _ in 0..20 {
            load(&mut cluster, 1, 100);
            cluster.write_until_applied(1);
        }
        cluster.heal_and_compare();
        assert!(!cluster.nodes[leader as usize - 1].board.contains_key(&1), "the old leader is still there");
    }
}

#[test]
fn the_only_voter_moves_under_load_with_slow_syncs() {
    for seed in 0..10 {
        let mut cluster = cluster(seed, 3, 1, |_| {});
        cluster.nodes.iter_mut().for_each(|node| node.speeds.log = 40 * MS);
        for to in [2, 3, 1] {
            cluster.reconfigure(1, &[to]);
            load(&mut cluster, 1, 1_500);
        }
        cluster.heal_and_compare();
    }
}

#[test]
fn a_kill_between_the_data_batch_and_the_log_batch_of_an_install_is_repaired_at_start() {
    let mut cluster = cluster(3, 4, 3, |_| {});
    load(&mut cluster, 1, 100);
    cluster.node(4).crash_at_install = true;
    cluster.reconfigure(1, &[1, 2, 4]);
    cluster.run_until("the install is cut", 10_000, |cluster| !cluster.nodes[3].is_up());
    cluster.start(3);
    cluster.run_until("the shard has moved all the same", 20_000, |cluster| cluster.has_converged());
    cluster.heal_and_compare();
}

/// Those that stay had applied the end of the change, and not synced it: behind a power cut they were within the change
/// again, which needs the voters that had gone by then. The shard never had a leader again.
#[test]
fn a_replica_goes_only_when_no_power_cut_brings_back_the_membership_that_needs_its_vote() {
    for seed in 0..10 {
        let mut cluster = cluster(seed, 5, 3, |_| {});
        cluster.nodes.iter_mut().for_each(|node| node.speeds.flush = 2_000 * MS);
        load(&mut cluster, 1, 50);
        cluster.reconfigure(1, &[1, 4, 5]);
        cluster.run_until("both old replicas go", 60_000, |cluster| {
            let mut records = cluster.nodes[1..3].iter().filter_map(|node| node.disk.records.get(&1));
            records.all(|record| record.destroying || record.replica == 0)
        });
        (0..5).for_each(|place| cluster.crash(place, true));
        (0..5).for_each(|place| cluster.start(place));
        cluster.heal_and_compare();
    }
}

#[test]
fn a_shard_works_and_moves_with_every_bound_set_to_one() {
    let mut cluster = cluster(4, 4, 3, |config| {
        (config.memory_entries, config.memory_bytes, config.max_inflight_appends) = (1, 1, 1);
        (config.max_append_bytes, config.max_apply_bytes, config.max_uncommitted_bytes) = (1, 1, 1);
        config.retention = Retention { entries: 1, bytes: 1, entries_for_followers: 1, bytes_for_followers: 1 };
    });
    load(&mut cluster, 1, 500);
    cluster.reconfigure(1, &[2, 3, 4]);
    load(&mut cluster, 1, 1_000);
    cluster.heal_and_compare();
}

/// Half a second is an election timeout; two are so many that no moment is a lucky one.
#[test]
fn two_followers_stalled_on_disk_for_half_a_second_or_two_cause_no_election() {
    let mut cluster = cluster(5, 3, 3, |_| {});
    load(&mut cluster, 1, 100);
    let (leader, before) = (cluster.leader(1).unwrap(), term(&cluster));
    for stall in [500, 2_000] {
        for node in (1..=3).filter(|id| *id != leader) {
            let until = cluster.now + stall * MS;
            cluster.node(node).stalled_until = until;
        }
        load(&mut cluster, 1, stall + 1_000);
        assert_eq!((cluster.leader(1), term(&cluster)), (Some(leader), before), "behind {stall} ms");
    }
    cluster.heal_and_compare();
}

#[test]
fn a_follower_behind_the_kept_log_gets_a_snapshot_and_catches_up_under_load() {
    let mut cluster = cluster(6, 3, 3, |config| {
        (config.memory_entries, config.memory_bytes) = (16, 4_000);
        config.retention =
            Retention { entries: 50, bytes: 1 << 20, entries_for_followers: 100, bytes_for_followers: 1 << 20 };
    });
    let follower = (1..=3).find(|id| cluster.leader(1) != Some(*id)).unwrap();
    cluster.crash(follower as usize - 1, false);
    load(&mut cluster, 1, 1_500);
    assert!(!cluster.counts.contains_key("snapshot taken over"));
    cluster.start(follower as usize - 1);
    load(&mut cluster, 1, 2_000);
    assert!(cluster.counts["snapshot taken over"] >= 1);
    assert!(cluster.seen[&(APPEND, follower)] > 0);
    cluster.heal_and_compare();
}

/// The harness fails on a ticket that is answered twice, and on a refused write that is applied.
#[test]
fn a_write_whose_leader_is_deposed_is_answered_unknown_or_not_leader_and_never_twice() {
    let mut cluster = cluster(7, 3, 3, |_| {});
    let leader = cluster.leader(1).unwrap();
    for other in (1..=3).filter(|id| *id != leader) {
        cluster.cut.extend([(leader, other), (other, leader)]);
    }
    let tickets: Vec<u64> = (0..20).map(|_| cluster.propose(leader, 1)).collect();
    cluster.run(3_000);
    cluster.heal_and_compare();
    for ticket in tickets {
        let answer = cluster.answers.get(&ticket);
        let open =
            matches!(answer, Some(Some(granary_store::Answer::Unknown | granary_store::Answer::NotLeader { .. })));
        assert!(open, "{answer:?}");
    }
}

#[test]
fn a_transfer_moves_the_leader_at_once() {
    let mut cluster = cluster(8, 3, 3, |_| {});
    let leader = cluster.leader(1).unwrap();
    let to = leader % 3 + 1;
    let now = cluster.now;
    cluster.node(leader).event(now, Event::TransferLeader { shard: ShardId(1), to: NodeId(to) });
    cluster.run_until("the other node leads", 300, |cluster| cluster.leader(1) == Some(to));
    cluster.heal_and_compare();
}

/// Without a lease reads are slow, and a replica that is new would never be told that it has caught up.
#[test]
fn a_leader_whose_successor_never_heard_of_it_is_followed_by_one_with_a_lease() {
    let mut cluster = cluster(9, 3, 3, |_| {});
    let leader = cluster.leader(1).unwrap();
    let (to, before) = (leader % 3 + 1, term(&cluster));
    cluster.cut.insert((leader, to));
    let now = cluster.now;
    cluster.node(leader).event(now, Event::TransferLeader { shard: ShardId(1), to: NodeId(to) });
    cluster.run(300);
    assert_eq!((cluster.leader(1), term(&cluster)), (Some(leader), before), "the transfer was heard of");
    cluster.cut.clear();
    cluster.wait_for_leaders();
    cluster.heal_and_compare();
}

fn slow(cluster: &mut Cluster, told: u64, nodes: &[u64]) {
    let (now, nodes) = (cluster.now, nodes.iter().copied().map(NodeId).collect());
    cluster.node(told).event(now, Event::SlowNodes { nodes });
}

#[test]
fn a_leader_on_a_slow_disk_hands_over_to_a_node_that_is_not_slow_also_while_its_log_stands() {
    for seed in 0..10 {
        let mut cluster = cluster(seed, 3, 3, |_| {});
        load(&mut cluster, 1, 100);
        let leader = cluster.leader(1).unwrap();
        let (also_slow, good) = (leader % 3 + 1, (leader + 1) % 3 + 1);
        let until = cluster.now + 5_000 * MS;
        cluster.node(leader).stalled_until = until;
        load(&mut cluster, 1, 200);
        slow(&mut cluster, leader, &[leader, also_slow]);
        let began = cluster.now;
        cluster.run_until("the good node leads", 1_000, |cluster| cluster.leader(1) == Some(good));
        println!("seed {seed}: {} ms", (cluster.now - began) / MS);
        cluster.write_until_applied(1);
        cluster.heal_and_compare();
    }
}

#[test]
fn of_nodes_that_are_all_slow_none_hands_over() {
    let mut cluster = cluster(11, 3, 3, |_| {});
    let (leader, before) = (cluster.leader(1).unwrap(), term(&cluster));
    for node in 1..=3 {
        slow(&mut cluster, node, &[1, 2, 3]);
    }
    load(&mut cluster, 1, 3_000);
    assert_eq!((cluster.leader(1), term(&cluster)), (Some(leader), before));
    cluster.heal_and_compare();
}

#[test]
fn nodes_that_are_all_slow_still_elect_a_leader_when_theirs_dies() {
    for seed in 0..10 {
        let mut cluster = cluster(seed, 3, 3, |_| {});
        let leader = cluster.leader(1).unwrap();
        for node in 1..=3 {
            slow(&mut cluster, node, &[1, 2, 3]);
        }
        cluster.crash(leader as usize - 1, false);
        cluster.run_until("another one leads", 5_000, |cluster| cluster.leader(1).is_some_and(|now| now != leader));
        cluster.start(leader as usize - 1);
        cluster.heal_and_compare();
    }
}

/// Elections begin 300 to 425 ms behind the last heartbeat. Two that ask for votes at the same moment, or one that asks a moment
/// too early, took twice as long (the bench, stopped leaders).
#[test]
fn a_leader_that_stops_is_followed_by_another_within_one_election_timeout() {
    let mut slowest = 0;
    for seed in 0..200 {
        let mut cluster = cluster(seed, 3, 3, |_| {});
        let leader = cluster.leader(1).unwrap();
        let stopped = cluster.now;
        cluster.crash(leader as usize - 1, false);
        cluster.run_until("another one leads", 5_000, |cluster| cluster.leader(1).is_some_and(|now| now != leader));
        slowest = slowest.max((cluster.now - stopped) / MS);
    }
    assert!((300..=500).contains(&slowest), "{slowest} ms");
}

/// A candidate's own vote and those of others are two syncs, one behind the other. Power cuts, where all syncs took 450 ms.
#[test]
fn nodes_whose_syncs_take_longer_than_an_election_timeout_still_elect_a_leader() {
    for seed in 0..10 {
        let mut cluster = cluster(seed, 3, 3, |_| {});
        let leader = cluster.leader(1).unwrap();
        let mut before = Vec::new();
        for node in 1..=3 {
            let speeds = &mut cluster.node(node).speeds;
            // Up to twice that.
            before.push(std::mem::replace(&mut speeds.log, 450 * MS));
        }
        cluster.crash(leader as usize - 1, false);
        cluster.run_until("another one leads", 30_000, |cluster| cluster.leader(1).is_some_and(|now| now != leader));
        for (node, speed) in (1..=3).zip(before) {
            cluster.node(node).speeds.log = speed;
        }
        cluster.start(leader as usize - 1);
        cluster.heal_and_compare();
    }
}

/// Its followers answer heartbeats and do not write: that is told, and it goes on to lead, for another one could do no more.
/// Only when that lasts longer than a node with such a disk lives, it gives up; and all goes on when the disks do.
#[test]
fn a_leader_that_is_heard_and_commits_nothing_is_reported_and_gives_up_after_long() {
    let ticks = StandstillTicks { report: 40, give_up: 200 };
    let mut cluster = cluster(12, 3, 3, |config| config.standstill = ticks);
    load(&mut cluster, 1, 100);
    let (leader, before) = (cluster.leader(1).unwrap(), term(&cluster));
    for node in (1..=3).filter(|id| *id != leader) {
        let until = cluster.now + 30_000 * MS;
        cluster.node(node).stalled_until = until;
    }
    let stands = |cluster: &Cluster| cluster.nodes[leader as usize - 1].board[&1].stands;
    load(&mut cluster, 1, 900);
    assert_eq!(stands(&cluster), Stands::No);
    load(&mut cluster, 1, 600);
    assert_eq!(stands(&cluster), Stands::Commit);
    load(&mut cluster, 1, 3_000);
    assert_eq!((cluster.leader(1), term(&cluster)), (Some(leader), before), "it still leads, and answers reads");
    cluster.run_until("it gave up", 3_000, |cluster| cluster.leader(1) != Some(leader));
    cluster.heal_and_compare();
    cluster.write_until_applied(1);
    cluster.nodes.iter().for_each(|node| assert_eq!(node.board[&1].stands, Stands::No));
}
