//! What a pod says of the process in it. Pure.

use granary_planner::observed::{Process, Seen};
use k8s_openapi::{
    api::core::v1::{ContainerStatus, Pod, PodCondition},
    jiff::Timestamp,
};

use crate::substrate::Problem;

/// Name of the container that runs the node.
const CONTAINER: &str = "node";
/// Seconds for which a pod may be without a Kubernetes node before a person is told: volumes are made meanwhile.
const UNSCHEDULED_SECONDS: i64 = 10;
/// Longest part of a container's last words that is told, in characters.
const LAST_WORDS: usize = 400;

/// Whether code of the node runs in this pod. `None`: there is no pod now, its StatefulSet will make one.
pub fn process(pod: Option<&Pod>) -> Seen<Process> {
    match pod.and_then(container) {
        Some(status) if status.state.as_ref().is_some_and(|state| state.running.is_some()) => {
            Seen::Fresh(Process::Running)
        }
        _ => Seen::Fresh(Process::Starting),
    }
}

/// The pod's address, for which the pod runs.
pub fn ip(pod: &Pod) -> Option<&str> {
    pod.status.as_ref()?.pod_ip.as_deref().filter(|ip| !ip.is_empty())
}

/// HOST:PORT of the pod.
pub fn address(ip: &str, port: u16) -> String {
    if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
}

/// The Kubernetes node that the pod is on.
pub fn kubernetes_node(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref()
}

/// Whether the pod was made from another template than this revision of its StatefulSet.
pub fn is_outdated(pod: &Pod, revision: &str) -> bool {
    let own = pod.metadata.labels.as_ref().and_then(|labels| labels.get("controller-revision-hash"));
    own.is_some_and(|own| own != revision)
}

/// What keeps the process from running, if a person has to see to it.
pub fn problem(place: &str, pod: &Pod, now: Timestamp) -> Option<Problem> {
    waiting(place, pod).or_else(|| unscheduled(place, pod, now))
}

fn container(pod: &Pod) -> Option<&ContainerStatus> {
    pod.status.as_ref()?.container_statuses.as_ref()?.iter().find(|status| status.name == CONTAINER)
}

fn waiting(place: &str, pod: &Pod) -> Option<Problem> {
    let status = container(pod)?;
    let waiting = status.state.as_ref()?.waiting.as_ref()?;
    let message = waiting.message.clone().unwrap_or_default();
    match waiting.reason.as_deref()? {
        "ErrImagePull" | "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull" => Some(Problem {
            reason: "ImagePull",
            message: format!(
                "{place}: the image {} cannot be pulled: {message}; correct spec.image or spec.imagePullSecrets",
                status.image
            ),
        }),
        "CrashLoopBackOff" => {
            let ended = status.last_state.as_ref().and_then(|state| state.terminated.as_ref());
            let words = ended.and_then(|ended| ended.message.clone()).unwrap_or(message);
            let code = ended.map_or(String::new(), |ended| format!(" with exit code {}", ended.exit_code));
            Some(Problem {
                reason: "Crashing",
                message: format!(
                    "{place}: the process ended {} times, last{code}: {}",
                    status.restart_count,
                    last_words(&words)
                ),
            })
        }
        "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => {
            Some(Problem { reason: "Container", message: format!("{place}: its container cannot be made: {message}") })
        }
        _ => None,
    }
}

fn unscheduled(place: &str, pod: &Pod, now: Timestamp) -> Option<Problem> {
    let is_it = |condition: &&PodCondition| condition.type_ == "PodScheduled" && condition.status == "False";
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let condition = conditions.iter().find(is_it)?;
    let since = condition.last_transition_time.as_ref()?.0;
    if now.as_second() - since.as_second() < UNSCHEDULED_SECONDS {
        return None;
    }
    let message = condition.message.clone().unwrap_or_default();
    Some(Problem { reason: "Unschedulable", message: format!("{place} has no Kubernetes node: {message}") })
}

/// The end of what a process said, in one line.
fn last_words(words: &str) -> String {
    let line = words.split_whitespace().collect::<Vec<_>>().join(" ");
    let count = line.chars().count();
    line.chars().skip(count.saturating_sub(LAST_WORDS)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(status: Value) -> Pod {
        let labels = json!({"controller-revision-hash": "r1"});
        let pod = json!({"metadata": {"name": "demo-node-0-0", "labels": labels}, "status": status});
        serde_json::from_value(pod).unwrap()
    }

    fn with_state(state: Value, last: Value) -> Pod {
        let status = json!({"name": "node", "image": "granary:9", "imageID": "", "ready": false, "restartCount": 3,
            "state": state, "lastState": last});
        pod(json!({"containerStatuses": [status]}))
    }

    fn at(time: &str) -> Timestamp {
        time.parse().unwrap()
    }

    #[test]
    fn only_a_container_that_runs_runs_code() {
        let running = with_state(json!({"running": {}}), json!({}));
        assert_eq!(process(Some(&running)), Seen::Fresh(Process::Running));
        for state in [json!({"waiting": {"reason": "ContainerCreating"}}), json!({"terminated": {"exitCode": 1}})] {
            assert_eq!(process(Some(&with_state(state, json!({})))), Seen::Fresh(Process::Starting));
        }
        assert_eq!(process(Some(&pod(json!({"phase": "Pending"})))), Seen::Fresh(Process::Starting));
        assert_eq!(process(None), Seen::Fresh(Process::Starting));
    }

    #[test]
    fn an_image_that_cannot_be_pulled_is_named_with_what_to_do() {
        let pod = with_state(json!({"waiting": {"reason": "ImagePullBackOff", "message": "not found"}}), json!({}));
        let problem = problem("node-1", &pod, at("2026-01-01T00:00:00Z")).unwrap();
        assert_eq!(problem.reason, "ImagePull");
        assert_eq!(
            problem.message,
            "node-1: the image granary:9 cannot be pulled: not found; correct spec.image or spec.imagePullSecrets"
        );
    }

    #[test]
    fn a_process_that_ends_again_and_again_is_quoted() {
        let last = json!({"terminated": {"exitCode": 2, "message": "level 3,\n this program  knows 2\n"}});
        let pod = with_state(json!({"waiting": {"reason": "CrashLoopBackOff"}}), last);
        let problem = problem("node-1", &pod, at("2026-01-01T00:00:00Z")).unwrap();
        assert_eq!(
            problem.message,
            "node-1: the process ended 3 times, last with exit code 2: level 3, this program knows 2"
        );
    }

    #[test]
    fn a_pod_without_a_kubernetes_node_is_told_after_a_while_only() {
        let condition = json!({"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available",
            "lastTransitionTime": "2026-01-01T00:00:00Z"});
        let pod = pod(json!({"phase": "Pending", "conditions": [condition]}));
        assert_eq!(problem("node-1", &pod, at("2026-01-01T00:00:09Z")), None);
        let told = problem("node-1", &pod, at("2026-01-01T00:00:10Z")).unwrap();
        assert_eq!(told.message, "node-1 has no Kubernetes node: 0/3 nodes are available");
    }

    #[test]
    fn a_pod_of_another_revision_is_outdated() {
        assert!(!is_outdated(&pod(json!({})), "r1"));
        assert!(is_outdated(&pod(json!({})), "r2"));
    }

    #[test]
    fn addresses_of_both_families_carry_a_port() {
        assert_eq!(address("10.0.0.1", 7002), "10.0.0.1:7002");
        assert_eq!(address("fd00::1", 7002), "[fd00::1]:7002");
    }
}
