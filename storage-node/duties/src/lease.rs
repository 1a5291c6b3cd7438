//! When a read may be answered by a lease: while it runs, and only if it still does behind the read, so that a pause
//! between the check and the read cannot make a stale answer (HAZARDS H16).

/// A lease as the store published it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Term of the leader that holds it.
    pub term: u64,
    /// Until when it may serve reads (ns, CLOCK_BOOTTIME); 0: not at all.
    pub until_ns: u64,
}

/// What a read rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ground {
    /// The lease of this term.
    Lease(u64),
    /// ReadIndex, which needs no second look.
    ReadIndex,
}

/// The ground for a read at `now_ns`, when the lease runs then.
pub fn ground(lease: Option<Lease>, now_ns: u64) -> Option<Ground> {
    lease.filter(|lease| now_ns < lease.until_ns).map(|lease| Ground::Lease(lease.term))
}

/// Asked after reading: whether what was read may be answered. `lease` is the one published by then.
pub fn still_holds(ground: Ground, lease: Option<Lease>, now_ns: u64) -> bool {
    match ground {
        Ground::ReadIndex => true,
        Ground::Lease(term) => lease.is_some_and(|lease| lease.term == term && now_ns < lease.until_ns),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_by_lease_holds_only_while_that_lease_runs() {
        let lease = |term, until_ns| Some(Lease { term, until_ns });
        assert_eq!(ground(lease(3, 100), 99), Some(Ground::Lease(3)));
        assert_eq!(ground(lease(3, 100), 100), None);
        assert_eq!(ground(None, 0), None);
        let read = Ground::Lease(3);
        assert!(still_holds(read, lease(3, 200), 150));
        assert!(!still_holds(read, lease(3, 100), 100), "it ran out while the rows were read");
        assert!(!still_holds(read, lease(4, 200), 150), "it is another one");
        assert!(!still_holds(read, None, 150));
        assert!(still_holds(Ground::ReadIndex, None, 150));
    }
}
