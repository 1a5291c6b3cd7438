//! Who is let in, as a table over an explicit clock.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use granary_common::NodeId;
use granary_proto::raft::Sender;
use parking_lot::Mutex;

use super::{map_of, sender};
use crate::transport::{
    HEARD_WITHIN, Peers,
    admission::{Refusal, Standing, admit},
};

const MOMENT: Duration = Duration::from_millis(1);

fn decide(claim: &Sender, standing: &Standing, now: Instant) -> Result<(), Refusal> {
    admit(&sender(1, 5), claim, None, standing, now)
}

/// What is known after node 2 was heard as this incarnation.
fn heard(incarnation: u64, at: Instant) -> Standing {
    let mut standing = Standing::default();
    assert!(standing.heard(&sender(2, incarnation), at));
    standing
}

#[test]
fn a_node_of_another_cluster_is_refused_by_both_names() {
    let stranger = Sender { cluster_id: "cluster-b".into(), ..sender(2, 1) };
    let refusal = decide(&stranger, &Standing::default(), Instant::now()).unwrap_err().to_string();
    assert!(refusal.contains("cluster-a") && refusal.contains("cluster-b") && refusal.contains("node 2"), "{refusal}");
}

#[test]
fn our_own_id_is_let_in_only_as_this_very_process() {
    let now = Instant::now();
    assert_eq!(decide(&sender(1, 5), &Standing::default(), now), Ok(()));
    let other_disk = Sender { uuid: "disk-9".into(), ..sender(1, 5) };
    let other_process = Sender { process: 9, ..sender(1, 5) };
    for copy in [sender(1, 4), sender(1, 6), other_disk, other_process] {
        let refusal = decide(&copy, &Standing::default(), now);
        assert!(matches!(refusal, Err(Refusal::CopyOfOurselves { .. })), "{copy:?}: {refusal:?}");
    }
}

#[test]
fn a_sender_without_an_id_is_refused() {
    assert_eq!(decide(&sender(0, 1), &Standing::default(), Instant::now()), Err(Refusal::NoId));
}

#[test]
fn a_second_process_of_one_incarnation_is_on_a_copied_disk_and_refused_for_good() {
    let now = Instant::now();
    let standing = heard(3, now);
    let copy = Sender { process: 9, ..sender(2, 3) };
    for later in [now, now + 2 * HEARD_WITHIN] {
        let refusal = decide(&copy, &standing, later);
        assert_eq!(refusal, Err(Refusal::TwoProcesses { node: NodeId(2), incarnation: 3 }));
        assert_eq!(decide(&sender(2, 3), &standing, later), Ok(()));
    }
    assert_eq!(decide(&sender(2, 4), &standing, now + 2 * HEARD_WITHIN), Ok(()), "the node itself started again");
}

#[test]
fn another_disk_under_a_known_id_is_refused_and_the_map_outweighs_what_was_heard() {
    let now = Instant::now();
    let other = Sender { uuid: "disk-9".into(), ..sender(2, 2) };
    let long_ago = heard(1, now);
    let later = now + 2 * HEARD_WITHIN;
    assert!(matches!(decide(&other, &long_ago, later), Err(Refusal::OtherDisk { .. })));
    assert_eq!(admit(&sender(1, 5), &other, Some("disk-9"), &long_ago, later), Ok(()));
    let refused = admit(&sender(1, 5), &sender(2, 2), Some("disk-9"), &Standing::default(), later);
    assert!(matches!(refused, Err(Refusal::OtherDisk { .. })));
}

#[test]
fn a_lower_incarnation_than_was_ever_seen_is_refused() {
    let standing = Standing { highest: 7, ..Standing::default() };
    let now = Instant::now();
    assert!(matches!(
        decide(&sender(2, 6), &standing, now),
        Err(Refusal::OldIncarnation { theirs: 6, highest: 7, .. })
    ));
    assert_eq!(decide(&sender(2, 7), &standing, now), Ok(()));
    assert_eq!(decide(&sender(2, 8), &standing, now), Ok(()));
}

#[test]
fn another_incarnation_must_wait_until_the_living_one_was_silent_for_ten_seconds() {
    let now = Instant::now();
    let standing = heard(3, now);
    assert_eq!(decide(&sender(2, 3), &standing, now), Ok(()), "the living one itself");
    let refusal = decide(&sender(2, 4), &standing, now + HEARD_WITHIN - MOMENT);
    assert!(matches!(refusal, Err(Refusal::OtherLives { theirs: 4, living: 3, .. })), "{refusal:?}");
    assert_eq!(decide(&sender(2, 4), &standing, now + HEARD_WITHIN), Ok(()));
}

#[test]
fn a_goodbye_lets_the_next_incarnation_in_at_once() {
    let now = Instant::now();
    let mut standing = heard(3, now);
    standing.said_goodbye(2);
    assert!(decide(&sender(2, 4), &standing, now).is_err(), "an older one's goodbye says nothing");
    standing.said_goodbye(3);
    assert!(standing.heard_again(3, now), "what was still on its way");
    assert_eq!(decide(&sender(2, 4), &standing, now), Ok(()));
}

#[test]
fn a_process_counts_as_gone_when_its_last_stream_was_cut_until_it_is_heard_again() {
    let now = Instant::now();
    let mut standing = heard(3, now);
    standing.stream_began(3);
    standing.stream_began(3);
    standing.stream_ended(3, true);
    assert!(decide(&sender(2, 4), &standing, now).is_err(), "one stream still stands");
    standing.connection_broke();
    assert!(decide(&sender(2, 4), &standing, now).is_err(), "one stream still stands");
    standing.stream_ended(3, true);
    assert_eq!(decide(&sender(2, 4), &standing, now), Ok(()));
    assert!(standing.heard_again(3, now));
    assert!(decide(&sender(2, 4), &standing, now).is_err(), "it lives after all");
}

#[test]
fn a_stream_that_ended_in_order_says_nothing_of_its_process() {
    let now = Instant::now();
    let mut standing = heard(3, now);
    standing.stream_began(3);
    standing.stream_ended(3, false);
    assert!(decide(&sender(2, 4), &standing, now).is_err());
}

#[test]
fn an_incarnation_that_was_followed_by_another_may_not_speak_any_more() {
    let now = Instant::now();
    let mut standing = heard(3, now);
    standing.heard(&sender(2, 4), now);
    assert!(!standing.heard_again(3, now));
    assert!(standing.heard_again(4, now));
}

#[test]
fn each_higher_incarnation_is_put_on_disk_once_and_counts_after_a_restart() {
    let written = Arc::new(Mutex::new(Vec::new()));
    let disk = written.clone();
    let persist = Box::new(move |node, incarnation| disk.lock().push((node, incarnation)));
    let peers = Peers::new(sender(1, 1), Vec::new(), map_of(&[]), vec![(NodeId(2), 6)], persist);
    assert!(matches!(peers.admit(&sender(2, 5)), Err(Refusal::OldIncarnation { highest: 6, .. })));
    assert_eq!(peers.admit(&sender(2, 6)), Ok(()));
    assert_eq!(*written.lock(), [], "known already");
    peers.said_goodbye(&sender(2, 6));
    assert_eq!(peers.admit(&sender(2, 7)), Ok(()));
    assert_eq!(peers.admit(&sender(2, 7)), Ok(()));
    assert_eq!(*written.lock(), [(NodeId(2), 7)]);
}
