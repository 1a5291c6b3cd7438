//! The first row of each store: which of the two it is, its format, and whose. So a store that was swapped, or comes from
//! another copy of the directory, is found before anything in it is believed.

use granary_proto::storage::Identity;
use prost::Message as _;

use crate::{EngineError, StoreKind, identity};

/// Format of the rows that this build writes and knows, for both stores.
pub(crate) const STORE_FORMAT: u32 = 1;

const CHECKSUM: usize = 4;

/// The header row's value: 8 bytes of magic that name the store, format (u32, little endian), encoded identity, CRC32C.
pub(crate) fn encode(store: StoreKind, identity: &Identity) -> Vec<u8> {
    let mut value = magic(store).to_vec();
    value.extend_from_slice(&STORE_FORMAT.to_le_bytes());
    value.extend_from_slice(&identity.encode_to_vec());
    value.extend_from_slice(&crc32c::crc32c(&value).to_le_bytes());
    value
}

/// Checks that `value` is the header of `store` and names `expected`.
pub(crate) fn check(store: StoreKind, value: Option<&[u8]>, expected: &Identity) -> Result<(), EngineError> {
    let corrupt = |what: &str| EngineError::corrupt(store, format!("its header {what}"));
    let value = value.ok_or_else(|| corrupt("is not there: this is not such a store, or was never finished"))?;
    let Some((covered, checksum)) = value.split_last_chunk::<CHECKSUM>() else {
        return Err(corrupt("is too short"));
    };
    if crc32c::crc32c(covered).to_le_bytes() != *checksum {
        return Err(corrupt("does not match its checksum"));
    }
    let Some((found, rest)) = covered.split_first_chunk::<8>() else { return Err(corrupt("is too short")) };
    if *found != magic(store) {
        return Err(corrupt(&format!("is that of another kind of store ({})", String::from_utf8_lossy(found))));
    }
    let Some((format, encoded)) = rest.split_first_chunk::<4>() else { return Err(corrupt("is too short")) };
    let format = u32::from_le_bytes(*format);
    if format != STORE_FORMAT {
        return Err(EngineError::Unknown { store, what: format!("rows of format {format} (known: {STORE_FORMAT})") });
    }
    let found = Identity::decode(encoded).map_err(|_| corrupt("holds no identity"))?;
    if found != *expected {
        return Err(EngineError::Identity {
            store,
            found: identity::describe(&found),
            expected: identity::describe(expected),
        });
    }
    Ok(())
}

fn magic(store: StoreKind) -> [u8; 8] {
    match store {
        StoreKind::Raft => *b"GRANRAFT",
        StoreKind::Data => *b"GRANDATA",
    }
}
