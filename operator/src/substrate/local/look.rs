//! What the record and the processes tell, as the planner's places.

use granary_planner::observed::{Disk, Domains, Place, Process, Seen};

use super::{
    layout::{self, Layout},
    ports, process,
    record::{PlaceRecord, Record},
    wishes,
};
use crate::substrate::{Look, Storage, SubstrateError};

/// What is in the directory, without its lock: beside a loop that works there. Changes nothing.
///
/// # Errors
/// Its files cannot be read.
pub fn peek(layout: &Layout) -> Result<Look, SubstrateError> {
    let Some(record) = Record::load(layout)? else { return Ok(empty()) };
    let mut look = facts(layout, &record)?;
    for (index, of) in record.places.iter().filter(|(_, place)| !place.retiring) {
        look.places.push(place(layout, *index, of, process::find(layout, *index)?.is_some()));
    }
    Ok(look)
}

/// Of a cluster that does not exist yet.
pub fn empty() -> Look {
    Look {
        cluster_id: None,
        founded: false,
        founding: None,
        places: Vec::new(),
        draining: Vec::new(),
        taken: Vec::new(),
        kept: None,
        storage: Storage::default(),
        notes: Vec::new(),
        problems: Vec::new(),
    }
}

/// All but the places.
pub(super) fn facts(layout: &Layout, record: &Record) -> Result<Look, SubstrateError> {
    let draining = wishes::read(layout)?.draining;
    Ok(Look {
        cluster_id: record.cluster_id.clone(),
        founded: record.founded,
        founding: record.founding.clone(),
        draining,
        ..empty()
    })
}

/// One place. A disk that may hold a node is unknown until that node is asked.
pub(super) fn place(layout: &Layout, index: u32, place: &PlaceRecord, running: bool) -> Place {
    let process = if running { Process::Running } else { Process::Stopped };
    let disk = if running {
        Seen::Unknown("its node was not asked".into())
    } else if layout.holds_identity(index) {
        Seen::Unknown("its process does not run".into())
    } else {
        Seen::Fresh(Disk::Blank { uuid: None })
    };
    Place {
        index,
        name: layout::name(index),
        process: Seen::Fresh(process),
        disk,
        peer_address: Some(ports::address(place.peer_port)),
        kv_address: Some(ports::address(place.kv_port)),
        domains: Domains::default(),
        restart: None,
        cordoned: false,
    }
}
