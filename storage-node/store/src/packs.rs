//! What was asked for between two drains becomes entries: many small commands of a shard share one, since an entry costs
//! every replica the same however much it holds. Pure, and knows nothing of what a command says.

use bytes::Bytes;
use granary_common::{META_SHARD, ShardId, log};
use raft::eraftpb::Entry;

use crate::event::Ticket;

/// Most commands in one entry.
const MAX_COMMANDS: usize = 256;
/// Bytes beyond which an entry takes no further command: what is longer gains nothing by company.
const MAX_BYTES: usize = 64 << 10;

/// Entries for these, in their order, each with the tickets of its commands. Those of the meta shard stay alone: its
/// machine counts entries.
pub(crate) fn pack(gathered: Vec<(Ticket, Entry)>, shard: ShardId) -> Vec<(Vec<Ticket>, Entry)> {
    let mut packed = Vec::new();
    let mut pack = Pack::default();
    for (ticket, entry) in gathered {
        let command = shard != META_SHARD && !entry.data.is_empty() && entry.context.is_empty();
        if !command || !pack.has_room(entry.data.len()) {
            packed.extend(std::mem::take(&mut pack).into_entry());
        }
        if command {
            pack.push(ticket, entry.data);
        } else {
            packed.push((vec![ticket], entry));
        }
    }
    packed.extend(pack.into_entry());
    packed
}

#[derive(Default)]
struct Pack {
    tickets: Vec<Ticket>,
    commands: Vec<Bytes>,
    bytes: usize,
}

impl Pack {
    fn has_room(&self, length: usize) -> bool {
        self.commands.len() < MAX_COMMANDS && self.bytes + length + log::PACKED <= MAX_BYTES
    }

    fn push(&mut self, ticket: Ticket, command: Bytes) {
        self.bytes += command.len() + log::PACKED;
        self.tickets.push(ticket);
        self.commands.push(command);
    }

    fn into_entry(mut self) -> Option<(Vec<Ticket>, Entry)> {
        let mut entry = Entry::default();
        match self.commands.len() {
            0 => return None,
            1 => entry.data = self.commands.remove(0),
            _ => (entry.data, entry.context) = log::pack(&self.commands),
        }
        Some((self.tickets, entry))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(ticket: Ticket, length: usize) -> (Ticket, Entry) {
        let mut entry = Entry::default();
        entry.data = vec![ticket as u8; length].into();
        (ticket, entry)
    }

    fn mark(ticket: Ticket) -> (Ticket, Entry) {
        let mut entry = Entry::default();
        entry.context = log::mark(ticket);
        (ticket, entry)
    }

    fn tickets(gathered: Vec<(Ticket, Entry)>) -> Vec<Vec<Ticket>> {
        pack(gathered, ShardId(1)).into_iter().map(|(tickets, _)| tickets).collect()
    }

    #[test]
    fn small_commands_share_an_entry_and_a_mark_keeps_its_place_between_them() {
        let gathered = vec![command(1, 10), command(2, 20), mark(3), command(4, 5)];
        let packed = pack(gathered, ShardId(1));
        let tickets: Vec<_> = packed.iter().map(|(tickets, _)| tickets.clone()).collect();
        assert_eq!(tickets, [vec![1, 2], vec![3], vec![4]]);
        let both = [Bytes::from(vec![1; 10]), Bytes::from(vec![2; 20])];
        assert_eq!((packed[0].1.data.clone(), packed[0].1.context.clone()), log::pack(&both));
        assert_eq!(packed[1].1.context, log::mark(3));
        assert_eq!((packed[2].1.data.len(), packed[2].1.context.len()), (5, 0), "alone it needs no pack");
    }

    #[test]
    fn an_entry_takes_so_many_commands_and_bytes() {
        let many = (0..MAX_COMMANDS as u64 + 1).map(|ticket| command(ticket, 1)).collect();
        assert_eq!(tickets(many).iter().map(Vec::len).collect::<Vec<_>>(), [MAX_COMMANDS, 1]);
        let fits = MAX_BYTES / 2 - log::PACKED;
        assert_eq!(tickets(vec![command(1, fits), command(2, fits), command(3, 1)]), [vec![1, 2], vec![3]]);
        assert_eq!(tickets(vec![command(1, 1), command(2, MAX_BYTES), command(3, 1)]), [[1], [2], [3]]);
    }

    #[test]
    fn commands_of_the_meta_shard_stay_alone() {
        assert_eq!(pack(vec![command(1, 1), command(2, 1)], META_SHARD).len(), 2);
    }
}
