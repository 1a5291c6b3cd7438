//! Join: a blank node asks the cluster for an id, then becomes that member.

use std::{sync::Arc, time::Duration};

use granary_proto::{
    admin::{JoinRequest, JoinResponse},
    map::Domains,
    raft::{JoinClusterRequest, JoinClusterResponse},
};
use tokio::time::{Instant, sleep, timeout};
use tonic::{Code, Status};

use super::check;
use crate::{
    meta::{connect_peer, hinted},
    node::Node,
};

/// Longest search for a leader that lets the node in.
const LIMIT: Duration = Duration::from_secs(10);
/// Longest wait for one answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);
/// Pause between two questions.
const PAUSE: Duration = Duration::from_millis(50);

pub(super) async fn join(node: &Arc<Node>, request: JoinRequest) -> Result<JoinResponse, Status> {
    if let Some(member) = node.member() {
        let identity = &member.identity;
        if identity.cluster_id == request.cluster_id {
            return Ok(JoinResponse { node_id: identity.node_id });
        }
        return Err(Status::failed_precondition(format!(
            "cluster_id is {:?}, but this node belongs to cluster {}; a node belongs to one cluster for life",
            request.cluster_id, identity.cluster_id
        )));
    }
    check::join(&request)?;
    let question = JoinClusterRequest {
        cluster_id: request.cluster_id.clone(),
        uuid: node.uuid.clone(),
        name: node.options.name.clone(),
        addresses: Some(node.options.addresses()),
        domains: Some(domains(request.domains, node.options.domains())),
        feature_level: node.options.feature_level,
        operator_token: request.operator_token,
    };
    let answer = ask_cluster(&request.seeds, &question).await?;
    let map = answer.map.ok_or_else(|| Status::internal("the cluster let this node in, but gave it no map"))?;
    node.join(&request.cluster_id, answer.node_id, map).await?;
    Ok(JoinResponse { node_id: answer.node_id })
}

/// Where the node runs: who asks it to join knows better than its own options, which a pod's cannot say.
fn domains(given: Option<Domains>, own: Domains) -> Domains {
    given.filter(|given| *given != Domains::default()).unwrap_or(own)
}

/// Asks the seeds in turn, and whomever they name as leader, until one lets the node in or refuses it for good.
async fn ask_cluster(seeds: &[String], question: &JoinClusterRequest) -> Result<JoinClusterResponse, Status> {
    let deadline = Instant::now() + LIMIT;
    let mut seeds = seeds.iter().cycle();
    let mut leader: Option<String> = None;
    let mut last = Status::unavailable("nobody was asked");
    while Instant::now() < deadline {
        let Some(address) = leader.take().or_else(|| seeds.next().cloned()) else { break };
        let limit = ANSWER_LIMIT.min(deadline.saturating_duration_since(Instant::now()));
        match ask(&address, question, limit).await {
            Ok(answer) => return Ok(answer),
            Err(status) if is_final(status.code()) => return Err(status),
            Err(status) => {
                leader = hinted(&status).filter(|hint| *hint != address);
                last = Status::new(status.code(), format!("{address} answered: {}", status.message()));
            }
        }
        sleep(PAUSE).await;
    }
    let seconds = LIMIT.as_secs();
    Err(Status::unavailable(format!("no node let this one join within {seconds} s; the last, {}", last.message())))
}

async fn ask(address: &str, question: &JoinClusterRequest, limit: Duration) -> Result<JoinClusterResponse, Status> {
    let mut client = connect_peer(address).ok_or_else(|| Status::unavailable("this is no address"))?;
    match timeout(limit, client.join_cluster(question.clone())).await {
        Ok(answer) => answer.map(tonic::Response::into_inner),
        Err(_) => Err(Status::unavailable(format!("nothing within {} ms", limit.as_millis()))),
    }
}

/// Whether asking again would bring the same.
fn is_final(code: Code) -> bool {
    matches!(
        code,
        Code::InvalidArgument
            | Code::FailedPrecondition
            | Code::AlreadyExists
            | Code::NotFound
            | Code::PermissionDenied
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_callers_word_on_where_the_node_runs_wins_over_its_options() {
        let at = |zone: &str| Domains { zone: zone.into(), machine: "m".into() };
        assert_eq!(domains(Some(at("a")), at("b")), at("a"));
        assert_eq!(domains(None, at("b")), at("b"));
        assert_eq!(domains(Some(Domains::default()), at("b")), at("b"), "a caller that knows nothing");
    }
}
