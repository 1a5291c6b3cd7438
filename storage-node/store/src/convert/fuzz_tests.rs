//! Messages of other nodes and entries of the log, as bytes of any kind: what is taken for a message of Raft is one
//! that could have been sent, and says the same when it is sent on.

use granary_fuzz::{cases, damage, memory, wire};
use granary_proto::raft as messages;
use proptest::prelude::*;
use prost::Message as _;

use crate::{convert, membership};

#[global_allocator]
static MEMORY: memory::Counted = memory::Counted;

fn body(bytes: &[u8]) -> Result<(), TestCaseError> {
    let Ok(body) = messages::RaftBody::decode(bytes) else { return Ok(()) };
    let sent = body.clone();
    let taken = memory::bounded(bytes.len(), 1_024, || convert::body_to_raft(body, 7, 8));
    if let Some(message) = taken {
        prop_assert_eq!((message.from, message.to), (7, 8));
        let again = convert::body_from_raft(message);
        prop_assert_eq!(
            (again.r#type, again.term, again.index, again.commit),
            (sent.r#type, sent.term, sent.index, sent.commit)
        );
        prop_assert_eq!(&again.entries, &sent.entries);
        prop_assert_eq!(again.snapshot.map(|meta| meta.snapshot_id), sent.snapshot.map(|meta| meta.snapshot_id));
    }
    Ok(())
}

proptest! {
    #![proptest_config(cases(2_048))]

    #[test]
    fn a_message_of_any_bytes_is_refused_or_is_one_that_a_node_could_send(
        bytes in wire::message(),
        kind in 0..24_u32,
        damages in damage::damages(),
    ) {
        let mut bytes = bytes;
        bytes.extend(messages::RaftBody { r#type: kind, ..Default::default() }.encode_to_vec());
        body(&bytes)?;
        body(&damage::apply(&damages, &bytes))?;
    }

    #[test]
    fn the_context_of_a_change_of_members_is_refused_or_is_a_change(
        bytes in wire::message(),
        damages in damage::damages(),
    ) {
        for bytes in [bytes.clone(), damage::apply(&damages, &bytes)] {
            let context = bytes.into();
            if let Ok(entry) = membership::decode(&context) {
                let change = memory::bounded(context.len(), 1_024, || membership::change_of(&entry));
                prop_assert_eq!(change.get_changes().len(), entry.steps.len());
                let (again, _) = membership::proposal(entry.steps.clone());
                prop_assert_eq!(membership::decode(&again.into()).ok(), Some(entry));
            }
        }
    }
}
