//! A StorageCluster that does not parse, such as one stored under an older definition: it is told on the object itself,
//! and all others go on.

use granary_crds::{
    StorageCluster, StorageClusterStatus,
    status::{Phase, condition},
};
use kube::{
    Api, Client, Resource as _,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
    core::error_boundary::InvalidObject,
};
use serde_json::json;

use super::{
    announce::Announcer,
    events::{News, Reason},
};
use crate::{clock::unix_ms, report::conditions, substrate::kubernetes::names::MANAGER};

/// Tells it by an Event and, where the API server still takes it, by the condition Degraded.
pub async fn tell(client: Client, pod: String, broken: InvalidObject) {
    let meta = &broken.metadata;
    let (name, namespace) = (meta.name.clone().unwrap_or_default(), meta.namespace.clone().unwrap_or_default());
    let resource = ApiResource::erase::<StorageCluster>(&());
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &namespace, &resource);
    let found = api.get(&name).await.ok();
    let problem = found.as_ref().and_then(problem).unwrap_or(broken.error);
    let message = format!(
        "this StorageCluster cannot be read ({problem}): nothing is changed until it is put right or applied again"
    );
    let about = DynamicObject { metadata: meta.clone(), types: None, data: json!({}) };
    let news = News::new(Reason::InvalidSpec, message.clone());
    Announcer::new(client, pod).publish(&about.object_ref(&resource), [news]).await;

    let now_ms = i64::try_from(unix_ms()).unwrap_or(i64::MAX);
    let status = conditions::blind(None, "InvalidSpec", &message, 0, now_ms);
    let degraded: Vec<_> = status.conditions.into_iter().filter(|one| one.type_ == condition::DEGRADED).collect();
    let counts =
        StorageClusterStatus { phase: Phase::Degraded, conditions: degraded, ..StorageClusterStatus::default() };
    let patch = json!({ "metadata": { "uid": meta.uid }, "status": counts });
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    if let Err(error) = api.patch_status(&name, &params, &Patch::Merge(patch)).await {
        tracing::debug!(%error, name, namespace, "its status was not written");
    }
}

/// Which field it is that cannot be read, and why.
fn problem(object: &DynamicObject) -> Option<String> {
    let object = serde_json::to_value(object).ok()?;
    let error = serde_path_to_error::deserialize::<_, StorageCluster>(object).err()?;
    Some(format!("{}: {}", error.path(), error.inner()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_that_cannot_be_read_is_named() {
        let object = json!({
            "apiVersion": "granary.io/v1alpha1", "kind": "StorageCluster",
            "metadata": {"name": "broken"}, "spec": {"replicas": "three", "image": "granary:1"}
        });
        let object: DynamicObject = serde_json::from_value(object).unwrap();
        let problem = problem(&object).unwrap();
        assert!(problem.starts_with("spec.replicas: ") && problem.contains("three"), "{problem}");
    }
}
