//! How pods are spread over zones and Kubernetes nodes.

use granary_crds::spec::TopologySpread;
use k8s_openapi::api::core::v1::TopologySpreadConstraint;

use crate::substrate::kubernetes::objects::{Of, cluster_labels, matching};

/// What pods are spread over, the wider first. Without zones, the first one is no help and no hindrance.
const DOMAINS: [&str; 2] = ["topology.kubernetes.io/zone", "kubernetes.io/hostname"];

/// One constraint for each kind of domain.
pub fn constraints(of: &Of<'_>) -> Vec<TopologySpreadConstraint> {
    let unsatisfiable = match of.spec.topology_spread {
        TopologySpread::Preferred => "ScheduleAnyway",
        TopologySpread::Required => "DoNotSchedule",
    };
    let constraint = |domain: &str| TopologySpreadConstraint {
        topology_key: domain.to_owned(),
        max_skew: 1,
        when_unsatisfiable: unsatisfiable.to_owned(),
        label_selector: Some(matching(cluster_labels(of))),
        // A cordoned Kubernetes node, or one whose taints the pods do not bear, is no domain.
        node_taints_policy: Some("Honor".to_owned()),
        ..TopologySpreadConstraint::default()
    };
    DOMAINS.map(constraint).into()
}
