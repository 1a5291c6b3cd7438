//! The rights that the operator's chart gives, whatever the values.

use serde_json::Value;

use crate::helm::{Helm, documents, with_helm};

fn roles(helm: &Helm, values: &[&str]) -> Vec<Value> {
    let all = documents(&helm.rendered("granary", "charts/granary", values)).into_iter().map(|(_, value)| value);
    all.filter(|value| value["apiVersion"] == "rbac.authorization.k8s.io/v1").collect()
}

fn of_kind<'a>(roles: &'a [Value], kind: &str) -> Vec<&'a Value> {
    roles.iter().filter(|role| role["kind"] == kind).collect()
}

#[test]
fn no_rule_has_a_wildcard_or_reads_a_secret() {
    with_helm(|helm| {
        let roles = roles(helm, &[]);
        let rules: Vec<&Value> = roles.iter().filter_map(|role| role["rules"].as_array()).flatten().collect();
        assert!(rules.len() > 10);
        for rule in rules {
            let text = rule.to_string();
            for never in ["*", "secrets", "pods/exec", "deletecollection", "escalate", "impersonate", "bind\""] {
                assert!(!text.contains(never), "{text}");
            }
        }
    });
}

#[test]
fn watched_namespaces_get_roles_and_nothing_reaches_further() {
    with_helm(|helm| {
        let set = ["--set", "watchNamespaces={a,b},rbac.clusterScoped=false"];
        let roles = roles(helm, &set);
        assert!(of_kind(&roles, "ClusterRole").is_empty() && of_kind(&roles, "ClusterRoleBinding").is_empty());
        let spaces: Vec<_> = of_kind(&roles, "Role").iter().map(|role| role["metadata"]["namespace"].clone()).collect();
        assert_eq!(spaces, ["granary-system", "a", "b"]);
        assert_eq!(of_kind(&roles, "RoleBinding").len(), 3);
    });
}

#[test]
fn rights_on_cluster_scoped_objects_are_a_role_of_their_own() {
    with_helm(|helm| {
        let all = roles(helm, &["--set", "watchNamespaces={a}"]);
        let [role] = of_kind(&all, "ClusterRole")[..] else { panic!("one ClusterRole: {all:?}") };
        let resources: Vec<_> =
            role["rules"].as_array().unwrap().iter().map(|rule| rule["resources"][0].clone()).collect();
        assert_eq!(resources, ["nodes", "persistentvolumes", "storageclasses"]);
    });
}

#[test]
fn no_roles_are_made_where_a_person_gives_the_rights() {
    with_helm(|helm| assert!(roles(helm, &["--set", "rbac.create=false"]).is_empty()));
}
