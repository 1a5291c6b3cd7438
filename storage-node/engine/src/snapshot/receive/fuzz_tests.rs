//! A snapshot on its way, damaged in every way: what is taken says what was sent.

use std::fs;

use bytes::Bytes;
use granary_fuzz::{cases, damage};
use proptest::prelude::*;

use super::*;
use crate::{
    snapshot::export,
    testing::{TestDisk, fill},
};

/// A manifest and its chunks, as they go over the wire.
fn stream(disk: &TestDisk) -> (Vec<u8>, Vec<Vec<u8>>) {
    let stores = disk.stores();
    fill(&stores.data, ShardId(1), SlotRange { start: 10, end: 20 }, 20, 60);
    let exported = export(&stores.data, ShardId(1), &stores.staging, &mut || ()).unwrap();
    let chunks = exported.chunks().map(|chunk| chunk.unwrap().encode_to_vec()).collect();
    (exported.manifest().encode_to_vec(), chunks)
}

/// Whether the receiver takes all of it.
fn taken(disk: &TestDisk, manifest: &[u8], chunks: &[Vec<u8>]) -> bool {
    let Ok(manifest) = SnapshotManifest::decode(manifest) else { return false };
    let Ok(mut incoming) = disk.stores().staging.receive(manifest) else { return false };
    for chunk in chunks {
        match SnapshotChunk::decode(&**chunk) {
            Ok(chunk) if incoming.chunk(&chunk).is_ok() => {}
            _ => return false,
        }
    }
    incoming.finish().is_ok()
}

#[test]
fn a_damaged_stream_of_a_snapshot_is_refused_or_says_what_was_sent() {
    let (source, target) = (TestDisk::new(1), TestDisk::new(2));
    let (manifest, chunks) = stream(&source);
    assert!(taken(&target, &manifest, &chunks));
    let said = |bytes: &[u8]| SnapshotManifest::decode(bytes).ok();
    let config = cases(192);
    proptest!(config, |(damages in damage::damages(), which in any::<prop::sample::Index>())| {
        let damaged = damage::apply(&damages, &manifest);
        if taken(&target, &damaged, &chunks) {
            // A field that nobody knows, or one that is said twice alike; names of files are the receiver's own.
            let nameless = |bytes: &[u8]| said(bytes).map(|mut manifest| {
                manifest.files.iter_mut().for_each(|file| file.name.clear());
                manifest
            });
            prop_assert_eq!(nameless(&damaged), nameless(&manifest));
        }
        let mut bad = chunks.clone();
        let at = which.index(bad.len());
        bad[at] = damage::apply(&damages, &bad[at]);
        if taken(&target, &manifest, &bad) {
            prop_assert_eq!(SnapshotChunk::decode(&*bad[at]).ok(), SnapshotChunk::decode(&*chunks[at]).ok());
        }
    });
    assert_eq!(fs::read_dir(target.path().join("staging")).unwrap().count(), 0);
}

#[test]
fn a_flipped_bit_in_a_chunk_of_a_snapshot_is_found() {
    let (source, target) = (TestDisk::new(1), TestDisk::new(2));
    let (manifest, chunks) = stream(&source);
    let chunk = SnapshotChunk::decode(&*chunks[0]).unwrap();
    for flipped in damage::single_flips(&chunk.data).step_by(61) {
        let chunk = SnapshotChunk { data: Bytes::from(flipped), ..chunk.clone() };
        assert!(!taken(&target, &manifest, &[chunk.encode_to_vec()]));
    }
}
