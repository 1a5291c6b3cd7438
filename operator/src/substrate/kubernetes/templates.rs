//! What the pods shall be. A set's template is changed when, and only when, a field that the user wrote has changed since
//! it was rendered: a new version of the operator that would render it otherwise restarts nothing. A change restarts
//! nothing by itself either (OnDelete); the planner decides when.

use std::sync::Arc;

use k8s_openapi::{api::apps::v1::StatefulSet, apimachinery::pkg::apis::meta::v1::OwnerReference};
use kube::ResourceExt as _;
use serde_json::json;

use super::{
    Kubernetes,
    api::annotation,
    look::by_index,
    names::{CLUSTER_ID, RESTART_REASON, TEMPLATE_FIELDS, TEMPLATE_HASH},
    objects::{self, Of},
    places::overlay,
};
use crate::substrate::{Problem, SubstrateError};

/// Brings every set's template and owner up to date.
pub async fn follow(of: &Kubernetes) -> Result<Vec<Problem>, SubstrateError> {
    let (cluster, Some(id)) = (of.cluster(), of.identity().cluster_id) else { return Ok(Vec::new()) };
    let template = of.of(&cluster, &id);
    let (hash, owner) = (objects::template_hash(&template), objects::owner(&template));
    for (index, set) in by_index(of.caches.sets(&of.objects.name, &of.name)) {
        if annotation(set.as_ref(), CLUSTER_ID) != Some(id.as_str()) || set.metadata.deletion_timestamp.is_some() {
            continue;
        }
        if !is_owned(&set, &owner) {
            of.objects.merge(set.as_ref(), json!({"metadata": {"ownerReferences": [&owner]}})).await?;
        } else if annotation(set.as_ref(), TEMPLATE_HASH) != Some(hash.as_str()) {
            match render(of, &template, index, &set).await {
                Ok(()) => {}
                // Told anew in each round, for as long as it is so.
                Err(SubstrateError::Refused { message, .. }) => return Ok(vec![overlay(&message)]),
                Err(error) => return Err(error),
            }
        }
    }
    Ok(Vec::new())
}

/// Names a set that does not ask yet for pods as the spec wants them, or that Kubernetes has not looked at since: which
/// pods are to be made anew is not known before.
pub fn unsettled(of: &Kubernetes) -> Option<String> {
    let (cluster, id) = (of.cluster(), of.identity().cluster_id?);
    let hash = objects::template_hash(&of.of(&cluster, &id));
    let sets = of.caches.sets(&of.objects.name, &of.name);
    let set = sets.iter().find(|set| !is_settled(set, &id, &hash))?;
    Some(format!("what the pod of {} shall be is being written", set.name_any()))
}

fn is_settled(set: &StatefulSet, cluster_id: &str, hash: &str) -> bool {
    let ours = annotation(set, CLUSTER_ID) == Some(cluster_id) && set.metadata.deletion_timestamp.is_none();
    let looked_at = set.status.as_ref().and_then(|status| status.observed_generation) == set.metadata.generation;
    !ours || (annotation(set, TEMPLATE_HASH) == Some(hash) && looked_at)
}

/// Asks the API server first, with a dry run: a template that it refuses changes no set.
async fn render(of: &Kubernetes, template: &Of<'_>, index: u32, set: &Arc<StatefulSet>) -> Result<(), SubstrateError> {
    let mut wanted = objects::statefulset(template, index).map_err(|error| SubstrateError::Refused {
        doing: "merge spec.podTemplate".into(),
        message: error.to_string(),
    })?;
    let reason = objects::why_changed(annotation(set.as_ref(), TEMPLATE_FIELDS), &objects::template_fields(template));
    wanted.metadata.annotations.get_or_insert_default().insert(RESTART_REASON.to_owned(), reason);
    let uid = set.uid().unwrap_or_default();
    of.objects.apply(&wanted, &uid, true).await?;
    of.objects.apply(&wanted, &uid, false).await?;
    Ok(())
}

fn is_owned(set: &StatefulSet, owner: &OwnerReference) -> bool {
    set.metadata.owner_references.iter().flatten().any(|own| own.uid == owner.uid)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(hash: &str, generation: i64, looked_at: i64) -> StatefulSet {
        let annotations = json!({CLUSTER_ID: "c", TEMPLATE_HASH: hash});
        let metadata = json!({"name": "demo-node-0", "generation": generation, "annotations": annotations});
        let status = json!({"replicas": 1, "observedGeneration": looked_at});
        serde_json::from_value(json!({"metadata": metadata, "status": status})).unwrap()
    }

    #[test]
    fn a_set_is_settled_once_kubernetes_has_looked_at_what_the_spec_wants() {
        assert!(is_settled(&set("new", 2, 2), "c", "new"));
        assert!(!is_settled(&set("old", 2, 2), "c", "new"), "its template is to be written yet");
        assert!(!is_settled(&set("new", 3, 2), "c", "new"), "its revision is not known yet");
        assert!(is_settled(&set("old", 3, 2), "another", "new"), "a set of another cluster is nobody's business");
    }
}
