//! Values of rows.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use prost::Message;

use super::{Kind, RowError};

/// First byte of the value of a data row.
const FORMAT: u8 = 1;
/// Format and revision.
const HEAD: usize = 1 + 8;

/// The value of a data row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataRow {
    /// Revision of the write that made it.
    pub revision: u64,
    /// What the user stored.
    pub value: Bytes,
}

impl DataRow {
    /// Decodes without copying.
    pub fn decode(mut row: Bytes) -> Result<Self, RowError> {
        let revision = Self::revision_of(&row)?;
        row.advance(HEAD);
        Ok(Self { revision, value: row })
    }

    /// Decodes borrowed bytes, for whoever may not need a copy of the value: revision and value.
    pub fn decode_slice(row: &[u8]) -> Result<(u64, &[u8]), RowError> {
        Ok((Self::revision_of(row)?, &row[HEAD..]))
    }

    fn revision_of(row: &[u8]) -> Result<u64, RowError> {
        match row.split_first_chunk::<HEAD>() {
            Some(([FORMAT, revision @ ..], _)) => Ok(u64::from_be_bytes(*revision)),
            _ => Err(RowError::UnknownFormat { found: row.first().copied(), length: row.len() }),
        }
    }
}

/// The value of a data row with this revision and user's value.
pub fn encode_data(revision: u64, value: &[u8]) -> Bytes {
    let mut row = BytesMut::with_capacity(HEAD + value.len());
    row.put_u8(FORMAT);
    row.put_u64(revision);
    row.put_slice(value);
    row.freeze()
}

/// Decodes the value of a row of `kind` that holds a message.
pub fn decode_message<M: Message + Default>(kind: Kind, value: Bytes) -> Result<M, RowError> {
    M::decode(value).map_err(|source| RowError::BadValue { kind, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_row_decodes_to_what_it_was_made_of() {
        let row = encode_data(7, b"value");
        assert_eq!(DataRow::decode_slice(&row).unwrap(), (7, &b"value"[..]));
        assert_eq!(DataRow::decode(row).unwrap(), DataRow { revision: 7, value: Bytes::from_static(b"value") });
        assert_eq!(DataRow::decode(encode_data(1, b"")).unwrap().value, Bytes::new());
    }

    #[test]
    fn an_unknown_format_or_a_cut_row_is_refused() {
        assert!(DataRow::decode(Bytes::from_static(&[2, 0, 0, 0, 0, 0, 0, 0, 1])).is_err());
        assert!(DataRow::decode(Bytes::from_static(&[1, 0, 0])).is_err());
        assert!(DataRow::decode(Bytes::new()).is_err());
    }
}
