//! Which cluster a StorageCluster is: its annotations, else what the claims of its name say. What was once known is
//! not forgotten while this process runs, however late a watch may be. Pure; `Kubernetes` writes it.

use std::{collections::BTreeSet, sync::Arc};

use granary_crds::StorageCluster;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;

use super::{
    api::annotation,
    look::is_removed,
    names::{BOOTSTRAPPED, CLUSTER_ID, FOUNDING, NODE_ID},
};
use crate::substrate::{Founding, Problem};

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    pub cluster_id: Option<String>,
    pub founded: bool,
    pub founding: Option<Founding>,
}

impl Identity {
    /// What the StorageCluster itself says. A content of Bootstrap that cannot be read counts as none: then it is made
    /// from what the founders say, as after the StorageCluster was deleted.
    pub fn written(cluster: &StorageCluster) -> Self {
        Self {
            cluster_id: annotation(cluster, CLUSTER_ID).map(str::to_owned),
            founded: annotation(cluster, BOOTSTRAPPED) == Some("true"),
            founding: annotation(cluster, FOUNDING).and_then(|text| serde_json::from_str(text).ok()),
        }
    }

    /// With what is known beside it. An id in force is never replaced.
    pub fn or(self, other: Self) -> Self {
        let same = self.cluster_id.is_none() || other.cluster_id.is_none() || self.cluster_id == other.cluster_id;
        Self {
            founded: self.founded || (same && other.founded),
            founding: self.founding.or(other.founding.filter(|_| same)),
            cluster_id: self.cluster_id.or(other.cluster_id),
        }
    }

    /// What the claims tell that hold data: the id that all of them have, and whether one of them held a member.
    ///
    /// # Errors
    /// They belong to several clusters.
    pub fn of_claims<'a>(claims: impl Iterator<Item = &'a Arc<PersistentVolumeClaim>>) -> Result<Self, Problem> {
        let claims: Vec<_> = claims.filter(|claim| !is_removed(claim)).collect();
        let ids: BTreeSet<&str> = claims.iter().filter_map(|claim| annotation(claim.as_ref(), CLUSTER_ID)).collect();
        if ids.len() > 1 {
            let ids: Vec<_> = ids.into_iter().collect();
            let message = format!(
                "the claims of this name belong to {} clusters ({}): write the id of the one that this shall be as the \
                 annotation {CLUSTER_ID} on the StorageCluster",
                ids.len(),
                ids.join(", ")
            );
            return Err(Problem { reason: "AmbiguousClaims", message });
        }
        let cluster_id = ids.first().map(|id| (*id).to_owned());
        let founded = cluster_id.is_some() && claims.iter().any(|claim| annotation(claim.as_ref(), NODE_ID).is_some());
        Ok(Self { cluster_id, founded, founding: None })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claim(annotations: serde_json::Value) -> Arc<PersistentVolumeClaim> {
        Arc::new(serde_json::from_value(json!({"metadata": {"annotations": annotations}})).unwrap())
    }

    fn known(cluster_id: Option<&str>, founded: bool) -> Identity {
        Identity { cluster_id: cluster_id.map(str::to_owned), founded, founding: None }
    }

    #[test]
    fn claims_that_held_members_bring_a_founded_cluster_back() {
        let claims = [claim(json!({CLUSTER_ID: "a", NODE_ID: "1"})), claim(json!({CLUSTER_ID: "a"}))];
        assert_eq!(Identity::of_claims(claims.iter()), Ok(known(Some("a"), true)));
        assert_eq!(Identity::of_claims(claims[1..].iter()), Ok(known(Some("a"), false)));
        assert_eq!(Identity::of_claims([].iter()), Ok(known(None, false)));
    }

    #[test]
    fn a_claim_that_was_given_up_says_nothing() {
        let removed =
            claim(json!({CLUSTER_ID: "a", NODE_ID: "4", crate::substrate::kubernetes::names::REMOVED: "now"}));
        assert_eq!(Identity::of_claims([removed].iter()), Ok(known(None, false)));
    }

    #[test]
    fn claims_of_two_clusters_need_a_person() {
        let claims = [claim(json!({CLUSTER_ID: "a"})), claim(json!({CLUSTER_ID: "b"}))];
        let problem = Identity::of_claims(claims.iter()).unwrap_err();
        assert!(problem.message.contains("2 clusters (a, b)"), "{}", problem.message);
    }

    #[test]
    fn an_id_in_force_is_not_replaced_and_what_was_known_is_not_forgotten() {
        assert_eq!(known(Some("a"), false).or(known(Some("b"), true)), known(Some("a"), false));
        assert_eq!(known(None, false).or(known(Some("a"), true)), known(Some("a"), true));
    }
}
