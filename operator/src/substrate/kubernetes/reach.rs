//! Whether a volume can still be used on any Kubernetes node: a disk in a machine that was removed is gone. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Node, NodeSelectorRequirement, NodeSelectorTerm, PersistentVolume};
use kube::ResourceExt as _;

/// Whether some Kubernetes node may use the volume. A volume that names none may be used on all.
pub fn is_reachable<'a>(volume: &PersistentVolume, mut nodes: impl Iterator<Item = &'a Node>) -> bool {
    let affinity = volume.spec.as_ref().and_then(|spec| spec.node_affinity.as_ref());
    let Some(required) = affinity.and_then(|affinity| affinity.required.as_ref()) else { return true };
    nodes.any(|node| required.node_selector_terms.iter().any(|term| fits(term, node)))
}

/// All requirements of a term hold; a term without any fits nothing, as Kubernetes has it.
fn fits(term: &NodeSelectorTerm, node: &Node) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    let name = BTreeMap::from([("metadata.name".to_owned(), node.name_any())]);
    !(expressions.is_empty() && fields.is_empty())
        && expressions.iter().all(|requirement| holds(requirement, node.labels()))
        && fields.iter().all(|requirement| holds(requirement, &name))
}

fn holds(requirement: &NodeSelectorRequirement, labels: &BTreeMap<String, String>) -> bool {
    let label = labels.get(&requirement.key);
    let values = requirement.values.as_deref().unwrap_or_default();
    let number = |text: &String| text.parse::<i64>().ok();
    let compared = |larger: bool| {
        let both = label.and_then(number).zip(values.first().and_then(number));
        both.is_some_and(|(own, bound)| if larger { own > bound } else { own < bound })
    };
    match requirement.operator.as_str() {
        "In" => label.is_some_and(|label| values.contains(label)),
        "NotIn" => label.is_none_or(|label| !values.contains(label)),
        "Exists" => label.is_some(),
        "DoesNotExist" => label.is_none(),
        "Gt" => compared(true),
        "Lt" => compared(false),
        // An operator of the future: what cannot be judged is not called gone.
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn node(name: &str) -> Node {
        let labels = json!({"kubernetes.io/hostname": name, "cores": "8"});
        serde_json::from_value(json!({"metadata": {"name": name, "labels": labels}})).unwrap()
    }

    fn volume(terms: Value) -> PersistentVolume {
        let affinity = json!({"required": {"nodeSelectorTerms": terms}});
        serde_json::from_value(json!({"metadata": {}, "spec": {"nodeAffinity": affinity}})).unwrap()
    }

    fn reachable(requirement: Value) -> bool {
        is_reachable(&volume(json!([{"matchExpressions": [requirement]}])), [node("a"), node("b")].iter())
    }

    #[test]
    fn a_disk_in_a_machine_is_reachable_while_that_machine_is_there() {
        let on = |name: &str| json!({"key": "kubernetes.io/hostname", "operator": "In", "values": [name]});
        assert!(reachable(on("b")));
        assert!(!reachable(on("c")));
    }

    #[test]
    fn a_volume_that_names_no_machine_is_reachable_from_all() {
        let volume = serde_json::from_value(json!({"metadata": {}, "spec": {}})).unwrap();
        assert!(is_reachable(&volume, [].iter()));
    }

    #[test]
    fn every_operator_is_judged_and_an_unknown_one_is_not_taken_for_gone() {
        let cases = [
            ("Exists", json!([]), true),
            ("DoesNotExist", json!([]), false),
            ("NotIn", json!(["8"]), false),
            ("Gt", json!(["7"]), true),
            ("Lt", json!(["8"]), false),
            ("Near", json!(["8"]), true),
        ];
        for (operator, values, expected) in cases {
            let requirement = json!({"key": "cores", "operator": operator, "values": values});
            assert_eq!(reachable(requirement), expected, "{operator}");
        }
    }

    #[test]
    fn a_term_without_requirements_fits_nothing() {
        assert!(!is_reachable(&volume(json!([{}])), [node("a")].iter()));
    }
}
