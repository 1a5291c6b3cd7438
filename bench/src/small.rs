//! Keys of 16 bytes instead of the generator's 14.

use bytes::Bytes;
use granary_load::{Op, Target};

/// Behind each key.
const TAIL: &[u8; 2] = b"/k";

/// Asks `T` for longer keys.
#[derive(Clone, Debug)]
pub struct Longer<T>(pub T);

fn longer(key: &Bytes) -> Bytes {
    [key, TAIL.as_slice()].concat().into()
}

impl<T: Target> Target for Longer<T> {
    async fn ask(&self, op: Op) -> Result<u64, String> {
        let op = match op {
            Op::Put { key, value } => Op::Put { key: longer(&key), value },
            Op::Get { key } => Op::Get { key: longer(&key) },
            Op::Batch { rows } => {
                Op::Batch { rows: rows.into_iter().map(|(key, value)| (longer(&key), value)).collect() }
            }
            Op::Scan { from, rows } => Op::Scan { from, rows },
        };
        self.0.ask(op).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_16_bytes() {
        assert_eq!([longer(&granary_load::key(7)).len(), longer(&granary_load::key(99_999_999)).len()], [16, 16]);
    }
}
