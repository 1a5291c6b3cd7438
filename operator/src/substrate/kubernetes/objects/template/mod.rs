//! The pod of one place: where it runs, as whom, and what it mounts. What its container runs is said in `container`.

mod container;
mod environment;
mod probes;
mod spread;

use granary_crds::pods::{DATA_VOLUME, PodSecurityContext as Ids};
use k8s_openapi::{
    api::core::v1::{
        Affinity, LocalObjectReference, PersistentVolumeClaimVolumeSource, PodSecurityContext, PodSpec,
        PodTemplateSpec, SeccompProfile, Volume,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

pub(super) use self::container::quantity_text;
use super::{
    Of, fields, names,
    overlay::{self, TemplateError},
    place_labels,
};

/// The pod of the place, with the user's overlay merged over it.
///
/// # Errors
/// When the overlay or the affinity is none of a pod, or the overlay changes what is the operator's.
pub fn pod_template(of: &Of<'_>, index: u32) -> Result<PodTemplateSpec, TemplateError> {
    let template = PodTemplateSpec { metadata: Some(metadata(of, index)), spec: Some(spec(of, index)?) };
    match &of.spec.pod_template {
        Some(overlay) => overlay::merge(template, overlay),
        None => Ok(template),
    }
}

/// The operator's own labels and annotations stand, whatever the user's say.
fn metadata(of: &Of<'_>, index: u32) -> ObjectMeta {
    let mut labels = of.spec.pod_labels.clone();
    labels.extend(place_labels(of, index));
    labels.insert(names::LABEL_NAME.to_owned(), names::APP.to_owned());
    let mut annotations = of.spec.pod_annotations.clone();
    annotations.extend(fields::template_annotations(of));
    annotations.insert(names::CLUSTER_ID.to_owned(), of.cluster_id.to_owned());
    ObjectMeta { labels: Some(labels), annotations: Some(annotations), ..ObjectMeta::default() }
}

fn spec(of: &Of<'_>, index: u32) -> Result<PodSpec, TemplateError> {
    let spec = of.spec;
    let own_account = || names::common(of.name);
    let secrets: Vec<_> =
        spec.image_pull_secrets.iter().map(|secret| LocalObjectReference { name: secret.name.clone() }).collect();
    Ok(PodSpec {
        service_account_name: Some(spec.service_account_name.clone().unwrap_or_else(own_account)),
        automount_service_account_token: Some(false),
        // Each Service of the namespace would add variables to the process, and change it from start to start.
        enable_service_links: Some(false),
        termination_grace_period_seconds: Some(spec.termination_grace_period_seconds),
        security_context: Some(security(&spec.pod_security_context.clone().unwrap_or_default())),
        image_pull_secrets: filled(secrets),
        priority_class_name: spec.priority_class_name.clone(),
        node_selector: Some(spec.node_selector.clone()).filter(|labels| !labels.is_empty()),
        tolerations: filled(spec.tolerations.clone()),
        affinity: affinity(of)?,
        topology_spread_constraints: Some(spread::constraints(of)),
        containers: vec![container::node(of, index)],
        volumes: Some(vec![data(of, index)]),
        ..PodSpec::default()
    })
}

/// As the restricted Pod Security level asks. An id that is left out is the platform's to choose.
fn security(ids: &Ids) -> PodSecurityContext {
    PodSecurityContext {
        run_as_non_root: Some(true),
        run_as_user: ids.run_as_user,
        run_as_group: ids.run_as_group,
        fs_group: ids.fs_group,
        // Changing the group of every file of a large disk at every start would take minutes.
        fs_group_change_policy: Some("OnRootMismatch".to_owned()),
        seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None }),
        ..PodSecurityContext::default()
    }
}

fn affinity(of: &Of<'_>) -> Result<Option<Affinity>, TemplateError> {
    of.spec.affinity.as_ref().map(|given| overlay::typed("spec.affinity", given)).transpose()
}

fn data(of: &Of<'_>, index: u32) -> Volume {
    Volume {
        name: DATA_VOLUME.to_owned(),
        persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
            claim_name: names::object(of.name, index),
            read_only: None,
        }),
        ..Volume::default()
    }
}

fn filled<T>(list: Vec<T>) -> Option<Vec<T>> {
    Some(list).filter(|list| !list.is_empty())
}
