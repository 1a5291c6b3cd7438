//! Loading many keys as fast as they are taken: several batches at once.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering::Relaxed},
};

use granary_load::{Op, Target, Values};
use tokio::task::JoinSet;

use crate::error::{BenchError, Doing as _, Result};

/// Batches that are on their way at the same time.
const AT_ONCE: usize = 8;

/// How keys are loaded.
#[derive(Clone, Copy, Debug)]
pub struct Filling {
    /// Keys of a batch, from 1 up.
    pub batch: u32,
    /// Bytes of a value.
    pub value_size: u32,
}

impl Filling {
    /// Loads the keys with numbers from `from` on, below `to`, until `enough` says that it is. Gives the number of the
    /// first key that was not loaded.
    ///
    /// # Errors
    /// The words of a request that failed.
    pub async fn load<T: Target>(
        self,
        target: &T,
        (from, to): (u32, u32),
        enough: impl Fn() -> bool + Clone + Send + 'static,
    ) -> Result<u32> {
        let next = Arc::new(AtomicU32::new(from));
        let values = Values::new(self.value_size);
        let mut loaders = JoinSet::new();
        for _ in 0..AT_ONCE {
            let (target, next, enough, values) = (target.clone(), next.clone(), enough.clone(), values.clone());
            loaders.spawn(async move {
                while !enough() {
                    let take = |next: u32| (next < to).then(|| to.min(next.saturating_add(self.batch)));
                    let Ok(first) = next.fetch_update(Relaxed, Relaxed, take) else { break };
                    let numbers = first..to.min(first.saturating_add(self.batch));
                    let row = |number| (granary_load::key(number), values.any());
                    target.ask(Op::Batch { rows: numbers.map(row).collect() }).await?;
                }
                Ok::<(), String>(())
            });
        }
        while let Some(ended) = loaders.join_next().await {
            ended.doing("loading")?.map_err(BenchError)?;
        }
        Ok(next.load(Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, sync::Mutex};

    use super::*;

    /// Remembers keys and values.
    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<(BTreeSet<bytes::Bytes>, BTreeSet<bytes::Bytes>)>>);

    impl Target for Memory {
        async fn ask(&self, op: Op) -> std::result::Result<u64, String> {
            let Op::Batch { rows } = op else { return Err("no batch".into()) };
            tokio::task::yield_now().await;
            let mut held = self.0.lock().unwrap();
            for (key, value) in rows {
                assert!(held.0.insert(key), "a key came twice");
                held.1.insert(value);
            }
            Ok(1)
        }
    }

    #[tokio::test]
    async fn each_key_is_loaded_once_and_values_differ() {
        let (memory, filling) = (Memory::default(), Filling { batch: 64, value_size: 16 });
        assert_eq!(filling.load(&memory, (0, 1_000), || false).await.unwrap(), 1_000);
        assert_eq!(filling.load(&memory, (1_000, 1_001), || false).await.unwrap(), 1_001);
        let held = memory.0.lock().unwrap();
        assert!(held.0.len() == 1_001 && held.1.len() > 900, "{} values", held.1.len());
        assert!(held.1.iter().all(|value| value.len() == 16));
    }

    #[tokio::test]
    async fn it_stops_when_it_is_enough() {
        let filling = Filling { batch: 64, value_size: 16 };
        assert_eq!(filling.load(&Memory::default(), (5, 1_000), || true).await.unwrap(), 5);
    }
}
