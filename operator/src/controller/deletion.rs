//! The finalizer: when a StorageCluster must not go before its data is deleted, and when it may. Pure, but for the patch.

use granary_crds::{StorageCluster, spec::DeletionPolicy};
use kube::{
    Api, ResourceExt as _,
    api::{Patch, PatchParams},
};
use serde_json::json;

use crate::substrate::kubernetes::names::{FINALIZER, MANAGER};

/// What the finalizer asks for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duty {
    /// Nothing: the cluster lives.
    Live,
    /// Set it, before anything is made.
    Set,
    /// Take it away: the data is to be kept.
    Drop,
    /// Delete the data, then take it away.
    DeleteData,
    /// Nothing: the object is on its way out, and its children with it.
    Leave,
}

/// What is to be done with this object. `paused` does not matter here.
pub fn duty(object: &StorageCluster) -> Duty {
    let has = object.finalizers().iter().any(|name| name == FINALIZER);
    let delete = object.spec.deletion_policy == DeletionPolicy::Delete;
    match (object.metadata.deletion_timestamp.is_some(), delete, has) {
        (false, true, false) => Duty::Set,
        (_, false, true) => Duty::Drop,
        (false, ..) => Duty::Live,
        (true, true, true) => Duty::DeleteData,
        (true, _, false) => Duty::Leave,
    }
}

/// Sets the finalizer or takes it away, on the object as it was read and no other. Others' finalizers stay.
///
/// # Errors
/// Also when the object was changed meanwhile: look again.
pub async fn put(
    api: &Api<StorageCluster>,
    object: &StorageCluster,
    wanted: bool,
) -> Result<StorageCluster, kube::Error> {
    let others = object.finalizers().iter().filter(|name| *name != FINALIZER).cloned();
    let finalizers: Vec<_> = others.chain(wanted.then(|| FINALIZER.to_owned())).collect();
    let metadata = json!({
        "uid": object.uid(),
        "resourceVersion": object.resource_version(),
        "finalizers": finalizers,
    });
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    api.patch(&object.name_any(), &params, &Patch::Merge(json!({ "metadata": metadata }))).await
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;
    use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};

    use super::{
        super::fake_api::{FakeApi, object},
        *,
    };

    fn is(deleted: bool, policy: DeletionPolicy, has: bool) -> Duty {
        let mut object = object("demo");
        object.spec.deletion_policy = policy;
        object.spec.paused = true;
        object.metadata.deletion_timestamp = deleted.then_some(Time(Timestamp::UNIX_EPOCH));
        object.metadata.finalizers = has.then(|| vec![FINALIZER.to_owned()]);
        duty(&object)
    }

    #[test]
    fn the_finalizer_is_there_while_the_policy_is_delete_and_only_then() {
        assert_eq!(is(false, DeletionPolicy::Delete, false), Duty::Set);
        assert_eq!(is(false, DeletionPolicy::Delete, true), Duty::Live);
        assert_eq!(is(false, DeletionPolicy::Retain, true), Duty::Drop);
        assert_eq!(is(false, DeletionPolicy::Retain, false), Duty::Live);
    }

    #[test]
    fn data_is_deleted_only_when_the_object_is_and_the_policy_still_says_so() {
        assert_eq!(is(true, DeletionPolicy::Delete, true), Duty::DeleteData);
        assert_eq!(is(true, DeletionPolicy::Retain, true), Duty::Drop);
        assert_eq!(is(true, DeletionPolicy::Retain, false), Duty::Leave);
        assert_eq!(is(true, DeletionPolicy::Delete, false), Duty::Leave);
    }

    #[tokio::test]
    async fn finalizers_of_others_stay_and_the_patch_is_for_this_version_only() {
        let fake = FakeApi::start(|_| (StatusCode::OK, serde_json::to_value(object("demo")).unwrap())).await;
        let mut object = object("demo");
        object.metadata.finalizers = Some(vec!["other/one".into(), FINALIZER.into()]);
        put(&fake.clusters(), &object, false).await.unwrap();
        let metadata = &fake.requests()[0].body["metadata"];
        assert_eq!(metadata["finalizers"], json!(["other/one"]));
        assert_eq!((&metadata["resourceVersion"], &metadata["uid"]), (&json!("1"), &json!("uid-of-demo")));
    }
}
