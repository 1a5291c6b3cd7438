//! Groups at rest: that they rest, and that nothing which happens to them finds them asleep for long.

use granary_store::{Config, Event, Role};

use crate::{cluster::Cluster, node::MS};

const NODES: u64 = 3;

/// Three nodes with one shard that rests, behind some writes.
fn at_rest(seed: u64, tune: impl Fn(&mut Config)) -> Cluster {
    let mut cluster = Cluster::new(seed, NODES, 1, NODES, tune);
    cluster.wait_for_leaders();
    for _ in 0..20 {
        cluster.write_until_applied(1);
    }
    cluster.run_until("all replicas rest", 8_000, rest);
    cluster
}

fn rest(cluster: &mut Cluster) -> bool {
    cluster.nodes.iter().all(|node| node.board.get(&1).is_some_and(|seen| seen.quiesced))
}

fn sent(cluster: &Cluster) -> u64 {
    cluster.counts.get("sent message").copied().unwrap_or(0)
}

fn followers(cluster: &Cluster) -> Vec<u64> {
    let leader = cluster.leader(1);
    (1..=NODES).filter(|id| Some(*id) != leader).collect()
}

/// Another one than `from` leads within `limit_ms`.
fn fails_over(cluster: &mut Cluster, from: u64, limit_ms: u64) {
    cluster.run_until("another one leads", limit_ms, |cluster| {
        let mut others = cluster.nodes.iter().filter(|node| node.id != from && node.is_up());
        others.any(|node| node.board.get(&1).is_some_and(|seen| seen.role == Role::Leader && seen.lease_until_ns > 0))
    });
}

#[test]
fn a_group_without_requests_rests_and_says_so_once_a_second_until_there_is_one() {
    let mut cluster = at_rest(1, |_| {});
    // The beat at which it began to rest is none of those.
    cluster.run(1_500);
    let before = sent(&cluster);
    cluster.run(20_000);
    assert!(rest(&mut cluster));
    assert_eq!(sent(&cluster) - before, 20 * 4, "a beat to each of two and its answer, once a second");
    let leader = cluster.leader(1).unwrap();
    let ticket = cluster.propose(leader, 1);
    cluster.run_until("a write is applied as soon as ever", 30, |cluster| cluster.answers.contains_key(&ticket));
    let before = sent(&cluster);
    cluster.run(450);
    assert!(sent(&cluster) - before >= 8 * 4, "it is awake");
    cluster.run_until("it rests again", 8_000, rest);
    cluster.heal_and_compare();
}

#[test]
fn a_group_that_shall_never_rest_does_not() {
    let mut cluster = Cluster::new(2, NODES, 1, NODES, |config| config.quiesce_after = 0);
    cluster.wait_for_leaders();
    cluster.run(20_000);
    assert_eq!(cluster.counts.get("quiesced"), None);
    let now = cluster.now;
    let leads = |node: &crate::node::Node| node.board[&1].lease_until_ns > node.clock(now);
    assert!(cluster.nodes.iter().any(leads), "its lease never lapses");
}

/// Of a replica that does not know of rest its leader hears nothing of it.
#[test]
fn a_group_with_a_replica_that_does_not_rest_does_not() {
    let mut cluster = Cluster::new(3, NODES, 1, NODES, |_| {});
    cluster.deaf_to_rest = Some(2);
    cluster.wait_for_leaders();
    let before = cluster.nodes.iter().map(|node| node.board[&1].term).max();
    cluster.run(20_000);
    let leader = cluster.leader(1).unwrap();
    assert!(!cluster.nodes[leader as usize - 1].board[&1].quiesced);
    assert_eq!(cluster.nodes.iter().map(|node| node.board[&1].term).max(), before, "and nobody was elected meanwhile");
    cluster.heal_and_compare();
}

#[test]
fn a_leader_that_goes_while_its_group_rests_is_missed_when_somebody_asks_and_soon_in_any_case() {
    for seed in 10..40 {
        for asks in [true, false] {
            let mut cluster = at_rest(seed, |_| {});
            let leader = cluster.leader(1).unwrap();
            cluster.nodes[leader as usize - 1].paused_until = u64::MAX;
            if asks {
                let follower = followers(&cluster)[0];
                let now = cluster.now;
                let event = Event::Wake { shard: granary_common::ShardId(1) };
                cluster.node(follower).event(now, event);
            }
            fails_over(&mut cluster, leader, if asks { 600 } else { 3_000 });
            cluster.heal_and_compare();
        }
    }
}

#[test]
fn a_leader_whose_connections_break_while_its_group_rests_is_missed_at_once() {
    let mut cluster = at_rest(50, |_| {});
    let leader = cluster.leader(1).unwrap();
    let now = cluster.now;
    for follower in followers(&cluster) {
        cluster.node(follower).event(now, Event::Unreachable { node: granary_common::NodeId(leader) });
    }
    cluster.crash(leader as usize - 1, false);
    fails_over(&mut cluster, leader, 1_000);
    cluster.heal_and_compare();
}

#[test]
fn a_follower_that_goes_while_its_group_rests_is_told_of_within_seconds() {
    let mut cluster = at_rest(60, |_| {});
    let (leader, lost) = (cluster.leader(1).unwrap(), followers(&cluster)[0]);
    cluster.crash(lost as usize - 1, false);
    cluster.run_until("the leader takes it for inactive", 2_000, |cluster| {
        let now = cluster.now;
        let store = cluster.nodes[leader as usize - 1].store.as_mut().unwrap();
        store.handle(now, Event::Report);
        let actions = store.drain(now);
        assert!(actions.persist.is_none() && actions.sends.is_empty(), "drained beside the harness");
        let progress = &actions.led[0].progress;
        progress.iter().any(|of| !of.active)
    });
    assert_eq!(cluster.leader(1), Some(leader));
    cluster.start(lost as usize - 1);
    cluster.run_until("it rests again", 10_000, rest);
    cluster.heal_and_compare();
}

#[test]
fn a_few_reads_are_answered_at_rest_and_many_bring_the_lease_back() {
    let mut cluster = at_rest(70, |_| {});
    let leader = cluster.leader(1).unwrap();
    for at in 0..20 {
        let ticket = cluster.read(leader, 1);
        cluster.run_until("it is answered", 30, |cluster| cluster.answers.contains_key(&ticket));
        cluster.run(700);
        assert!(rest(&mut cluster), "one read a beat wakes nobody, the {at}th did");
    }
    for _ in 0..20 {
        let ticket = cluster.read(leader, 1);
        cluster.run_until("it is answered", 30, |cluster| cluster.answers.contains_key(&ticket));
    }
    assert!(!rest(&mut cluster));
    let node = &cluster.nodes[leader as usize - 1];
    assert!(node.board[&1].lease_until_ns > node.clock(cluster.now));
    cluster.heal_and_compare();
}

#[test]
fn a_group_whose_lease_is_used_does_not_rest() {
    let mut cluster = Cluster::new(75, NODES, 1, NODES, |_| {});
    cluster.wait_for_leaders();
    let leader = cluster.leader(1).unwrap();
    let used = |cluster: &mut Cluster| {
        let now = cluster.now;
        cluster.node(leader).event(now, Event::LeaseUsed { shard: granary_common::ShardId(1) });
    };
    for _ in 0..50 {
        used(&mut cluster);
        cluster.run(125);
        let node = &cluster.nodes[leader as usize - 1];
        assert!(!node.board[&1].quiesced && node.board[&1].lease_until_ns > node.clock(cluster.now));
    }
    cluster.run_until("it rests when nobody reads", 3_000, rest);
    used(&mut cluster);
    cluster.run(125);
    assert!(rest(&mut cluster), "an old word wakes nobody");
}

/// By slow beats, whose leader's lease has lapsed when it sends them.
#[test]
fn a_follower_at_rest_goes_on_to_learn_how_fresh_it_is() {
    let mut cluster = at_rest(76, |_| {});
    let follower = followers(&cluster)[0] as usize - 1;
    cluster.run(5_000);
    for _ in 0..20 {
        cluster.run(500);
        assert!(rest(&mut cluster));
        let node = &cluster.nodes[follower];
        let age = node.clock(cluster.now) - node.board[&1].fresh_ns;
        assert!(age < 2_500 * MS, "{} ms", age / MS);
    }
}

/// Each request wakes again, also one that finds the group awake, and a beat may be on its way meanwhile.
#[test]
fn a_follower_that_is_asked_twice_for_a_leader_that_is_gone_does_not_fall_asleep_again() {
    for seed in 200..240 {
        let mut cluster = at_rest(seed, |_| {});
        let leader = cluster.leader(1).unwrap();
        let follower = followers(&cluster)[0];
        cluster.nodes[leader as usize - 1].paused_until = u64::MAX;
        for _ in 0..3 {
            cluster.propose(follower, 1);
            cluster.run(1);
        }
        fails_over(&mut cluster, leader, 600);
        cluster.heal_and_compare();
    }
}

/// Its first look at the quorum counts who has answered, not who did before the rest.
#[test]
fn a_read_of_a_leader_that_lost_its_quorum_at_rest_is_refused_within_seconds() {
    let mut cluster = at_rest(77, |_| {});
    let leader = cluster.leader(1).unwrap();
    for follower in followers(&cluster) {
        cluster.nodes[follower as usize - 1].paused_until = u64::MAX;
    }
    let ticket = cluster.read(leader, 1);
    cluster.run_until("it is refused", 2_500, |cluster| cluster.answers.contains_key(&ticket));
    assert!(cluster.answers[&ticket].is_some());
    cluster.heal_and_compare();
}

/// While it lasts, nobody is elected: not even where the messages that wake come in any order.
#[test]
fn whatever_wakes_a_group_with_a_sound_leader_its_leader_stays() {
    for seed in 80..120 {
        let mut cluster = at_rest(seed, |config| config.quiesce_after = 20);
        let (leader, followers) = (cluster.leader(1).unwrap(), followers(&cluster));
        let term = cluster.nodes[0].board[&1].term;
        for round in 0..30 {
            let by = followers[round % 2];
            let now = cluster.now;
            match round % 3 {
                0 => cluster.node(by).event(now, Event::Wake { shard: granary_common::ShardId(1) }),
                1 => drop(cluster.propose(by, 1)),
                _ => cluster.node(leader).event(now, Event::WakeAll),
            }
            let waits = cluster.rng.between(1, 3_000);
            cluster.run(waits);
        }
        assert_eq!(cluster.nodes[0].board[&1].term, term);
        cluster.heal_and_compare();
    }
}
