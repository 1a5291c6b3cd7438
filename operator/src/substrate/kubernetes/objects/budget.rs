//! The disruption budget: how many pods must stay when somebody else evicts them.

use k8s_openapi::{
    api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};

use super::{Of, cluster_labels, matching, names, owned};

/// A budget of whole pods. Never maxUnavailable or a percentage: these do not count a missing pod of a StatefulSet of
/// one. A pod that is not ready may still vote, so it is evicted only while enough others are ready.
pub fn budget(of: &Of<'_>, min_available: u32) -> PodDisruptionBudget {
    PodDisruptionBudget {
        metadata: owned(of, names::common(of.name)),
        spec: Some(PodDisruptionBudgetSpec {
            min_available: Some(IntOrString::Int(i32::try_from(min_available).unwrap_or(i32::MAX))),
            selector: Some(matching(cluster_labels(of))),
            unhealthy_pod_eviction_policy: Some("IfHealthyBudget".to_owned()),
            max_unavailable: None,
        }),
        status: None,
    }
}
