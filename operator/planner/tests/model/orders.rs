//! What becomes of one action of an operator: the refusals of the real nodes (`granary-machine`'s meta shard, the guards
//! in front of it) and of the substrates, on the true state.

use crate::{
    bounds::Bounds,
    broken::Broken,
    few::Few,
    world::{Disk, MOST, Node, Place, Process, Replica, Role, SILENT, Shard, World},
};

/// A step of a plan, or a part of one that the operator can be stopped after.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Act {
    Mint,
    Start(u8),
    /// Keep the content of Bootstrap, with the founders' disks as they were seen.
    Keep {
        epochs: [u8; 3],
        all_blank: bool,
        /// What was kept when the operator looked: nothing else is replaced.
        instead_of: Option<[u8; 3]>,
    },
    /// Send it to the founder at a place, while it is still what is kept.
    Bootstrap {
        index: u8,
        epochs: [u8; 3],
    },
    NoteFounded,
    Join(u8),
    Create(Few<Few<u8, 3>, 4>),
    Reconfigure(Few<(u8, Few<u8, 3>), 5>),
    Transfer(Few<(u8, u8), 4>),
    Drain(u8),
    CancelDrain(u8),
    Remove(u8),
    Reserve(u8),
    LeadersAway(u8),
    Release(u8),
    /// `starting`: none of its code ran when the operator looked.
    Restart {
        index: u8,
        starting: bool,
    },
    Retire(u8),
}

impl Act {
    /// Whether the nodes check the operator's token on it: whoever was overtaken cannot do it any more.
    pub fn is_fenced(&self) -> bool {
        !self.is_of_substrate() && !matches!(self, Self::Bootstrap { .. })
    }

    fn is_of_substrate(&self) -> bool {
        matches!(self, Self::Mint | Self::Start(_) | Self::Keep { .. } | Self::NoteFounded)
            || matches!(self, Self::Restart { .. } | Self::Retire(_))
    }

    /// Whether it takes a process or a disk away: an operator shows that it is still the one before it does that.
    pub fn is_confirmed(&self) -> bool {
        matches!(self, Self::Restart { .. } | Self::Retire(_))
    }

    /// Whether it moves, makes or takes away something; the others only make room for that, and end by themselves.
    pub fn is_work(&self) -> bool {
        !matches!(self, Self::Reserve(_) | Self::LeadersAway(_) | Self::Release(_))
    }
}

/// Why an action was not done.
#[derive(Debug)]
pub enum Refused {
    /// A plan from a fresh and true view must not ask for it.
    Wrong(String),
    /// Nobody could know, or it only comes too early.
    Later,
}

fn wrong<T>(why: impl Into<String>) -> Result<T, Refused> {
    Err(Refused::Wrong(why.into()))
}

impl World {
    /// Does it, or says why not. `outdated`: bits of shards whose groups changed since the plan was made.
    pub fn obey(&mut self, bounds: &Bounds, act: &Act, outdated: u8) -> Result<(), Refused> {
        if (act.is_fenced()) && !self.answers() {
            return Err(Refused::Later);
        }
        match act {
            Act::Mint => self.minted = true,
            Act::NoteFounded => self.founded = true,
            Act::Start(index) => self.start(bounds, *index)?,
            Act::Restart { index, starting } => {
                let came_up = |place: &Place| {
                    *starting && place.process == Process::Running && bounds.broken != Broken::ComingUpUnchecked
                };
                // A machine that is out of reach does not stop what runs on it; what was made anew since is left.
                let goes = |place: &&mut Place| place.restart && !place.cut && !came_up(place);
                if let Some(place) = self.place_mut(*index).filter(goes) {
                    (place.process, place.restart) = (Process::Starting, false);
                }
            }
            Act::Retire(index) => {
                self.places.retain(|place| place.index != *index);
                if bounds.keeps_disks {
                    self.taken |= 1 << index;
                }
            }
            Act::Keep { epochs, all_blank, instead_of } => {
                let same = self.kept == *instead_of || bounds.broken == Broken::FoundingReplaced;
                self.keep(bounds, *epochs, *all_blank && same)?;
            }
            Act::Bootstrap { index, epochs } => {
                let first = bounds.factor as usize;
                let kept = self.kept.is_some_and(|kept| kept[..first] == epochs[..first]);
                if !kept && bounds.broken != Broken::FoundingNotReadAgain {
                    return Err(Refused::Later);
                }
                self.bootstrap(bounds, *index, *epochs)?;
            }
            Act::Join(index) => self.join(bounds, *index)?,
            Act::Create(placements) => self.create(bounds, placements)?,
            Act::Reconfigure(moves) => {
                let mut refused = Ok(());
                for (shard, nodes) in moves.iter() {
                    refused = refused.and(self.reconfigure(bounds, *shard, nodes, outdated));
                }
                refused?;
            }
            Act::Transfer(transfers) => {
                let alive = self.alive();
                for (shard, to) in transfers.iter() {
                    let group = &self.shards[*shard as usize];
                    let votes = group.replica(*to).is_some_and(|r| r.role == Role::Voter);
                    if group.leader != 0 && votes && group.can_lead(*to, alive) {
                        self.lead(*shard as usize, *to);
                    }
                }
            }
            Act::Drain(id) => {
                let left = self.nodes.iter().filter(|node| !node.draining && node.id != *id).count();
                let Some(node) = self.node_mut(*id) else { return wrong("no such node") };
                if !node.draining && left < bounds.factor as usize {
                    return wrong("too few would be left");
                }
                node.draining = true;
            }
            Act::CancelDrain(id) => match self.node_mut(*id) {
                Some(node) => node.draining = false,
                None => return wrong("no such node"),
            },
            Act::Remove(id) => self.remove(bounds, *id)?,
            Act::Reserve(id) => self.reserve(bounds, *id)?,
            Act::LeadersAway(id) => match self.node_mut(*id) {
                Some(node) => node.away = true,
                None => return wrong("no such node"),
            },
            Act::Release(id) => {
                if self.stop == *id {
                    self.stop = 0;
                }
                self.node_mut(*id).into_iter().for_each(|node| node.away = false);
            }
        }
        self.settle();
        Ok(())
    }

    fn start(&mut self, bounds: &Bounds, index: u8) -> Result<(), Refused> {
        if let Some(place) = self.place_mut(index) {
            match (place.process, place.disk) {
                (Process::Stopped, _) => place.process = Process::Starting,
                // A claim that is not there is made anew.
                (_, Disk::Gone) => (place.disk, place.epoch) = (Disk::Blank, place.epoch + 1),
                _ => {}
            }
            return Ok(());
        }
        if self.taken & 1 << index != 0 {
            return wrong("its index was given up");
        }
        if self.places.is_full() {
            return wrong("more places than anybody asked for");
        }
        let zone = if bounds.zones == 0 { 0 } else { index % bounds.zones };
        self.places.push(Place { index, zone, ..Place::default() });
        self.places.sort_by_key(|place| place.index);
        Ok(())
    }

    fn keep(&mut self, bounds: &Bounds, epochs: [u8; 3], replace: bool) -> Result<(), Refused> {
        if self.kept.is_none() || replace {
            self.kept = Some(epochs);
        }
        let same = self.kept.is_some_and(|kept| kept[..bounds.factor as usize] == epochs[..bounds.factor as usize]);
        if same { Ok(()) } else { Err(Refused::Later) }
    }

    fn bootstrap(&mut self, bounds: &Bounds, index: u8, content: [u8; 3]) -> Result<(), Refused> {
        let none_left = self.on_disk() == 0;
        let Some(place) = self.place_mut(index).filter(|place| place.is_up()) else { return Err(Refused::Later) };
        match place.disk {
            Disk::Member(_) => return Ok(()),
            Disk::Blank if content[index as usize] == place.epoch => {
                place.disk = Disk::Member(index + 1);
            }
            Disk::Blank | Disk::Gone => return Err(Refused::Later),
        }
        if none_left {
            // Nothing is left of an earlier attempt; `rules` sees to it that it held nothing.
            self.content = Some(content);
            if self.shards.len() == 1 {
                self.nodes = Few::default();
                self.shards = Few::default();
            }
        }
        let factor = bounds.factor;
        let accepted = self.on_disk();
        if self.shards.is_empty() && accepted.count_ones() > u32::from(factor) / 2 {
            let zone = |index: u8| self.place(index).map_or(0, |place| place.zone);
            self.nodes =
                (0..factor).map(|name| Node { id: name + 1, name, zone: zone(name), ..Node::default() }).collect();
            self.next_node = factor + 1;
            let voter = |node: u8| Replica { node, role: Role::Voter, data: accepted & 1 << node != 0 };
            let target: Few<u8, 3> = (1..=factor).collect();
            self.shards.push(Shard { leader: 0, replicas: (1..=factor).map(voter).collect(), target });
        }
        Ok(())
    }

    fn join(&mut self, bounds: &Bounds, index: u8) -> Result<(), Refused> {
        let Some(place) = self.place(index).copied() else { return Err(Refused::Later) };
        if !place.is_up() {
            return Err(Refused::Later);
        }
        if place.disk != Disk::Blank {
            return wrong("its disk is not blank");
        }
        if self.is_awaited(&place) && self.node(index + 1).is_some_and(|node| node.name == index) {
            return self.bootstrap(bounds, index, self.kept.unwrap_or_default());
        }
        if self.nodes.len() == MOST {
            return wrong("more members than anybody asked for");
        }
        let reused = bounds.broken == Broken::IdsComeBack;
        let id = if reused { (1..).find(|id| self.node(*id).is_none()).unwrap_or(1) } else { self.next_node };
        self.next_node = self.next_node.max(id + 1);
        self.nodes.push(Node { id, name: index, zone: place.zone, ..Node::default() });
        self.nodes.sort_by_key(|node| node.id);
        self.place_mut(index).into_iter().for_each(|place| place.disk = Disk::Member(id));
        Ok(())
    }

    fn create(&mut self, bounds: &Bounds, placements: &Few<Few<u8, 3>, 4>) -> Result<(), Refused> {
        if self.shards.len() > 1 {
            let same = self.shards[1..].iter().map(|shard| &shard.target).eq(placements.iter());
            return if same { Ok(()) } else { wrong("created before, elsewhere") };
        }
        if placements.len() != bounds.shards as usize {
            return wrong("not every shard once");
        }
        for nodes in placements.iter() {
            self.can_hold(bounds, nodes, &|_| false)?;
        }
        for nodes in placements.iter() {
            self.shards.push(Shard::whole(nodes));
        }
        Ok(())
    }

    /// Distinct members, as many as copies; the new ones neither drain nor are about to stop.
    fn can_hold(&self, bounds: &Bounds, nodes: &[u8], present: &dyn Fn(u8) -> bool) -> Result<(), Refused> {
        let distinct = nodes.iter().all(|node| nodes.iter().filter(|other| *other == node).count() == 1);
        if nodes.len() != bounds.factor as usize || !distinct {
            return wrong(format!("{nodes:?} are not {} nodes", bounds.factor));
        }
        for id in nodes {
            match self.node(*id) {
                None => return wrong(format!("node {id} is no member")),
                Some(_) if present(*id) => {}
                Some(node) if node.draining => return wrong(format!("node {id} drains")),
                Some(_) if self.stop == *id => return wrong(format!("the stop of node {id} is reserved")),
                Some(_) => {}
            }
        }
        Ok(())
    }

    fn reconfigure(&mut self, bounds: &Bounds, id: u8, nodes: &Few<u8, 3>, outdated: u8) -> Result<(), Refused> {
        let Some(shard) = self.shards.get(id as usize).copied() else { return wrong("no such shard") };
        if shard.target == *nodes {
            return Ok(());
        }
        if outdated & 1 << id != 0 {
            return Err(Refused::Later);
        }
        let present =
            |node| shard.replica(node).is_some_and(|r| r.role != Role::Outgoing) || shard.target.contains(&node);
        self.can_hold(bounds, nodes, &present)?;
        self.shards[id as usize].target = *nodes;
        Ok(())
    }

    fn remove(&mut self, bounds: &Bounds, id: u8) -> Result<(), Refused> {
        let Some(node) = self.node(id) else { return Ok(()) };
        let needed = |shard: &Shard| shard.target.contains(&id) || shard.replica(id).is_some();
        if bounds.broken != Broken::UnknownIsAbsentUnguarded {
            if self.shards.iter().any(needed) {
                return wrong("a shard needs it");
            }
            if self.shards.iter().any(|shard| shard.leader == 0) {
                return wrong("a shard has not reported");
            }
            // What it said last of the replicas it holds counts until it is silent.
            if node.silence < SILENT && self.alive() & 1 << id == 0 {
                return Err(Refused::Later);
            }
        }
        self.nodes.retain(|node| node.id != id);
        if self.stop == id {
            self.stop = 0;
        }
        Ok(())
    }

    fn reserve(&mut self, bounds: &Bounds, id: u8) -> Result<(), Refused> {
        if self.node(id).is_none() {
            return wrong("no such node");
        }
        if self.stop != 0 && self.stop != id {
            return wrong(format!("the stop of node {} is reserved", self.stop));
        }
        if bounds.broken != Broken::StopsUnguarded {
            let alive = self.alive() & !(1 << id);
            for shard in self.shards.iter() {
                let votes = shard.replica(id).is_some_and(|replica| replica.role != Role::Learner);
                if shard.leader == 0 || votes && !shard.commits(alive) {
                    return wrong("a shard would lose its quorum, or is unknown");
                }
            }
        }
        self.stop = id;
        Ok(())
    }
}
