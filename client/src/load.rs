//! The client as what a load generator drives; with the feature `load`.

use futures::{StreamExt as _, TryStreamExt as _};
use granary_common::limits::MAX_PAGE_ROWS;
use granary_load::{Op, Target};

use crate::{Client, Error, Scan, Write};

impl Target for Client {
    async fn ask(&self, op: Op) -> Result<u64, String> {
        let words = |error: Error| error.to_string();
        match op {
            Op::Put { key, value } => self.put(key, value).await.map(|_| 1).map_err(words),
            Op::Get { key } => self.get(key).await.map(|_| 1).map_err(words),
            Op::Batch { rows } => {
                let writes = rows.into_iter().map(|(key, value)| Write::put(key, value)).collect();
                let mut written = 0;
                for part in self.batch(writes).await.map_err(words)? {
                    part.result.map_err(words)?;
                    written += part.writes as u64;
                }
                Ok(written)
            }
            Op::Scan { from, rows } => {
                let scan =
                    Scan { start: from, page_rows: rows.min(MAX_PAGE_ROWS), ..Scan::prefix(granary_load::PREFIX) };
                let rows = self.scan(scan).take(rows as usize);
                rows.try_fold(0, |rows, _| async move { Ok(rows + 1) }).await.map_err(words)
            }
        }
    }
}
