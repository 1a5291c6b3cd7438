//! Who may do what: the nodes' ServiceAccount, which may nothing, and the NetworkPolicy.

use granary_crds::spec::NetworkPolicy as Wanted;
use k8s_openapi::{
    api::{
        core::v1::ServiceAccount,
        networking::v1::{
            NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
        },
    },
    apimachinery::pkg::util::intstr::IntOrString,
};

use super::{KV_PORT, METRICS_PORT, Of, PEER_PORT, cluster_labels, matching, names, one, owned};

/// Label that the API server puts on each namespace.
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";
/// Value of the label app.kubernetes.io/name of the operator's pods.
const OPERATOR: &str = "granary-operator";

/// The ServiceAccount of the pods, without permissions and without a token; `None` when the user names another.
pub fn service_account(of: &Of<'_>) -> Option<ServiceAccount> {
    of.spec.service_account_name.is_none().then(|| ServiceAccount {
        metadata: owned(of, names::common(of.name)),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    })
}

/// Lets anyone reach the data API and the metrics, and only the cluster's own pods and the operator reach the port of
/// the nodes, over which Raft and the admin API run. `None` when the user wants none.
pub fn network_policy(of: &Of<'_>, operator_namespace: &str) -> Option<NetworkPolicy> {
    let nodes = NetworkPolicyPeer { pod_selector: Some(matching(cluster_labels(of))), ..NetworkPolicyPeer::default() };
    let operator = NetworkPolicyPeer {
        namespace_selector: Some(matching(one(NAMESPACE_NAME, operator_namespace))),
        pod_selector: Some(matching(one(names::LABEL_NAME, OPERATOR))),
        ..NetworkPolicyPeer::default()
    };
    let ingress = vec![
        NetworkPolicyIngressRule { from: None, ports: Some(vec![port(KV_PORT), port(METRICS_PORT)]) },
        NetworkPolicyIngressRule { from: Some(vec![nodes, operator]), ports: Some(vec![port(PEER_PORT)]) },
    ];
    (of.spec.network_policy == Wanted::Enabled).then(|| NetworkPolicy {
        metadata: owned(of, names::common(of.name)),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(matching(cluster_labels(of))),
            policy_types: Some(vec!["Ingress".to_owned()]),
            ingress: Some(ingress),
            egress: None,
        }),
    })
}

fn port(port: u16) -> NetworkPolicyPort {
    NetworkPolicyPort { port: Some(IntOrString::Int(port.into())), protocol: Some("TCP".to_owned()), end_port: None }
}
