//! Calls to the API server as the substrate makes them: typed by kind, errors with what was being done. Decides nothing.

use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use kube::{
    Api, Client, Resource, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::names::MANAGER;
use crate::substrate::SubstrateError;

/// What every kind that the operator handles in a namespace is.
pub(super) trait Object:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + Serialize
{
}
impl<K> Object for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + Serialize
{
}

/// The objects of one namespace.
#[derive(Clone)]
pub(super) struct Namespace {
    client: Client,
    pub name: String,
}

/// What became of a creation.
#[derive(Debug)]
pub(super) enum Created<K> {
    /// It is there now.
    New,
    /// There was one of that name already.
    Existing(K),
}

impl Namespace {
    pub fn new(client: Client, name: String) -> Self {
        Self { client, name }
    }

    pub fn api<K: Object>(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), &self.name)
    }

    /// Read by name, uncached.
    pub async fn get<K: Object>(&self, name: &str) -> Result<Option<K>, SubstrateError> {
        self.api().get_opt(name).await.map_err(|error| failed::<K>("read", name, error))
    }

    /// With POST, so that an object that is there already is never overwritten.
    pub async fn create<K: Object>(&self, object: &K) -> Result<Created<K>, SubstrateError> {
        let name = object.name_any();
        let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
        match self.api().create(&params, object).await {
            Ok(_) => Ok(Created::New),
            Err(kube::Error::Api(status)) if status.is_already_exists() => {
                let existing = self.get(&name).await?;
                existing.map(Created::Existing).ok_or_else(|| {
                    SubstrateError::Place(format!("{} {name} came and went: asked again later", K::kind(&())))
                })
            }
            Err(error) => Err(failed::<K>("create", &name, error)),
        }
    }

    /// Server-side apply over the object with this uid and no other.
    pub async fn apply<K: Object>(&self, object: &K, uid: &str, dry_run: bool) -> Result<K, SubstrateError> {
        let name = object.name_any();
        let mut body = serde_json::to_value(object).map_err(|error| encoding::<K>(&name, &error))?;
        body["metadata"]["uid"] = json!(uid);
        let mut params = PatchParams::apply(MANAGER).force();
        params.dry_run = dry_run;
        self.api().patch(&name, &params, &Patch::Apply(body)).await.map_err(|error| failed::<K>("apply", &name, error))
    }

    /// Merge patch of the object as it was read: refused when it was changed or made anew since.
    pub async fn merge<K: Object>(&self, object: &K, mut patch: Value) -> Result<K, SubstrateError> {
        let name = object.name_any();
        if let Some(uid) = object.uid() {
            patch["metadata"]["uid"] = json!(uid);
        }
        if let Some(version) = object.resource_version() {
            patch["metadata"]["resourceVersion"] = json!(version);
        }
        let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        self.api()
            .patch(&name, &params, &Patch::Merge(patch))
            .await
            .map_err(|error| failed::<K>("change", &name, error))
    }

    /// Deletes the object as it was read and no other. Gone already is as good.
    pub async fn delete<K: Object>(&self, object: &K, exact: bool) -> Result<(), SubstrateError> {
        let name = object.name_any();
        let preconditions =
            Preconditions { uid: object.uid(), resource_version: object.resource_version().filter(|_| exact) };
        let params = DeleteParams {
            preconditions: Some(preconditions),
            propagation_policy: Some(PropagationPolicy::Background),
            ..DeleteParams::default()
        };
        match self.api::<K>().delete(&name, &params).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            Err(error) => Err(failed::<K>("delete", &name, error)),
        }
    }
}

/// An error of the API server with what was being done.
pub(super) fn failed<K: Resource<DynamicType = ()>>(doing: &str, name: &str, error: kube::Error) -> SubstrateError {
    let message = match &error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    };
    let doing = format!("{doing} {} {name}", K::kind(&()));
    match error {
        kube::Error::Api(status) if status.is_forbidden() => SubstrateError::Forbidden { doing, message },
        kube::Error::Api(status) if status.is_invalid() => SubstrateError::Refused { doing, message },
        _ => SubstrateError::Api { doing, message },
    }
}

fn encoding<K: Resource<DynamicType = ()>>(name: &str, error: &serde_json::Error) -> SubstrateError {
    SubstrateError::Api { doing: format!("write {} {name} as JSON", K::kind(&())), message: error.to_string() }
}

/// An annotation of an object.
pub(super) fn annotation<'a, K: Resource>(object: &'a K, key: &str) -> Option<&'a str> {
    object.meta().annotations.as_ref()?.get(key).map(String::as_str)
}

/// A label of an object.
pub(super) fn label<'a, K: Resource>(object: &'a K, key: &str) -> Option<&'a str> {
    object.meta().labels.as_ref()?.get(key).map(String::as_str)
}
