//! Places and how a disk becomes a member's: what the substrates do, Bootstrap and Join.

use crate::{
    bounds::Bounds,
    broken::Broken,
    few::Few,
    orders::{Refused, wrong},
    world::{Disk, MOST, Node, Place, Process, Replica, Role, Shard, World},
};

impl World {
    pub(super) fn start(&mut self, bounds: &Bounds, index: u8) -> Result<(), Refused> {
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

    pub(super) fn keep(&mut self, bounds: &Bounds, epochs: [u8; 3], replace: bool) -> Result<(), Refused> {
        if self.kept.is_none() || replace {
            self.kept = Some(epochs);
        }
        let same = self.kept.is_some_and(|kept| kept[..bounds.factor as usize] == epochs[..bounds.factor as usize]);
        if same { Ok(()) } else { Err(Refused::Later) }
    }

    pub(super) fn bootstrap(&mut self, bounds: &Bounds, index: u8, content: [u8; 3]) -> Result<(), Refused> {
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

    pub(super) fn join(&mut self, bounds: &Bounds, index: u8) -> Result<(), Refused> {
        self.admit(bounds, index)?;
        if let Some(place) = self.place_mut(index).filter(|place| place.admitted != 0) {
            (place.disk, place.admitted) = (Disk::Member(place.admitted), 0);
        }
        Ok(())
    }

    /// A join whose answer the new node does not hear: it has an id, and does not know it. A node is its disk, so asking
    /// again gives the same.
    pub(super) fn admit(&mut self, bounds: &Bounds, index: u8) -> Result<(), Refused> {
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
        if self.node(place.admitted).is_some() {
            return Ok(());
        }
        if self.nodes.len() == MOST {
            return wrong("more members than anybody asked for");
        }
        let reused = bounds.broken == Broken::IdsComeBack;
        let id = if reused { (1..).find(|id| self.node(*id).is_none()).unwrap_or(1) } else { self.next_node };
        self.next_node = self.next_node.max(id + 1);
        self.nodes.push(Node { id, name: index, zone: place.zone, ..Node::default() });
        self.nodes.sort_by_key(|node| node.id);
        self.place_mut(index).into_iter().for_each(|place| place.admitted = id);
        Ok(())
    }
}
