//! Strongly connected parts of a graph (Tarjan 1972), for cycles that must not be: those in which an operator works, and
//! those that nothing leads out of.

use std::collections::{HashMap, VecDeque};

/// Edges of what happens by itself, by number of the state.
#[derive(Default)]
pub struct Graph {
    starts: Vec<usize>,
    /// Target, and in the highest bit whether an operator works.
    edges: Vec<u32>,
}

const WORK: u32 = 1 << 31;

/// A cycle that has to be judged; its states, in order, the first one at the end again.
#[derive(Clone, Debug)]
pub enum Circle {
    /// An operator works on the way round.
    Works(Vec<u32>),
    /// Nothing leads out of the part that it is in.
    NeverRests(Vec<u32>),
}

impl Graph {
    /// The edges of the next state follow.
    pub fn begin(&mut self) {
        self.starts.push(self.edges.len());
    }

    pub fn edge(&mut self, to: u32, works: bool) {
        self.edges.push(to | if works { WORK } else { 0 });
    }

    fn of(&self, state: u32) -> &[u32] {
        let end = self.starts.get(state as usize + 1).copied().unwrap_or(self.edges.len());
        &self.edges[self.starts[state as usize]..end]
    }

    /// A cycle with work if there is one, and one of each part that nothing leads out of.
    pub fn circles(&self) -> Vec<Circle> {
        let parts = self.parts();
        let part = |state: u32| parts[state as usize];
        let states = || 0..self.starts.len() as u32;
        for from in states() {
            if let Some(edge) = self.of(from).iter().find(|e| **e & WORK != 0 && part(**e & !WORK) == part(from)) {
                return vec![Circle::Works(self.ring(from, edge & !WORK, &parts))];
            }
        }
        let mut open: HashMap<u32, (u32, bool)> = HashMap::new();
        for from in states() {
            for edge in self.of(from) {
                let inside = part(edge & !WORK) == part(from);
                if inside {
                    open.entry(part(from)).or_insert((from, false));
                }
            }
        }
        for from in states() {
            if let Some(found) = open.get_mut(&part(from)) {
                found.1 |= self.of(from).iter().any(|edge| part(edge & !WORK) != part(from));
            }
        }
        let mut closed: Vec<u32> = open.into_values().filter(|(_, leads_out)| !leads_out).map(|(one, _)| one).collect();
        closed.sort_unstable();
        let ring = |from: u32| {
            let next = self.of(from).iter().map(|edge| edge & !WORK).find(|to| part(*to) == part(from));
            Circle::NeverRests(self.ring(from, next.unwrap_or(from), &parts))
        };
        closed.into_iter().map(ring).collect()
    }

    /// The shortest cycle within a part that begins with this edge.
    fn ring(&self, from: u32, to: u32, parts: &[u32]) -> Vec<u32> {
        let mut parents = HashMap::from([(to, to)]);
        let mut queue = VecDeque::from([to]);
        while let Some(at) = queue.pop_front() {
            if at == from {
                break;
            }
            for next in self.of(at).iter().map(|edge| edge & !WORK) {
                if parts[next as usize] == parts[from as usize] && !parents.contains_key(&next) {
                    parents.insert(next, at);
                    queue.push_back(next);
                }
            }
        }
        let mut ring = vec![from];
        let mut at = from;
        while at != to {
            at = parents[&at];
            ring.push(at);
        }
        ring.push(from);
        ring.reverse();
        ring
    }

    /// For each state the number of its part.
    fn parts(&self) -> Vec<u32> {
        const NONE: u32 = u32::MAX;
        let count = self.starts.len();
        let (mut order, mut low, mut part) = (vec![NONE; count], vec![0; count], vec![NONE; count]);
        let (mut stack, mut calls, mut next, mut parts) = (vec![], vec![], 0, 0);
        for root in 0..count as u32 {
            if order[root as usize] != NONE {
                continue;
            }
            calls.push((root, 0));
            while let Some((at, edge)) = calls.pop() {
                let here = at as usize;
                if edge == 0 {
                    (order[here], low[here]) = (next, next);
                    next += 1;
                    stack.push(at);
                }
                if let Some(to) = self.of(at).get(edge).map(|to| to & !WORK) {
                    calls.push((at, edge + 1));
                    if order[to as usize] == NONE {
                        calls.push((to, 0));
                    } else if part[to as usize] == NONE {
                        low[here] = low[here].min(order[to as usize]);
                    }
                    continue;
                }
                if low[here] == order[here] {
                    while let Some(member) = stack.pop() {
                        part[member as usize] = parts;
                        if member == at {
                            break;
                        }
                    }
                    parts += 1;
                }
                if let Some((caller, _)) = calls.last() {
                    let caller = *caller as usize;
                    low[caller] = low[caller].min(low[here]);
                }
            }
        }
        part
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(edges: &[&[(u32, bool)]]) -> Graph {
        let mut graph = Graph::default();
        for of in edges {
            graph.begin();
            of.iter().for_each(|(to, works)| graph.edge(*to, *works));
        }
        graph
    }

    #[test]
    fn a_cycle_with_work_is_found_and_one_that_ends_is_left() {
        let way = graph(&[&[(1, true)], &[(2, true), (3, false)], &[], &[(1, false)]]);
        assert!(way.circles().is_empty(), "{:?}", way.circles());
        let round = graph(&[&[(1, false)], &[(2, true)], &[(3, false)], &[(1, false), (4, false)], &[]]);
        let [Circle::Works(ring)] = &round.circles()[..] else { panic!("{:?}", round.circles()) };
        assert_eq!(ring, &[1, 2, 3, 1]);
        let stuck = graph(&[&[(1, true)], &[(2, false)], &[(1, false)]]);
        let [Circle::NeverRests(ring)] = &stuck.circles()[..] else { panic!("{:?}", stuck.circles()) };
        assert_eq!(ring.len(), 3);
    }
}
