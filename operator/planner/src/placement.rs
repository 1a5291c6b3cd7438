//! Where replicas and leaders best are: failure domains first, then even counts.
//! Turns nodes and shards into bins and items for `even`; does not know what may be moved now.

use std::collections::BTreeMap;

use crate::even::{Bin, Item, Kind, even};
use crate::observed::{Domains, Node};

/// Bins for these nodes. A node without a machine is its own machine; one without a zone is its own zone.
pub(crate) fn bins(nodes: &[&Node], kind: impl Fn(&Node) -> Kind) -> Vec<Bin> {
    let domains: Vec<_> = nodes.iter().map(|node| &node.domains).collect();
    let groups = Groups::new(&domains);
    let bin =
        |(at, node): (usize, &&Node)| Bin { kind: kind(node), machine: groups.machine[at], zone: groups.zone[at] };
    nodes.iter().enumerate().map(bin).collect()
}

/// How crowded the domains are when each shard is spread over these nodes as well as can be: (pairs of a shard's
/// replicas on one machine, pairs in one zone, unevenness of the zones). Lower is better.
pub(crate) fn crowding(nodes: &[&Domains], factor: usize) -> (usize, usize, usize) {
    let groups = Groups::new(nodes);
    let sizes = |group: &[usize]| {
        let mut sizes = BTreeMap::new();
        for id in group {
            *sizes.entry(*id).or_insert(0_usize) += 1;
        }
        sizes.into_values().collect::<Vec<_>>()
    };
    let zones = sizes(&groups.zone);
    (pairs(&sizes(&groups.machine), factor), pairs(&zones, factor), zones.iter().map(|size| size * size).sum())
}

/// Fewest pairs that share a group when `factor` replicas are dealt to groups of these sizes.
fn pairs(sizes: &[usize], factor: usize) -> usize {
    let mut dealt = vec![0; sizes.len()];
    for _ in 0..factor {
        let room = (0..sizes.len()).filter(|group| dealt[*group] < sizes[*group]).min_by_key(|group| dealt[*group]);
        let Some(group) = room else { break };
        dealt[group] += 1;
    }
    dealt.iter().map(|many| many * many.saturating_sub(1) / 2).sum()
}

struct Groups {
    machine: Vec<usize>,
    zone: Vec<usize>,
}

impl Groups {
    fn new(domains: &[&Domains]) -> Self {
        let place = |same: &dyn Fn(&Domains, &Domains) -> bool, at: usize| {
            domains.iter().position(|other| same(other, domains[at])).unwrap_or(at).min(at)
        };
        let machine = |a: &Domains, b: &Domains| !a.machine.is_empty() && a == b;
        let zone = |a: &Domains, b: &Domains| !a.zone.is_empty() && a.zone == b.zone;
        Self {
            machine: (0..domains.len()).map(|at| place(&machine, at)).collect(),
            zone: (0..domains.len()).map(|at| place(&zone, at)).collect(),
        }
    }
}

/// First voters of new shards (1 to `count`), the preferred leader first: round robin, then evened out by domains and
/// counts, leaders within 1 and neighbours led by different nodes where that is possible.
pub(crate) fn first(nodes: &[&Node], count: u32, factor: usize) -> Vec<(u32, Vec<u64>)> {
    let n = nodes.len();
    let bins = bins(nodes, |_| Kind::Open);
    let deal = |shard: usize| {
        let bins: Vec<usize> = (0..factor.min(n)).map(|copy| (shard + copy) % n).collect();
        Item { bins, home: Vec::new(), may: (0..n).collect(), rather: None }
    };
    let spread = even(&bins, (0..count as usize).map(deal).collect());

    let mut led = vec![0_usize; n];
    let mut before = usize::MAX;
    let mut leaders = Vec::with_capacity(spread.len());
    for voters in &spread {
        let Some(leader) = voters.iter().copied().min_by_key(|bin| (*bin == before, led[*bin])) else { continue };
        led[leader] += 1;
        before = leader;
        leaders.push(Item { bins: vec![leader], home: Vec::new(), may: voters.clone(), rather: None });
    }
    let apart: Vec<_> = (0..n).map(|at| Bin { kind: Kind::Open, machine: at, zone: at }).collect();
    let leaders = even(&apart, leaders);
    let placement = |(shard, (voters, leader)): (u32, (&Vec<usize>, Vec<usize>))| {
        let mut voters = voters.clone();
        voters.sort_by_key(|bin| !leader.contains(bin));
        (shard, voters.into_iter().map(|bin| nodes[bin].id).collect())
    };
    (1..).zip(spread.iter().zip(leaders)).map(placement).collect()
}

/// Where the meta shard shall be: off the nodes that have to be left, domains apart, else unchanged; to the nodes with
/// the lowest load.
pub(crate) fn meta(bins: &[Bin], meta: Item, loads: &[usize]) -> Vec<usize> {
    // The least loaded bin first: among equally good ways the first is taken.
    let mut order: Vec<usize> = (0..bins.len()).collect();
    order.sort_by_key(|bin| (loads[*bin], *bin));
    let places = |bins: &[usize]| bins.iter().filter_map(|bin| order.iter().position(|other| other == bin)).collect();
    let sorted: Vec<Bin> = order.iter().map(|bin| bins[*bin]).collect();
    let item = Item { bins: places(&meta.bins), home: places(&meta.home), may: places(&meta.may), rather: None };
    even(&sorted, vec![item]).into_iter().flatten().map(|bin| order[bin]).collect()
}
