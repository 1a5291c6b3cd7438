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
                Ok(()) => of.memory.lock().note("template".into(), None),
                Err(SubstrateError::Refused { message, .. }) => {
                    of.memory.lock().note("template".into(), Some(overlay(&message)));
                    return Ok(Vec::new());
                }
                Err(error) => return Err(error),
            }
        }
    }
    Ok(Vec::new())
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
