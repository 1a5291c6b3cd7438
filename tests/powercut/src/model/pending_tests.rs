//! A file against an array of bytes.

use bytes::Bytes;
use proptest::prelude::*;

use super::pending::{FileOp, Flush, Pending};

#[derive(Debug, Clone)]
enum Step {
    Write(u64, Vec<u8>),
    SetLength(u64),
    Sync,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0u64..200, prop::collection::vec(1u8.., 0..50)).prop_map(|(offset, data)| Step::Write(offset, data)),
        2 => (0u64..200).prop_map(Step::SetLength),
        1 => Just(Step::Sync),
    ]
}

/// What the disk does with a flush.
fn flush(stored: &mut Vec<u8>, flush: Flush) {
    stored.truncate(flush.keep as usize);
    for (offset, data) in flush.writes {
        write(stored, offset, &data);
    }
    stored.resize(flush.length as usize, 0);
}

pub fn write(bytes: &mut Vec<u8>, offset: u64, data: &[u8]) {
    let end = offset as usize + data.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[offset as usize..end].copy_from_slice(data);
}

fn read(pending: &Pending, stored: &[u8], offset: u64, wanted: u64) -> Vec<u8> {
    let mut buffer = vec![0; pending.readable(offset, wanted)];
    let below = pending.stored_part(offset, buffer.len());
    if below > 0 {
        buffer[..below].copy_from_slice(&stored[offset as usize..offset as usize + below]);
    }
    pending.overlay(offset, &mut buffer);
    buffer
}

proptest! {
    #[test]
    fn a_reader_sees_every_write_and_a_sync_stores_what_it_sees(steps in prop::collection::vec(step(), 0..40)) {
        let (mut live, mut stored, mut pending) = (Vec::new(), Vec::new(), Pending::default());
        for step in steps {
            match step {
                Step::Write(offset, data) => {
                    if !data.is_empty() {
                        write(&mut live, offset, &data);
                    }
                    pending.write(offset, data.into());
                }
                Step::SetLength(length) => {
                    live.resize(length as usize, 0);
                    pending.set_length(length);
                }
                Step::Sync => {
                    flush(&mut stored, pending.flush());
                    pending.synced();
                    prop_assert_eq!(&stored, &live);
                    prop_assert!(pending.is_clean() && pending.bytes() == 0);
                }
            }
            prop_assert_eq!(pending.length(), live.len() as u64);
            prop_assert_eq!(pending.stored(), stored.len() as u64);
            for (offset, wanted) in [(0, 1000), (17, 40), (100, 100), (500, 1)] {
                let end = live.len().min(offset + wanted);
                let expected = live.get(offset..end).unwrap_or_default();
                prop_assert_eq!(&read(&pending, &stored, offset as u64, wanted as u64)[..], expected);
            }
        }
    }
}

#[test]
fn what_a_failed_sync_lost_stays_readable_and_is_never_stored() {
    let (mut stored, mut pending) = (Vec::new(), Pending::default());
    pending.write(0, Bytes::from_static(b"lost"));
    pending.sync_failed();
    assert_eq!(pending.ops(), [FileOp::SetLen(4)]);
    assert_eq!(read(&pending, &stored, 0, 10), b"lost");
    pending.write(4, Bytes::from_static(b" kept"));
    flush(&mut stored, pending.flush());
    pending.synced();
    assert_eq!(stored, b"\0\0\0\0 kept");
    assert_eq!(read(&pending, &stored, 0, 10), b"lost kept");
    assert!(!pending.is_clean());
    pending.write(0, Bytes::from_static(b"anew"));
    flush(&mut stored, pending.flush());
    assert_eq!(stored, b"anew kept");
}
