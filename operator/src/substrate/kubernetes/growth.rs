//! Growth of volumes: which claim grows next, and what stands in the way. Pure; claims grow one by one, whatever the
//! health of the cluster, for a full disk is often what is wrong with it.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::ResourceExt as _;

use super::quantity::bytes;
use crate::substrate::{Problem, Storage};

/// What to do next.
#[derive(Debug, PartialEq)]
pub enum Growth<'a> {
    /// Every claim has the size asked for.
    Done,
    /// Ask for the size on this claim.
    Ask(&'a PersistentVolumeClaim),
    /// It was asked for; the pod's kubelet has a part in it, so its pod is touched.
    Underway(&'a PersistentVolumeClaim),
}

/// The next step towards `size` for the claims of places, in order of index. Claims without a volume are left: they are
/// made in their size.
pub fn next<'a>(size: &str, claims: impl Iterator<Item = &'a PersistentVolumeClaim>) -> Growth<'a> {
    let Some(wanted) = bytes(size) else { return Growth::Done };
    let mut claims: Vec<_> = claims.filter(|claim| is_bound(claim)).collect();
    claims.sort_by_key(|claim| asked(claim) < Some(wanted));
    for claim in claims {
        if asked(claim) < Some(wanted) {
            return Growth::Ask(claim);
        }
        // A larger one may be asked for already; what counts is what this size lacks. One that could not be had is
        // taken back, which Kubernetes allows down to what the volume has.
        if capacity(claim) < Some(wanted) {
            let failed = asked(claim) > Some(wanted) && failure(claim).is_some();
            return if failed { Growth::Ask(claim) } else { Growth::Underway(claim) };
        }
    }
    Growth::Done
}

/// What the claims of places say of their volumes: the smallest one, and how far they are on the way to `size`.
pub fn told<'a>(size: &str, claims: impl Iterator<Item = &'a PersistentVolumeClaim>) -> Storage {
    let sized = |claim: &'a PersistentVolumeClaim| Some((capacity(claim)?, claim));
    let mut volumes: Vec<_> = claims.filter(|claim| is_bound(claim)).filter_map(sized).collect();
    volumes.sort_by_key(|(has, _)| *has);
    let large_enough = |has: u128| bytes(size).is_none_or(|wanted| has >= wanted);
    let behind = volumes.iter().find(|(has, _)| !large_enough(*has)).map(|(_, claim)| {
        let (done, all) = (volumes.iter().filter(|(has, _)| large_enough(*has)).count(), volumes.len());
        let (name, has) = (claim.name_any(), capacity_text(claim).unwrap_or_default());
        format!("{done} of {all} volumes have {size}; {name} has {has}")
    });
    Storage { smallest: volumes.first().and_then(|(_, claim)| capacity_text(claim)).map(str::to_owned), behind }
}

/// Why a claim does not grow, in its own words.
pub fn failure(claim: &PersistentVolumeClaim) -> Option<Problem> {
    let status = claim.status.as_ref()?;
    let conditions = status.conditions.iter().flatten();
    let failed = conditions.filter(|condition| condition.status == "True" && condition.type_.ends_with("ResizeError"));
    let states = status.allocated_resource_statuses.iter().flat_map(|states| states.values());
    let infeasible = states.filter(|state| state.ends_with("Infeasible") || state.ends_with("Failed"));
    let message = failed.filter_map(|condition| condition.message.clone()).next();
    let message = message.or_else(|| infeasible.map(|state| format!("its state is {state}")).next())?;
    let name = claim.name_any();
    Some(Problem {
        reason: "GrowthFailed",
        message: format!("the volume of {name} does not grow: {message}; kubectl describe pvc {name} tells more"),
    })
}

/// That the class cannot do it.
pub fn no_expansion(class: &str, size: &str, claim: &PersistentVolumeClaim) -> Problem {
    Problem {
        reason: "NoExpansion",
        message: format!(
            "spec.storage.size is {size}, {} has less, and the storage class {class} does not allow volumes to grow: \
             set allowVolumeExpansion on it if its driver can, or replace nodes one by one",
            claim.name_any()
        ),
    }
}

fn is_bound(claim: &PersistentVolumeClaim) -> bool {
    claim.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound")
}

/// Bytes that the claim asks for.
fn asked(claim: &PersistentVolumeClaim) -> Option<u128> {
    let requests = claim.spec.as_ref()?.resources.as_ref()?.requests.as_ref()?;
    bytes(&requests.get("storage")?.0)
}

/// Bytes that it has.
fn capacity(claim: &PersistentVolumeClaim) -> Option<u128> {
    bytes(capacity_text(claim)?)
}

/// The same as it is written.
fn capacity_text(claim: &PersistentVolumeClaim) -> Option<&str> {
    Some(claim.status.as_ref()?.capacity.as_ref()?.get("storage")?.0.as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claim(name: &str, asked: &str, has: &str) -> PersistentVolumeClaim {
        let resources = json!({"requests": {"storage": asked}});
        let status = json!({"phase": "Bound", "capacity": {"storage": has}});
        let claim = json!({"metadata": {"name": name}, "spec": {"resources": resources}, "status": status});
        serde_json::from_value(claim).unwrap()
    }

    #[test]
    fn claims_grow_one_by_one() {
        let (mut a, mut b) = (claim("a", "10Gi", "10Gi"), claim("b", "10Gi", "10Gi"));
        assert_eq!(next("20Gi", [&a, &b].into_iter()), Growth::Ask(&a));
        a = claim("a", "20Gi", "10Gi");
        assert_eq!(next("20Gi", [&a, &b].into_iter()), Growth::Underway(&a));
        a = claim("a", "20Gi", "20Gi");
        assert_eq!(next("20Gi", [&a, &b].into_iter()), Growth::Ask(&b));
        b = claim("b", "20Gi", "20Gi");
        assert_eq!(next("20Gi", [&a, &b].into_iter()), Growth::Done);
    }

    #[test]
    fn a_claim_that_is_larger_already_is_left_alone() {
        let large = claim("a", "30Gi", "30Gi");
        assert_eq!(next("20Gi", [&large].into_iter()), Growth::Done);
    }

    #[test]
    fn a_size_that_could_not_be_had_is_taken_back_for_one_that_is_asked_now() {
        let mut failed = claim("a", "100Gi", "10Gi");
        assert_eq!(next("20Gi", [&failed].into_iter()), Growth::Underway(&failed));
        failed.status.as_mut().unwrap().allocated_resource_statuses =
            serde_json::from_value(json!({"storage": "ControllerResizeInfeasible"})).unwrap();
        assert_eq!(next("20Gi", [&failed].into_iter()), Growth::Ask(&failed));
        assert_eq!(next("100Gi", [&failed].into_iter()), Growth::Underway(&failed));
    }

    #[test]
    fn a_claim_without_a_volume_is_not_grown() {
        let mut pending = claim("a", "10Gi", "0");
        pending.status = serde_json::from_value(json!({"phase": "Pending"})).unwrap();
        assert_eq!(next("20Gi", [&pending].into_iter()), Growth::Done);
    }

    #[test]
    fn the_smallest_volume_is_told_and_how_many_are_large_enough() {
        let (a, b, c) = (claim("a", "20Gi", "20Gi"), claim("b", "20Gi", "9Gi"), claim("c", "10Gi", "10Gi"));
        let behind = Some("1 of 3 volumes have 20Gi; b has 9Gi".to_owned());
        assert_eq!(told("20Gi", [&a, &b, &c].into_iter()), Storage { smallest: Some("9Gi".into()), behind });
        assert_eq!(told("20Gi", [&a].into_iter()), Storage { smallest: Some("20Gi".into()), behind: None });
        assert_eq!(told("20Gi", [].into_iter()), Storage::default());
    }

    #[test]
    fn a_failed_growth_is_told_in_the_drivers_words() {
        let mut failed = claim("demo-node-0", "20Gi", "10Gi");
        assert_eq!(failure(&failed), None);
        failed.status = serde_json::from_value(json!({"phase": "Bound", "conditions": [
            {"type": "NodeResizeError", "status": "True", "message": "no space on the pool"}]}))
        .unwrap();
        let problem = failure(&failed).unwrap();
        assert!(problem.message.starts_with("the volume of demo-node-0 does not grow: no space on the pool"));
    }
}
