//! What becomes of one action of an operator: the refusals of the real nodes (`granary-machine`'s meta shard, the guards
//! in front of it) and of the substrates, on the true state.

use crate::{
    acts::Act,
    bounds::Bounds,
    broken::Broken,
    few::Few,
    world::{Place, Process, Role, SILENT, Shard, World},
};

/// Why an action was not done.
#[derive(Debug)]
pub enum Refused {
    /// A plan from a fresh and true view must not ask for it.
    Wrong(String),
    /// Nobody could know, or it only comes too early.
    Later,
}

pub(super) fn wrong<T>(why: impl Into<String>) -> Result<T, Refused> {
    Err(Refused::Wrong(why.into()))
}

impl World {
    /// Does it, or says why not. `outdated`: bits of shards whose groups changed since the plan was made.
    pub fn obey(&mut self, bounds: &Bounds, act: &Act, outdated: u8) -> Result<(), Refused> {
        let asks = act.is_fenced() || act.is_confirmed() && bounds.broken != Broken::Unconfirmed;
        if asks && !self.answers() {
            return Err(Refused::Later);
        }
        match act {
            Act::Mint => self.minted = true,
            Act::NoteFounded => self.founded = true,
            Act::Start(index) => self.start(bounds, *index)?,
            Act::Restart { index, starting, .. } => {
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
        self.places.iter_mut().filter(|place| place.admitted == id).for_each(|place| place.admitted = 0);
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
