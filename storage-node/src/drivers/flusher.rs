//! Makes applied state durable every second, or sooner when much was written, and tells the store: the log is purged
//! only below that (HAZARDS H3). The applied indexes are read before the flush, never after. It also notes which tables
//! there are.

use std::{collections::BTreeMap, sync::atomic::Ordering::Relaxed, time::Duration};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use granary_common::{ReplicaId, ShardId};
use granary_engine::Stores;
use granary_store::Event;

use super::{AppliedTable, StoreInput, fatal::fatal, meters::Meters};

/// Longest time between a write and its flush.
const EVERY: Duration = Duration::from_secs(1);
/// How often the written bytes are looked at, while there are some, and at rest.
const LOOKS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_millis(400));
/// Written bytes behind which a flush does not wait for the second to end.
const BYTES: u64 = 16 << 20;

pub(crate) fn run(
    stores: &Stores,
    applied: &AppliedTable,
    store: &Sender<StoreInput>,
    stop: &Receiver<()>,
    meters: &Meters,
) {
    let data = &stores.data;
    let mut told: BTreeMap<ShardId, (ReplicaId, u64)> = BTreeMap::new();
    let (mut waited, mut unnoted) = (Duration::ZERO, Duration::ZERO);
    let mut look = LOOKS.0;
    loop {
        let ends = match stop.recv_timeout(look) {
            Err(RecvTimeoutError::Timeout) => false,
            Ok(()) | Err(RecvTimeoutError::Disconnected) => true,
        };
        waited += look;
        unnoted += look;
        if ends || unnoted >= EVERY {
            unnoted = Duration::ZERO;
            meters.flush.begin();
            match data.note_tables() {
                // It is noted once there is room.
                Err(error) if error.is_lack_of_room() => tracing::debug!(%error, "tables are not noted"),
                Err(error) => fatal("noting the tables failed", &error),
                Ok(()) => {}
            }
            meters.flush.end();
        }
        // Here, as the question may have to wait for RocksDB's own lock.
        meters.writes_stopped.store(data.stops_writes(), Relaxed);
        let written = data.bytes_since_flush();
        look = if written > 0 { LOOKS.0 } else { LOOKS.1 };
        if written > 0 && (ends || waited >= EVERY || written >= BYTES) {
            waited = Duration::ZERO;
            let before = applied.all();
            meters.flush.begin();
            if let Err(error) = data.flush_wal() {
                fatal("syncing the applied state failed", &error);
            }
            if let Err(error) = stores.raft.sync_watermark() {
                fatal("syncing the mark of the log failed", &error);
            }
            meters.flush.end();
            for (shard, at) in before {
                let now = (at.replica, at.index);
                if told.insert(shard, now) != Some(now) {
                    let (replica, index) = now;
                    let _ = store.send(StoreInput::Event(Event::Durable { shard, replica, index }));
                }
            }
        }
        if ends {
            return;
        }
    }
}
