//! Which node a disk is: checks, comparison and words for [`Identity`]. Never guessed from a host name.

use granary_proto::storage::Identity;

/// Format of the stored identity that this build writes and knows.
pub const IDENTITY_FORMAT: u32 = 2;

/// Why an identity cannot be taken, in words that name the field, its value and what is allowed.
pub(crate) fn problem(identity: &Identity, own_uuid: &str) -> Option<String> {
    if identity.format != IDENTITY_FORMAT {
        return Some(format!("format is {}, this build knows {IDENTITY_FORMAT}", identity.format));
    }
    if identity.cluster_id.is_empty() {
        return Some("cluster_id is empty".into());
    }
    if identity.node_id == 0 {
        return Some("node_id is 0, ids begin at 1".into());
    }
    if identity.uuid != own_uuid {
        return Some(format!("uuid is {:?}, this disk's is {own_uuid:?}", identity.uuid));
    }
    None
}

/// An identity in words for an error.
pub(crate) fn describe(identity: &Identity) -> String {
    format!("node {} ({}) of cluster {}", identity.node_id, identity.uuid, identity.cluster_id)
}
