//! What a message costs to keep, in bytes: close to its encoded length, and much cheaper to count.

use granary_proto::raft::{RaftMessage, raft_message::Body};

/// Numbers and framing of a message or an entry: more than they take.
const FRAMING: usize = 96;

/// Rough bytes of a message, at least its encoded length.
pub(crate) fn of(message: &RaftMessage) -> usize {
    FRAMING
        + match &message.body {
            Some(Body::Raft(raft)) => {
                let entries = of_entries(message);
                let members =
                    raft.snapshot.as_ref().and_then(|snapshot| snapshot.conf_state.as_ref()).map_or(0, |of| {
                        of.voters.len() + of.learners.len() + of.voters_outgoing.len() + of.learners_next.len()
                    });
                FRAMING + entries + raft.context.len() + members * 10
            }
            Some(Body::Notice(notice)) => notice.group.as_ref().map_or(0, |group| group.replicas.len() * 32),
            Some(Body::Wake(_)) | None => 0,
        }
}

/// Rough bytes of the entries that a message appends; 0 when there are none.
pub(crate) fn of_entries(message: &RaftMessage) -> usize {
    let Some(Body::Raft(raft)) = &message.body else { return 0 };
    raft.entries.iter().map(|entry| FRAMING + entry.data.len() + entry.context.len()).sum()
}

/// Of all of them.
pub(crate) fn of_all(messages: &[RaftMessage]) -> usize {
    messages.iter().map(of).sum()
}
