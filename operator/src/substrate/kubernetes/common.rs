//! What every cluster has beside its places: two Services, a ServiceAccount, a NetworkPolicy and a disruption budget.
//! Made with POST, taken over only by cluster id, then applied over that very object when it shall be otherwise, and
//! now and then against changes by others.

use std::{
    hash::{DefaultHasher, Hasher as _},
    time::{Duration, Instant},
};

use k8s_openapi::api::{networking::v1::NetworkPolicy, policy::v1::PodDisruptionBudget};
use kube::{Resource, ResourceExt as _};

use super::{
    Kubernetes,
    api::{Created, Object},
    names, objects,
    places::not_ours,
};
use crate::substrate::{Budget, Care, Problem, SubstrateError};

/// How often an object that shall be as it was is applied again.
const AGAIN: Duration = Duration::from_secs(600);

/// Makes all of them as they shall be. A cluster without an id has none yet.
pub async fn ensure(of: &Kubernetes, care: &Care) -> Result<Vec<Problem>, SubstrateError> {
    let (cluster, Some(id)) = (of.cluster(), of.identity().cluster_id) else { return Ok(Vec::new()) };
    let template = of.of(&cluster, &id);
    one(of, &id, &objects::headless_service(&template)).await?;
    one(of, &id, &objects::client_service(&template)).await?;
    if let Some(account) = objects::service_account(&template) {
        one(of, &id, &account).await?;
    }
    match objects::network_policy(&template, &of.installation.namespace) {
        Some(policy) => one(of, &id, &policy).await?,
        None => none::<NetworkPolicy>(of, &id, &names::common(&of.name)).await?,
    }
    match care.budget {
        Some(Budget::AtLeast(count)) => one(of, &id, &objects::budget(&template, count)).await?,
        Some(Budget::Unguarded) => none::<PodDisruptionBudget>(of, &id, &names::common(&of.name)).await?,
        None => {}
    }
    Ok(Vec::new())
}

/// Makes or changes one object. One of that name that is not ours is a problem, not an error: the rest is made.
async fn one<K: Object>(of: &Kubernetes, cluster_id: &str, object: &K) -> Result<(), SubstrateError> {
    let key = key::<K>(&object.name_any());
    let hash = hash(object)?;
    if is_applied(of, &key, hash) {
        return Ok(());
    }
    let existing = match of.objects.get::<K>(&object.name_any()).await? {
        Some(existing) => existing,
        None => match of.objects.create(object).await? {
            Created::Existing(existing) => existing,
            Created::New => {
                remember(of, key, hash);
                return Ok(());
            }
        },
    };
    if let Some(problem) = not_ours(&existing, cluster_id) {
        of.memory.lock().note(key, Some(problem));
        return Ok(());
    }
    of.objects.apply(object, existing.uid().as_deref().unwrap_or_default(), false).await?;
    remember(of, key, hash);
    Ok(())
}

/// Deletes one object of ours that shall not be.
async fn none<K: Object>(of: &Kubernetes, cluster_id: &str, name: &str) -> Result<(), SubstrateError> {
    let key = key::<K>(name);
    if is_applied(of, &key, 0) {
        return Ok(());
    }
    if let Some(existing) = of.objects.get::<K>(name).await?
        && not_ours(&existing, cluster_id).is_none()
    {
        of.objects.delete(&existing, true).await?;
    }
    remember(of, key, 0);
    Ok(())
}

fn key<K: Resource<DynamicType = ()>>(name: &str) -> String {
    format!("{} {name}", K::kind(&()))
}

fn hash<K: Object>(object: &K) -> Result<u64, SubstrateError> {
    let text = serde_json::to_string(object).map_err(|error| SubstrateError::Damaged(error.to_string()))?;
    let mut hasher = DefaultHasher::new();
    hasher.write(text.as_bytes());
    Ok(hasher.finish())
}

fn is_applied(of: &Kubernetes, key: &str, hash: u64) -> bool {
    let memory = of.memory.lock();
    memory.applied.get(key).is_some_and(|(applied, at)| *applied == hash && at.elapsed() < AGAIN)
}

fn remember(of: &Kubernetes, key: String, hash: u64) {
    let mut memory = of.memory.lock();
    memory.note(key.clone(), None);
    memory.applied.insert(key, (hash, Instant::now()));
}
