//! Free ports of 127.0.0.1, kept in the record so that a place keeps its addresses as long as nobody else takes them.

use std::{collections::BTreeSet, io, net::TcpListener};

use super::{
    files::doing,
    record::{PlaceRecord, Record},
};
use crate::substrate::SubstrateError;

/// Tries to find a port that no place of the record has.
const TRIES: usize = 64;

/// host:port of a port of this machine.
pub(super) fn address(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

/// Gives the place ports that can be bound now. `true`: the record was changed.
pub(super) fn settle(record: &mut Record, index: u32) -> Result<bool, SubstrateError> {
    if record.places.get(&index).is_some_and(all_free) {
        return Ok(false);
    }
    let mut taken: BTreeSet<u16> =
        record.places.values().flat_map(|place| [place.kv_port, place.peer_port, place.metrics_port]).collect();
    // All three are held at the same time, so that they differ.
    let mut held = Vec::new();
    for _ in 0..TRIES {
        if held.len() == 3 {
            break;
        }
        let (listener, port) = bind_any().map_err(doing("cannot find a free port of 127.0.0.1"))?;
        if taken.insert(port) {
            held.push((listener, port));
        }
    }
    let [(_, kv_port), (_, peer_port), (_, metrics_port)] = held.as_slice() else {
        return Err(SubstrateError::Place("cannot find 3 free ports of 127.0.0.1 that no node has".into()));
    };
    record.places.insert(
        index,
        PlaceRecord { kv_port: *kv_port, peer_port: *peer_port, metrics_port: *metrics_port, retiring: false },
    );
    Ok(true)
}

fn all_free(place: &PlaceRecord) -> bool {
    [place.kv_port, place.peer_port, place.metrics_port].iter().all(|port| TcpListener::bind(address(*port)).is_ok())
}

fn bind_any() -> io::Result<(TcpListener, u16)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    Ok((listener, port))
}
