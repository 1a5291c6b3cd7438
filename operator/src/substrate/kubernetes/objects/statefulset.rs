//! The StatefulSet of one place: one pod that heals itself while the operator is away.

use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetSpec, StatefulSetUpdateStrategy};

use super::{
    Of, TemplateError, fields::template_annotations, matching, names, of_place, owned, place_labels,
    template::pod_template,
};

/// Revisions kept. Going back is done by the spec, never by a revision.
const REVISIONS: i32 = 2;

/// The StatefulSet of the place. It makes no claim: where its claim was lost, the pod stays Pending. A changed template
/// restarts nothing, as a pod is only ever deleted by the operator.
///
/// # Errors
/// When the template cannot be made, as of [`pod_template`].
pub fn statefulset(of: &Of<'_>, index: u32) -> Result<StatefulSet, TemplateError> {
    let mut metadata = of_place(owned(of, names::object(of.name, index)), index);
    metadata.annotations.get_or_insert_default().extend(template_annotations(of));
    Ok(StatefulSet {
        metadata,
        spec: Some(StatefulSetSpec {
            replicas: Some(1),
            selector: matching(place_labels(of, index)),
            service_name: Some(names::headless(of.name)),
            pod_management_policy: Some("Parallel".to_owned()),
            update_strategy: Some(StatefulSetUpdateStrategy {
                type_: Some("OnDelete".to_owned()),
                ..StatefulSetUpdateStrategy::default()
            }),
            min_ready_seconds: Some(0),
            revision_history_limit: Some(REVISIONS),
            template: pod_template(of, index)?,
            ..StatefulSetSpec::default()
        }),
        status: None,
    })
}
