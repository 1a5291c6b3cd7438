//! Spreads items over bins: the fewest changes that reach the best spread.
//!
//! Used for replicas of shards over nodes, and for leaders over voters. In this order of importance: bins that must be
//! left, no two of an item on one machine, then in one zone, then even counts, then as few changes as possible.
//!
//! It is a minimum cost flow, found by cancelling what can be improved: the graph has the *bins* as vertices and, as arc
//! `a -> b`, the cheapest item that can go from `a` to `b`. A path from a full bin to an empty one evens them out, a
//! cycle swaps. Every accepted change lowers the cost, so it ends; the order is fixed, so it is repeatable.
//! Knows nothing of clusters, plans or freshness.

use std::collections::{BTreeSet, HashSet};

/// What a bin may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Gives and takes.
    Open,
    /// Gives, and takes nothing.
    Shed,
    /// Has to be left.
    Leave,
    /// Is left alone.
    Hold,
}

/// A bin with its failure domains, as numbers that are equal when the domains are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bin {
    pub kind: Kind,
    pub machine: usize,
    pub zone: usize,
}

/// An item and the bins it is in.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    /// Indexes of bins, each once.
    pub bins: Vec<usize>,
    /// Bins that it may go back to almost for free, beside those it is in.
    pub home: Vec<usize>,
    /// Bins it may go to.
    pub may: Vec<usize>,
    /// Bin that it leaves only when no other item will do as well.
    pub rather: Option<usize>,
}

// Units of cost. An arc changes each part by at most a handful, and a path has fewer arcs than there are bins, so that
// no sum of a lower part reaches the next (for ways back: on paths of up to eight arcs, where it only breaks ties).
const ZONE: i64 = 1 << 12;
const CHANGE: i64 = 8;
const WAY_BACK: i64 = 1;
const MACHINE: i64 = 1 << 24;
const LEAVE: i64 = 1 << 36;
const NONE: i64 = i64::MAX / 4;

/// (domains, unevenness, changes): compared in this order, below (0, 0, 0) is better.
type Gain = (i64, i64, i64);

/// An item's offer to go along an arc: its cost, then what decides between equals: first the items with the fewest
/// changes so far, those that leave their `rather` last, then by index.
type Offer = (i64, usize, bool, usize);

/// Returns the items' bins after evening out. An item that cannot move is returned as it was.
pub(crate) fn even(bins: &[Bin], items: Vec<Item>) -> Vec<Vec<usize>> {
    let mut field = Field::new(bins, items);
    let mut refused = HashSet::new();
    while let Some((gain, path)) = field.best(&refused) {
        let ends = (path[0], path[path.len() - 1]);
        if field.walk(&path, gain.1) {
            refused.clear();
        } else {
            refused.insert(ends);
        }
    }
    field.items.into_iter().map(|item| item.bins).collect()
}

struct Field<'a> {
    bins: &'a [Bin],
    items: Vec<Item>,
    first: Vec<Vec<usize>>,
    counts: Vec<i64>,
    /// For each arc (from * n + to) the items that can take it, cheapest first.
    arcs: Vec<BTreeSet<Offer>>,
}

impl<'a> Field<'a> {
    fn new(bins: &'a [Bin], items: Vec<Item>) -> Self {
        let mut counts = vec![0; bins.len()];
        for bin in items.iter().flat_map(|item| &item.bins) {
            counts[*bin] += 1;
        }
        let first = items.iter().map(|item| item.bins.clone()).collect();
        let mut field = Self { bins, items, first, counts, arcs: vec![BTreeSet::new(); bins.len() * bins.len()] };
        for index in 0..field.items.len() {
            field.offer(index, true);
        }
        field
    }

    /// Puts the item into all arcs it can take, or takes it out of them.
    fn offer(&mut self, index: usize, add: bool) {
        let item = &self.items[index];
        let changed = item.bins.iter().filter(|bin| !self.first[index].contains(bin)).count();
        for &from in item.bins.iter().filter(|from| self.bins[**from].kind != Kind::Hold) {
            for &to in item.may.iter().filter(|to| self.bins[**to].kind == Kind::Open && !item.bins.contains(*to)) {
                let entry = (self.cost(index, from, to), changed, item.rather == Some(from), index);
                let arc = &mut self.arcs[from * self.bins.len() + to];
                if add {
                    arc.insert(entry);
                } else {
                    arc.remove(&entry);
                }
            }
        }
    }

    /// What it costs to take the item from one bin to another; negative is better.
    fn cost(&self, index: usize, from: usize, to: usize) -> i64 {
        let mut cost = 0;
        for &other in self.items[index].bins.iter().filter(|other| **other != from) {
            let pair = |bin: usize| {
                MACHINE * i64::from(self.bins[bin].machine == self.bins[other].machine)
                    + ZONE * i64::from(self.bins[bin].zone == self.bins[other].zone)
            };
            cost += pair(to) - pair(from);
        }
        if self.bins[from].kind == Kind::Leave {
            cost -= LEAVE;
        }
        let changed = |bin: usize| match (self.first[index].contains(&bin), self.items[index].home.contains(&bin)) {
            (true, _) => 0,
            (false, true) => WAY_BACK,
            (false, false) => CHANGE,
        };
        cost + changed(to) - changed(from)
    }

    /// The best improvement and its way through the bins, if there is one that was not refused.
    fn best(&self, refused: &HashSet<(usize, usize)>) -> Option<(Gain, Vec<usize>)> {
        let n = self.bins.len();
        let arc = |from: usize, to: usize| self.arcs[from * n + to].first().map_or(NONE, |offer| offer.0);
        let mut distance = vec![NONE; n * n];
        let mut next = vec![usize::MAX; n * n];
        for from in 0..n {
            for to in (0..n).filter(|to| *to != from) {
                (distance[from * n + to], next[from * n + to]) = (arc(from, to), to);
            }
        }
        let mut cycle = None;
        'search: for via in 0..n {
            for from in 0..n {
                if distance[from * n + via] >= NONE {
                    continue;
                }
                for to in 0..n {
                    let through = distance[from * n + via] + distance[via * n + to];
                    if distance[via * n + to] >= NONE || through >= distance[from * n + to].min(NONE) {
                        continue;
                    }
                    // The way from a bin to itself counts only as a cycle, and the first good one ends the search:
                    // behind a negative cycle distances mean nothing.
                    if from == to {
                        if through < 0 && !refused.contains(&(from, from)) {
                            let way = trace(&next, n, from, via).zip(trace(&next, n, via, from));
                            if let Some((mut out, back)) = way {
                                out.extend(&back[1..]);
                                cycle = Some((through, out));
                                break 'search;
                            }
                        }
                        continue;
                    }
                    (distance[from * n + to], next[from * n + to]) = (through, next[from * n + via]);
                }
            }
        }
        if let Some((cost, path)) = cycle {
            let (domains, changes) = parts(cost);
            return Some(((domains, 0, changes), path));
        }
        let mut best: Option<(Gain, usize, usize)> = None;
        for from in (0..n).filter(|from| self.bins[*from].kind != Kind::Hold) {
            for to in (0..n).filter(|to| *to != from && !refused.contains(&(from, *to))) {
                if distance[from * n + to] >= NONE {
                    continue;
                }
                let (domains, changes) = parts(distance[from * n + to]);
                let gain = (domains, self.unevenness(from, to), changes);
                if gain < (0, 0, 0) && best.is_none_or(|(found, ..)| gain < found) {
                    best = Some((gain, from, to));
                }
            }
        }
        let (gain, from, to) = best?;
        Some((gain, trace(&next, n, from, to)?))
    }

    /// How the sum of squares changes (halved) when one goes from a bin to another. Bins to be left do not count.
    fn unevenness(&self, from: usize, to: usize) -> i64 {
        let given = if self.bins[from].kind == Kind::Leave { 0 } else { self.counts[from] - 1 };
        self.counts[to] - given
    }

    /// Takes the cheapest item along each arc of the way; undone when it was not better after all (when one item was
    /// wanted by two arcs, their costs do not add up).
    fn walk(&mut self, path: &[usize], unevenness: i64) -> bool {
        let mut done = Vec::new();
        let mut cost = 0;
        for step in path.windows(2) {
            let (from, to) = (step[0], step[1]);
            let Some((price, _, _, item)) = self.arcs[from * self.bins.len() + to].first().copied() else { break };
            self.take(item, from, to);
            cost += price;
            done.push((item, from, to));
        }
        let (domains, changes) = parts(cost);
        if done.len() + 1 == path.len() && (domains, unevenness, changes) < (0, 0, 0) {
            return true;
        }
        for (item, from, to) in done.into_iter().rev() {
            self.take(item, to, from);
        }
        false
    }

    fn take(&mut self, index: usize, from: usize, to: usize) {
        self.offer(index, false);
        for bin in self.items[index].bins.iter_mut().filter(|bin| **bin == from) {
            *bin = to;
        }
        self.counts[from] -= 1;
        self.counts[to] += 1;
        self.offer(index, true);
    }
}

/// Splits a cost into domains (with bins to be left) and changes.
fn parts(cost: i64) -> (i64, i64) {
    let domains = (cost + ZONE / 2).div_euclid(ZONE);
    (domains, cost - domains * ZONE)
}

/// The bins from one to another, both included; `None` where the table was spoilt by a negative cycle.
fn trace(next: &[usize], n: usize, from: usize, to: usize) -> Option<Vec<usize>> {
    let mut path = vec![from];
    let mut at = from;
    while at != to {
        at = *next.get(at * n + to)?;
        if at == usize::MAX || path.len() > n {
            return None;
        }
        path.push(at);
    }
    Some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bins(count: usize) -> Vec<Bin> {
        (0..count).map(|i| Bin { kind: Kind::Open, machine: i, zone: i }).collect()
    }

    fn items(count: usize, bins: &[usize], may: usize) -> Vec<Item> {
        let item = Item { bins: bins.to_vec(), home: Vec::new(), may: (0..may).collect(), rather: None };
        vec![item; count]
    }

    fn counts(spread: &[Vec<usize>], n: usize) -> Vec<usize> {
        (0..n).map(|bin| spread.iter().filter(|bins| bins.contains(&bin)).count()).collect()
    }

    #[test]
    fn counts_end_within_one() {
        let spread = even(&bins(5), items(64, &[0, 1, 2], 5));
        let counts = counts(&spread, 5);
        assert!(counts.iter().all(|count| (38..=39).contains(count)), "{counts:?}");
    }

    #[test]
    fn zones_come_before_counts() {
        let mut five = bins(5);
        for (index, zone) in [0, 0, 1, 1, 2].into_iter().enumerate() {
            five[index].zone = zone;
        }
        assert_eq!(counts(&even(&five, items(64, &[0, 1, 2], 5)), 5), [32, 32, 32, 32, 64]);
    }

    #[test]
    fn what_has_to_be_left_is_left_with_no_other_change() {
        let mut four = bins(4);
        four[0].kind = Kind::Leave;
        let spread = even(&four, items(16, &[0, 1, 2], 4));
        assert_eq!(counts(&spread, 4), [0, 16, 16, 16]);
    }

    #[test]
    fn a_held_bin_stays_as_it_is() {
        let mut three = bins(3);
        three[0].kind = Kind::Hold;
        let mut some = items(8, &[0], 3);
        some.extend(items(4, &[1], 3));
        assert_eq!(counts(&even(&three, some), 3), [8, 2, 2]);
    }

    #[test]
    fn among_equals_each_item_changes_once_and_leaves_the_bin_it_would_rather_keep_last() {
        let mut six = items(6, &[0, 1, 2], 5);
        for (index, item) in six.iter_mut().enumerate() {
            item.rather = Some(index % 3);
        }
        let spread = even(&bins(5), six.clone());
        assert!(counts(&spread, 5).iter().all(|count| (3..=4).contains(count)));
        for (item, bins) in six.iter().zip(&spread) {
            let changed = bins.iter().filter(|bin| !item.bins.contains(bin)).count();
            assert!(changed <= 1 && item.rather.is_some_and(|bin| bins.contains(&bin)), "{spread:?}");
        }
    }

    #[test]
    fn the_way_back_home_is_taken_before_another() {
        let mut five = bins(5);
        five[3].kind = Kind::Leave;
        let item = Item { bins: vec![0, 1, 3], home: vec![2], may: (0..5).collect(), rather: None };
        assert_eq!(even(&five, vec![item]), [[0, 1, 2]]);
    }
}
