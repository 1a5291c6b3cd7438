//! Names, labels and annotations of everything that a cluster has on Kubernetes, in one place: what is written here is
//! found again by later versions, so none of it ever changes its meaning.

/// Field manager of everything that the operator applies.
pub const MANAGER: &str = "granary-operator";

/// Label: which program looks after the object. Watches are scoped by it.
pub const LABEL_MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Label: what the object belongs to; always [`APP`].
pub const LABEL_NAME: &str = "app.kubernetes.io/name";
/// Value of [`LABEL_NAME`].
pub const APP: &str = "granary";
/// Label: name of the StorageCluster.
pub const LABEL_CLUSTER: &str = "granary.io/cluster";
/// Label: name of the place, such as node-0.
pub const LABEL_NODE: &str = "granary.io/node";

/// Annotation on the StorageCluster and on all that belongs to it: the cluster id.
pub const CLUSTER_ID: &str = "granary.io/cluster-id";
/// Annotation on the StorageCluster, "true" once the nodes confirmed that the cluster was founded.
pub const BOOTSTRAPPED: &str = "granary.io/bootstrapped";
/// Annotation on the StorageCluster: content of Bootstrap (JSON).
pub const FOUNDING: &str = "granary.io/founding";
/// Annotation on the StorageCluster: node ids that a person wants drained, separated by commas.
pub const DRAIN: &str = "granary.io/drain";
/// Annotation on the StorageCluster: any new value asks for one restart of every node.
pub const RESTART: &str = "granary.io/restart";
/// Annotation on a claim: id of the node whose data it holds, once that node was seen to be a member.
pub const NODE_ID: &str = "granary.io/node-id";
/// Annotation on a claim: when it was given up (RFC 3339). Such a claim is no place any more.
pub const REMOVED: &str = "granary.io/removed";
/// Annotation on a volume: its reclaim policy before the operator changed it to Retain.
pub const RECLAIM_POLICY: &str = "granary.io/reclaim-policy";
/// Annotation on a StatefulSet and its pods: hash of the user's fields that the template was rendered from.
pub const TEMPLATE_HASH: &str = "granary.io/template-hash";
/// Annotation beside [`TEMPLATE_HASH`], there and on the pods: the same fields for people, so that a restart can name
/// its reason.
pub const TEMPLATE_FIELDS: &str = "granary.io/template-fields";
/// Annotation on a StatefulSet: why its template was changed last.
pub const RESTART_REASON: &str = "granary.io/restart-reason";
/// Annotation on a pod: touched, so that its kubelet looks at its volumes at once.
pub const TOUCHED: &str = "granary.io/touched";
/// Label on a volume: namespace of the cluster whose claim it was bound to when its reclaim policy was changed.
pub const LABEL_NAMESPACE: &str = "granary.io/namespace";
/// Annotation on the StorageCluster: an installation of the operator that the nodes refused, and when (RFC 3339).
pub const REFUSED_OPERATOR: &str = "granary.io/refused-operator";
/// Finalizer of a StorageCluster with deletionPolicy Delete.
pub const FINALIZER: &str = "granary.io/delete-data";

/// Name of a place, as its node tells it to the cluster.
pub fn place(index: u32) -> String {
    format!("node-{index}")
}

/// Name of a place's StatefulSet and of its claim.
pub fn object(cluster: &str, index: u32) -> String {
    format!("{cluster}-node-{index}")
}

/// Name of a place's pod.
pub fn pod(cluster: &str, index: u32) -> String {
    format!("{cluster}-node-{index}-0")
}

/// Index of the place with that name, as written by [`place`] and by nothing else.
pub fn index(place: &str) -> Option<u32> {
    let index = place.strip_prefix("node-")?.parse().ok()?;
    (self::place(index) == place).then_some(index)
}

/// The headless Service, through which nodes find each other.
pub fn headless(cluster: &str) -> String {
    format!("{cluster}-nodes")
}

/// The Service for clients.
pub fn client(cluster: &str) -> String {
    format!("{cluster}-client")
}

/// The disruption budget, the ServiceAccount and the NetworkPolicy of the nodes.
pub fn common(cluster: &str) -> String {
    format!("{cluster}-nodes")
}

/// Label selector of all objects of one cluster.
pub fn selector(cluster: &str) -> String {
    format!("{LABEL_MANAGED_BY}={MANAGER},{LABEL_CLUSTER}={cluster}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_places_name_tells_its_index_and_nothing_else_does() {
        assert_eq!(index(&place(12)), Some(12));
        for other in ["node-", "node-x", "node-01", "node--1", "nodes", "node-4294967296"] {
            assert_eq!(index(other), None, "{other}");
        }
    }
}
