//! A shard in memory, and short ways to write commands, for the tests.

use bytes::Bytes;
use granary_common::{ShardId, SlotRange, limits::FIRST_TERM};
use granary_proto::{
    kv::{Guard, Retry, Write, guard::Condition, write::Change},
    map,
    storage::{
        Answer, ClientRow, Command, DeleteRangeBody, ShardState, TxnBody, WriteList, Written, answer::Kind,
        command::Operation,
    },
};

use prost::Message as _;

use crate::{Overlay, kv, rows, shard, testing::MemView};

pub const SHARD: ShardId = ShardId(1);

/// A shard with its rows.
#[derive(Clone)]
pub struct Shard {
    pub stored: MemView,
    pub state: ShardState,
    /// Term of the next entries.
    pub term: u64,
}

impl Shard {
    pub fn new(range: SlotRange) -> Self {
        Self { stored: MemView::default(), state: shard::new(SHARD, range, map::Group::default()), term: FIRST_TERM }
    }

    /// Applies the commands as the next entries, in one batch.
    pub fn apply_batch(&mut self, commands: &[Command]) -> Vec<Answer> {
        self.apply_entries(commands.chunks(1))
    }

    /// Applies the commands as one entry, the next, in a batch of its own.
    pub fn apply_pack(&mut self, commands: &[Command]) -> Vec<Answer> {
        self.apply_entries([commands])
    }

    fn apply_entries<'a>(&mut self, entries: impl IntoIterator<Item = &'a [Command]>) -> Vec<Answer> {
        let mut overlay = Overlay::new(&self.stored);
        let mut answers = Vec::new();
        for commands in entries {
            let index = self.state.applied_index + 1;
            let answer = kv::apply(&mut overlay, &mut self.state, commands, index, self.term).unwrap();
            answers.extend(answer.expect("the next entry is not one that was applied"));
        }
        shard::save(&mut overlay, &self.state);
        let writes = overlay.into_writes();
        self.stored.write(writes);
        answers
    }

    /// Applies the command as the next entry, in a batch of its own.
    pub fn apply(&mut self, command: Command) -> Answer {
        self.apply_batch(&[command]).remove(0)
    }

    /// Value and revision of a key.
    pub fn get(&self, key: &str) -> Option<(Bytes, u64)> {
        let response = kv::get(&self.stored, shard::range(&self.state), key.as_bytes()).unwrap();
        response.found.then_some((response.value, response.revision))
    }

    /// How many answers are kept for clients.
    pub fn answers(&self) -> usize {
        let clients = self.stored.rows().filter(|(key, _)| rows::Kind::of(key) == Ok(rows::Kind::Client));
        clients.map(|(_, row)| ClientRow::decode(row.clone()).unwrap().kept.len()).sum()
    }

    /// How many rows there are of a kind.
    pub fn count(&self, kind: rows::Kind) -> usize {
        self.stored.rows().filter(|(key, _)| rows::Kind::of(key) == Ok(kind)).count()
    }
}

pub fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

pub fn put_write(key: &str, value: &str) -> Write {
    Write { key: bytes(key), change: Some(Change::Value(bytes(value))) }
}

pub fn delete_write(key: &str) -> Write {
    Write { key: bytes(key), change: Some(Change::Delete(true)) }
}

pub fn guard(key: &str, condition: Condition) -> Guard {
    Guard { key: bytes(key), condition: Some(condition) }
}

pub fn command(operation: Operation) -> Command {
    Command { leader_time_ms: 1_000, retry: None, operation: Some(operation) }
}

pub fn put(key: &str, value: &str) -> Command {
    command(Operation::Write(put_write(key, value)))
}

pub fn delete(key: &str) -> Command {
    command(Operation::Write(delete_write(key)))
}

pub fn batch(writes: Vec<Write>) -> Command {
    command(Operation::Batch(WriteList { writes }))
}

pub fn txn(guards: Vec<Guard>, writes: Vec<Write>) -> Command {
    command(Operation::Txn(TxnBody { guards, writes }))
}

pub fn delete_range(start: &str, end: &str, tag: &str) -> Command {
    command(Operation::DeleteRange(DeleteRangeBody { start: bytes(start), end: bytes(end), tag: bytes(tag) }))
}

pub fn retried(command: Command, client_id: u64, sequence: u64, answered_below: u64) -> Command {
    Command { retry: Some(Retry { client_id, sequence, answered_below, age_ms: 0 }), ..command }
}

pub fn at(command: Command, leader_time_ms: u64) -> Command {
    Command { leader_time_ms, ..command }
}

pub fn written(revision: u64, existed: bool) -> Answer {
    Answer { kind: Some(Kind::Written(Written { revision, existed })) }
}
