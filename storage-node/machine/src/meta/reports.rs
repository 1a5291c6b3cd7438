//! What groups and nodes say of themselves, as the meta shard's leader heard it. A report: it never overrules a group.

use granary_proto::{
    map::Group,
    storage::{MetaState, Reports},
};

use super::{
    change::{map, raise, version},
    reconfigure::{is_spent, replace_ids},
};

/// Writes down what is new. Unknown shards and nodes, and older news, are passed over: they are late, not wrong.
pub(super) fn apply(state: &mut MetaState, reports: &Reports) -> u64 {
    let mut changed = false;
    for report in &reports.groups {
        if let Some(group) = &report.group {
            changed |= group_changed(state, report.shard_id, group);
        }
    }
    for report in &reports.addresses {
        let known = map(state).nodes.iter_mut().find(|node| node.id == report.node_id);
        if let Some(node) = known.filter(|node| report.addresses.is_some() && node.addresses != report.addresses) {
            node.addresses.clone_from(&report.addresses);
            changed = true;
        }
    }
    for spent in &reports.spent {
        changed |= replace_ids(state, spent.shard_id, |id| id == spent.replica_id);
    }
    if changed { raise(state) } else { version(state) }
}

fn group_changed(state: &mut MetaState, shard_id: u32, group: &Group) -> bool {
    let Some(shard) = map(state).shards.iter_mut().find(|shard| shard.id == shard_id) else { return false };
    let before = shard.group.clone().unwrap_or_default();
    if group.replicas.is_empty() || group.version < before.version || *group == before {
        return false;
    }
    shard.group = Some(group.clone());
    replace_ids(state, shard_id, |id| is_spent(id, group));
    true
}
