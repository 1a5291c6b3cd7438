//! Names, labels and owners.

use super::*;

/// What the StatefulSet controller adds to the name in the pod's label of its revision: `-` and a hash.
const REVISION: usize = 11;

#[test]
fn the_longest_name_fits_into_every_name_and_label() {
    let name = "a".repeat(40);
    for made in [names::pod(&name, 999_999), names::headless(&name), names::client(&name), names::common(&name)] {
        assert!(made.len() <= 63, "{made}");
    }
    // A StatefulSet with a longer name is accepted, and its pods are then refused.
    assert!(names::object(&name, 999_999).len() + REVISION <= 63);
}

fn is_label_value(text: &str) -> bool {
    let ends = |c: char| c.is_ascii_alphanumeric();
    text.len() <= 63
        && text.starts_with(ends)
        && text.ends_with(ends)
        && text.chars().all(|c| ends(c) || "-_.".contains(c))
}

#[test]
fn labels_are_valid_and_selectors_are_a_part_of_them() {
    let (spec, name) = (every_field(), "a".repeat(40));
    let of = Of { name: &name, ..of(&spec) };
    let set = statefulset(&of, 999_999).expect("a valid template").spec.expect("a spec");
    let labels = set.template.metadata.expect("metadata").labels.expect("labels");
    for value in labels.values() {
        assert!(is_label_value(value), "{value}");
    }
    let client = client_service(&of).spec.expect("a spec").selector.expect("a selector");
    for (key, value) in set.selector.match_labels.expect("labels").iter().chain(&client) {
        assert_eq!(labels.get(key), Some(value));
    }
    assert_eq!(labels["team"], "shop");
}

#[test]
fn all_but_claims_have_the_cluster_as_their_owner() {
    let spec = minimal();
    let of = of(&spec);
    let metadata = owned_metadata(&of);
    assert_eq!(metadata.len(), 6);
    for metadata in metadata {
        assert_eq!(metadata.owner_references, Some(vec![owner(&of)]), "{:?}", metadata.name);
    }
    assert_eq!(claim(&of, 0).metadata.owner_references, None);
}

#[test]
fn everything_says_which_cluster_it_belongs_to() {
    let spec = minimal();
    let of = of(&spec);
    let mut all = owned_metadata(&of);
    all.push(claim(&of, 0).metadata);
    for metadata in all {
        let (labels, annotations) = (metadata.labels.expect("labels"), metadata.annotations.expect("annotations"));
        assert_eq!(labels[names::LABEL_CLUSTER], of.name);
        assert_eq!(labels[names::LABEL_MANAGED_BY], names::MANAGER);
        assert_eq!(annotations[names::CLUSTER_ID], of.cluster_id);
    }
}

#[test]
fn clusters_beside_each_other_share_no_name() {
    // One is named as an object of the other is.
    let all = |name: &str| [names::headless(name), names::client(name), names::object(name, 0), names::object(name, 1)];
    for other in ["demo-client", "demo-nodes", "demo-node-0"] {
        assert!(all("demo").iter().all(|name| !all(other).contains(name)), "{other}");
    }
}
