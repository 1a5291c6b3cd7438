//! The leader's lease, counted from what a quorum has answered, and how fresh a follower is.
//!
//! Each message carries its sender's clock (`sent_at`); an answer carries back the newest such clock that its sender
//! has handled in this term (`echo`). A follower that handled a leader's message refuses other candidates for an
//! election timeout from then on, so from the newest clock that a quorum has echoed the leader may serve reads for a
//! part of that time. No clocks of two machines are compared. Source: Raft thesis section 6.4.1; HAZARDS H16.

use std::collections::BTreeMap;

/// State of both, for one replica in one term.
#[derive(Debug, Default)]
pub(crate) struct Lease {
    /// As leader: the newest own clock that each replica has echoed in this term.
    echoes: BTreeMap<u64, u64>,
    /// Leadership is being handed over: no lease for the rest of the term.
    handed_over: bool,
    /// The newest clock of each replica's messages handled in this term: what answers echo.
    heard: BTreeMap<u64, u64>,
    /// Own clock when that message came.
    heard_at: BTreeMap<u64, u64>,
    /// As follower: (own clock echoed by the leader, its commit index then).
    pending_fresh: Option<(u64, u64)>,
    fresh_ns: u64,
}

impl Lease {
    /// A new term: nothing that was heard before counts.
    pub(crate) fn reset(&mut self) {
        let fresh_ns = self.fresh_ns;
        *self = Self { fresh_ns, ..Self::default() };
    }

    /// A message of this term from `replica` was handled at `now_ns`.
    pub(crate) fn handled(&mut self, now_ns: u64, replica: u64, sent_at_ns: u64, echo_ns: u64) {
        let heard = self.heard.entry(replica).or_default();
        if sent_at_ns > *heard {
            *heard = sent_at_ns;
            self.heard_at.insert(replica, now_ns);
        }
        let echo = self.echoes.entry(replica).or_default();
        *echo = echo_ns.max(*echo);
    }

    /// A message of this term's leader said that it had committed `commit` behind the own clock `echo_ns`; 0: it does
    /// not vouch for its commit index.
    pub(crate) fn leader_committed(&mut self, echo_ns: u64, commit: u64, applied: u64) {
        if echo_ns > 0 && commit > 0 && self.pending_fresh.is_none() {
            self.pending_fresh = Some((echo_ns, commit));
        }
        self.applied(applied);
    }

    /// The own applied index moved.
    pub(crate) fn applied(&mut self, applied: u64) {
        if let Some((clock, _)) = self.pending_fresh.take_if(|(_, commit)| *commit <= applied) {
            self.fresh_ns = clock.max(self.fresh_ns);
        }
    }

    /// What to echo to `replica`.
    pub(crate) fn echo_for(&self, replica: u64) -> u64 {
        self.heard.get(&replica).copied().unwrap_or(0)
    }

    /// MsgTimeoutNow was sent: followers may vote although they heard this leader.
    pub(crate) fn hand_over(&mut self) {
        self.handed_over = true;
    }

    pub(crate) fn is_handed_over(&self) -> bool {
        self.handed_over
    }

    /// Own clock up to which this follower's state is known to be complete; 0: unknown.
    pub(crate) fn fresh_ns(&self) -> u64 {
        self.fresh_ns
    }

    /// Whether what is echoed to `replica` came while there was a lease from the own clock `from_ns` on: then nobody else had
    /// committed anything by then, and the own commit index covers all that had been.
    pub(crate) fn covered(&self, replica: u64, from_ns: u64, lease_ns: u64) -> bool {
        let came = self.heard_at.get(&replica);
        !self.handed_over && came.is_some_and(|came| (from_ns..from_ns + lease_ns).contains(came))
    }

    /// The newest own clock that a quorum of each half of `halves` has echoed; the own replica counts as `now`.
    /// `None` when there is none, or when leadership was handed over; but not to the only voter: nobody is elected without
    /// its vote, which ends its term, and nobody is there to whom it could hand over again.
    pub(crate) fn quorum_clock(&self, own: u64, now: u64, halves: [&[u64]; 2]) -> Option<u64> {
        let is_alone = halves.iter().all(|voters| voters.is_empty() || *voters == [own]);
        if self.handed_over && !is_alone {
            return None;
        }
        let mut oldest = now;
        for voters in halves.into_iter().filter(|voters| !voters.is_empty()) {
            let mut clocks: Vec<u64> = voters
                .iter()
                .map(|voter| if *voter == own { now } else { self.echoes.get(voter).copied().unwrap_or(0) })
                .collect();
            clocks.sort_unstable_by(|a, b| b.cmp(a));
            oldest = oldest.min(clocks[voters.len() / 2]);
        }
        (oldest > 0).then_some(oldest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quorum_is_needed_in_both_halves() {
        let mut lease = Lease::default();
        lease.handled(200, 2, 7, 100);
        assert_eq!(lease.quorum_clock(1, 500, [&[1, 2, 3], &[]]), Some(100));
        assert_eq!(lease.quorum_clock(1, 500, [&[1, 2, 3], &[3, 4, 5]]), None, "no one of the outgoing half answered");
        lease.handled(200, 3, 7, 80);
        lease.handled(200, 4, 7, 90);
        assert_eq!(lease.quorum_clock(1, 500, [&[1, 2, 3], &[3, 4, 5]]), Some(80));
    }

    #[test]
    fn a_sole_voter_always_has_its_own_clock() {
        assert_eq!(Lease::default().quorum_clock(1, 500, [&[1], &[]]), Some(500));
    }

    #[test]
    fn the_only_voter_left_behind_a_hand_over_that_nobody_took_has_its_own_clock() {
        let mut lease = Lease::default();
        lease.hand_over();
        assert_eq!(lease.quorum_clock(1, 500, [&[1, 2], &[]]), None);
        assert_eq!(lease.quorum_clock(1, 500, [&[1], &[1, 2]]), None, "the other one still counts");
        assert_eq!(lease.quorum_clock(1, 500, [&[1], &[]]), Some(500));
    }

    #[test]
    fn nothing_holds_after_leadership_was_handed_over_or_in_a_new_term() {
        let mut lease = Lease::default();
        lease.handled(200, 2, 7, 100);
        lease.hand_over();
        assert_eq!(lease.quorum_clock(1, 500, [&[1, 2, 3], &[]]), None);
        lease.reset();
        assert_eq!(lease.quorum_clock(1, 500, [&[1, 2, 3], &[]]), None, "the echo belonged to the old term");
    }

    #[test]
    fn a_lease_that_has_lapsed_covers_what_came_while_it_held() {
        let mut lease = Lease::default();
        lease.handled(120, 2, 7, 100);
        assert!(lease.covered(2, 100, 50) && !lease.covered(3, 100, 50));
        assert!(!lease.covered(2, 121, 50), "it began behind that");
        assert!(!lease.covered(2, 70, 50), "it had ended");
        lease.handled(500, 2, 6, 100);
        assert!(lease.covered(2, 100, 50), "an older message is not what is echoed");
        lease.handled(500, 2, 8, 100);
        assert!(!lease.covered(2, 100, 50));
        lease.handled(120, 3, 7, 100);
        lease.hand_over();
        assert!(!lease.covered(3, 100, 50));
    }

    #[test]
    fn a_follower_is_fresh_only_once_it_applied_what_was_committed() {
        let mut lease = Lease::default();
        lease.leader_committed(100, 9, 8);
        assert_eq!(lease.fresh_ns(), 0);
        lease.applied(9);
        assert_eq!(lease.fresh_ns(), 100);
    }
}
