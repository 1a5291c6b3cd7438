//! Bootstrap: a node takes part in founding one cluster in its life, and answers the same call again with what it has.

use std::sync::Arc;

use granary_proto::{
    admin::{BootstrapRequest, BootstrapResponse},
    storage::Identity,
};
use tonic::Status;

use super::check;
use crate::node::Node;

pub(super) async fn bootstrap(node: &Arc<Node>, request: BootstrapRequest) -> Result<BootstrapResponse, Status> {
    if let Some(member) = node.member() {
        check_founder(&member.identity, &request)?;
        // Asked again, it finishes a founding that was cut off.
        return node.found(request).await;
    }
    check::bootstrap(&request, &node.uuid, node.options.feature_level)?;
    node.found(request).await
}

/// Whether a node that belongs to a cluster is a founder of this one.
fn check_founder(identity: &Identity, request: &BootstrapRequest) -> Result<(), Status> {
    if identity.cluster_id != request.cluster_id {
        return Err(Status::failed_precondition(format!(
            "cluster_id is {:?}, but this node belongs to cluster {}; a node belongs to one cluster for life",
            request.cluster_id, identity.cluster_id
        )));
    }
    let own =
        |founder: &granary_proto::admin::Founder| founder.uuid == identity.uuid && founder.node_id == identity.node_id;
    if !request.founders.iter().any(own) {
        return Err(Status::failed_precondition(format!(
            "founders do not name this node, which is node {} ({}) of cluster {}",
            identity.node_id, identity.uuid, identity.cluster_id
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use granary_proto::admin::Founder;
    use tonic::Code;

    use super::*;

    fn request(cluster_id: &str, founder: (u64, &str)) -> BootstrapRequest {
        let founder = Founder { node_id: founder.0, uuid: founder.1.into(), ..Founder::default() };
        BootstrapRequest { cluster_id: cluster_id.into(), founders: vec![founder], ..BootstrapRequest::default() }
    }

    fn identity() -> Identity {
        Identity { format: granary_engine::IDENTITY_FORMAT, cluster_id: "ours".into(), node_id: 2, uuid: "disk".into() }
    }

    #[test]
    fn a_founder_takes_the_same_bootstrap_again() {
        assert!(check_founder(&identity(), &request("ours", (2, "disk"))).is_ok());
    }

    #[test]
    fn a_member_refuses_another_cluster_and_names_both() {
        let status = check_founder(&identity(), &request("theirs", (2, "disk"))).unwrap_err();
        assert_eq!(status.code(), Code::FailedPrecondition);
        assert!(status.message().contains("theirs") && status.message().contains("ours"), "{status}");
    }

    #[test]
    fn a_member_refuses_to_be_founded_again_as_another_node() {
        for founder in [(1, "disk"), (2, "another disk")] {
            let status = check_founder(&identity(), &request("ours", founder)).unwrap_err();
            assert_eq!(status.code(), Code::FailedPrecondition, "{founder:?}");
        }
    }
}
