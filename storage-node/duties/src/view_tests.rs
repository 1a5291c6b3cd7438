use super::*;
use crate::testing::*;

fn leading(now: Instant) -> View {
    let mut view = View::default();
    view.tick(Some(3), now);
    view
}

fn after(start: Instant, ms: u64) -> Instant {
    start + Duration::from_millis(ms)
}

/// Lets the leader go on without a pause of its own.
fn tick_until(view: &mut View, start: Instant, ms: u64) -> Instant {
    for passed in (0..=ms).step_by(250) {
        view.tick(Some(3), after(start, passed));
    }
    after(start, ms)
}

#[test]
fn a_node_that_does_not_lead_takes_no_report() {
    let mut view = View::default();
    assert!(!view.record(report(1, 1, vec![]), Instant::now()));
    assert!(view.node(NodeId(1)).is_none());
}

#[test]
fn the_word_of_a_leader_counts_for_two_seconds() {
    let start = Instant::now();
    let mut view = leading(start);
    assert!(view.record(report(2, 1, vec![led(1, 5, group(1, 1, &[1, 2, 3]), &[])]), start));
    assert_eq!(view.leaders(after(start, 1999)), vec![(ShardId(1), NodeId(2))]);
    assert!(view.fresh(ShardId(1), after(start, 2000)).is_none());
}

#[test]
fn the_highest_term_wins_even_when_an_older_leader_speaks_later() {
    let start = Instant::now();
    let mut view = leading(start);
    let group = group(1, 1, &[1, 2, 3]);
    view.record(report(2, 1, vec![led(1, 6, group.clone(), &[])]), start);
    view.record(report(1, 1, vec![led(1, 5, group, &[])]), after(start, 100));
    assert_eq!(view.fresh(ShardId(1), after(start, 100)).unwrap().leader, NodeId(2));
}

#[test]
fn a_leader_that_no_longer_lists_a_shard_does_not_lead_it() {
    let start = Instant::now();
    let mut view = leading(start);
    view.record(report(2, 1, vec![led(1, 6, group(1, 1, &[1, 2, 3]), &[])]), start);
    view.record(report(2, 1, vec![]), after(start, 100));
    assert!(view.fresh(ShardId(1), after(start, 100)).is_none());
}

#[test]
fn a_report_of_an_earlier_start_of_a_node_is_not_taken() {
    let start = Instant::now();
    let mut view = leading(start);
    assert!(view.record(report(2, 4, vec![]), start));
    assert!(!view.record(report(2, 3, vec![led(1, 9, group(1, 1, &[2]), &[])]), start));
    assert_eq!(view.node(NodeId(2)).unwrap().incarnation, 4);
    assert!(view.leaders(start).is_empty());
}

#[test]
fn silence_is_counted_from_the_last_report_or_else_from_the_begin_of_leadership() {
    let start = Instant::now();
    let mut view = leading(start);
    let now = tick_until(&mut view, start, 3000);
    view.record(report(2, 1, vec![]), now);
    let later = after(now, 500);
    assert_eq!(view.silent_for(NodeId(2), later), Duration::from_millis(500));
    assert_eq!(view.silent_for(NodeId(3), later), Duration::from_millis(3500));
}

#[test]
fn a_new_term_begins_with_nothing_heard() {
    let start = Instant::now();
    let mut view = leading(start);
    view.record(report(2, 1, vec![]), start);
    view.tick(Some(4), after(start, 10));
    assert!(view.node(NodeId(2)).is_none());
    assert_eq!(view.leading_for(after(start, 20)), Duration::from_millis(10));
}

#[test]
fn a_leader_that_was_itself_stopped_for_long_blames_nobody_for_silence() {
    let start = Instant::now();
    let mut view = leading(start);
    view.record(report(2, 1, vec![]), start);
    let resumed = after(start, 600_000);
    view.tick(Some(3), resumed);
    assert_eq!(view.silent_for(NodeId(2), resumed), Duration::ZERO);
}

#[test]
fn liveness_has_a_line_for_every_node_and_shard_of_the_map() {
    let start = Instant::now();
    let map = map(3, &[&[1, 2, 3], &[1, 2, 3]]);
    let mut view = leading(start);
    let mut said = report(2, 8, vec![led(1, 5, group(1, 1, &[1, 2, 3]), &[3])]);
    said.held = vec![held(0, 2), held(1, 2)];
    view.record(said, start);
    let now = after(start, 40);
    let nodes = view.node_liveness(&map, now);
    assert_eq!(
        nodes.iter().map(|node| (node.node_id, node.heard)).collect::<Vec<_>>(),
        [(1, false), (2, true), (3, false)]
    );
    assert_eq!((nodes[1].replicas, nodes[1].leaders, nodes[1].incarnation, nodes[1].silent_for_ms), (2, 1, 8, 40));
    let shards = view.shard_liveness(&map, now);
    assert_eq!(shards.iter().map(|shard| shard.leader_node_id).collect::<Vec<_>>(), [0, 2]);
    assert_eq!(shards[1].progress.len(), 3);
}

#[test]
fn what_left_the_map_is_forgotten() {
    let start = Instant::now();
    let mut view = leading(start);
    view.record(report(4, 1, vec![led(9, 5, group(9, 1, &[4]), &[])]), start);
    view.retain(&map(3, &[&[1, 2, 3]]));
    assert!(view.node(NodeId(4)).is_none());
    assert!(view.fresh(ShardId(9), start).is_none());
}
