//! Passes the lines of the `raft` crate (slog) on to `tracing`, one level quieter: what is news to a Raft library is
//! detail to an operator.

use std::fmt::Write as _;

use slog::{Drain, KV, Key, Level, Logger, Never, OwnedKVList, Record, Serializer};

struct Bridge;

struct Pairs(String);

impl Serializer for Pairs {
    fn emit_arguments(&mut self, key: Key, value: &std::fmt::Arguments<'_>) -> slog::Result {
        write!(self.0, " {key}={value}").map_err(|_| slog::Error::Other)
    }
}

impl Drain for Bridge {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record<'_>, values: &OwnedKVList) -> Result<(), Never> {
        let line = || {
            let mut pairs = Pairs(record.msg().to_string());
            // A line without its pairs is still worth writing.
            let _ = record.kv().serialize(record, &mut pairs);
            let _ = values.serialize(record, &mut pairs);
            pairs.0
        };
        match record.level() {
            Level::Critical | Level::Error => tracing::error!(target: "raft", "{}", line()),
            Level::Warning => tracing::info!(target: "raft", "{}", line()),
            Level::Info if tracing::enabled!(target: "raft", tracing::Level::DEBUG) => {
                tracing::debug!(target: "raft", "{}", line());
            }
            Level::Debug | Level::Trace if tracing::enabled!(target: "raft", tracing::Level::TRACE) => {
                tracing::trace!(target: "raft", "{}", line());
            }
            _ => {}
        }
        Ok(())
    }
}

/// A logger for one group.
pub(crate) fn logger(shard: u32) -> Logger {
    Logger::root(Bridge.fuse(), slog::o!("shard" => shard))
}
