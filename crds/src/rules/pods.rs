//! Rules of what pods are called and whom they run as.

use std::collections::BTreeMap;

use super::{
    At, Rule, entry,
    placement::{key_in_cel, value_in_cel},
    quoted,
};
use crate::{
    pods::{OWN_PREFIX, PodSecurityContext},
    spec::StorageClusterSpec,
    syntax::{is_key, is_label_value, is_subdomain},
};

const MOST_ID: i64 = i32::MAX as i64;

pub(super) fn own_key(map: &BTreeMap<String, String>) -> Option<&str> {
    map.keys().map(String::as_str).find(|key| key.starts_with(OWN_PREFIX))
}

fn bad_label(spec: &StorageClusterSpec) -> Option<&str> {
    let good = |key: &str, value: &str| is_key(key) && is_label_value(value);
    spec.pod_labels.iter().find(|(key, value)| !good(key, value)).map(|(key, _)| key.as_str())
}

fn bad_annotation(spec: &StorageClusterSpec) -> Option<&str> {
    spec.pod_annotations.keys().map(String::as_str).find(|key| !is_key(key))
}

fn id(spec: &StorageClusterSpec, read: fn(&PodSecurityContext) -> Option<i64>) -> Option<i64> {
    spec.pod_security_context.as_ref().and_then(read)
}

fn shown(id: Option<i64>) -> String {
    id.map(|id| id.to_string()).unwrap_or_default()
}

/// A rule that no key of a map may be the operator's own.
macro_rules! own_keys {
    ($name:literal, $field:ident) => {
        Rule {
            at: At::Spec,
            field: concat!("spec.", $name),
            cel: concat!("!has(self.", $name, ") || !self.", $name, ".exists(k, k.startsWith('granary.io/'))"),
            shown: "a map with the key \"%s\"",
            cel_values: concat!("self.", $name, ".filter(k, k.startsWith('granary.io/'))[0]"),
            allowed: "keys that do not begin with granary.io/, as those are the operator's own",
            cel_old: None,
            holds: |subject| own_key(&subject.spec.$field).is_none(),
            value: |spec| entry("a map with the key", own_key(&spec.$field)),
        }
    };
}

/// A rule about the range of an id.
macro_rules! id_range {
    ($name:literal, $field:ident, $least:literal) => {
        Rule {
            at: At::Spec,
            field: concat!("spec.podSecurityContext.", $name),
            cel: concat!(
                "!has(self.podSecurityContext) || !has(self.podSecurityContext.",
                $name,
                ") || ",
                "(self.podSecurityContext.",
                $name,
                " >= ",
                $least,
                " && self.podSecurityContext.",
                $name,
                " <= 2147483647)"
            ),
            shown: "%s",
            cel_values: concat!("self.podSecurityContext.", $name),
            allowed: concat!($least, " to 2147483647, or left out"),
            cel_old: None,
            holds: |subject| id(subject.spec, |given| given.$field).is_none_or(|id| ($least..=MOST_ID).contains(&id)),
            value: |spec| shown(id(spec, |given| given.$field)),
        }
    };
}

pub(super) const RULES: &[Rule] = &[
    own_keys!("podLabels", pod_labels),
    own_keys!("podAnnotations", pod_annotations),
    Rule {
        at: At::Spec,
        field: "spec.podLabels",
        cel: concat!(
            "!has(self.podLabels) || self.podLabels.all(k, ",
            key_in_cel!("k"),
            " && ",
            value_in_cel!("self.podLabels[k]"),
            ")"
        ),
        shown: "a map with the key \"%s\"",
        cel_values: concat!(
            "self.podLabels.filter(k, !(",
            key_in_cel!("k"),
            " && ",
            value_in_cel!("self.podLabels[k]"),
            "))[0]"
        ),
        allowed: "keys and values of labels, such as team: storage",
        cel_old: None,
        holds: |subject| bad_label(subject.spec).is_none(),
        value: |spec| entry("a map with the key", bad_label(spec)),
    },
    Rule {
        at: At::Spec,
        field: "spec.podAnnotations",
        cel: concat!("!has(self.podAnnotations) || self.podAnnotations.all(k, ", key_in_cel!("k"), ")"),
        shown: "a map with the key \"%s\"",
        cel_values: concat!("self.podAnnotations.filter(k, !", key_in_cel!("k"), ")[0]"),
        allowed: "keys of annotations, such as example.com/owner",
        cel_old: None,
        holds: |subject| bad_annotation(subject.spec).is_none(),
        value: |spec| entry("a map with the key", bad_annotation(spec)),
    },
    id_range!("runAsUser", run_as_user, 1),
    id_range!("runAsGroup", run_as_group, 0),
    id_range!("fsGroup", fs_group, 0),
    Rule {
        at: At::Spec,
        field: "spec.terminationGracePeriodSeconds",
        cel: "self.terminationGracePeriodSeconds >= 10 && self.terminationGracePeriodSeconds <= 3600",
        shown: "%s",
        cel_values: "self.terminationGracePeriodSeconds",
        allowed: "10 to 3600",
        cel_old: None,
        holds: |subject| (10..=3600).contains(&subject.spec.termination_grace_period_seconds),
        value: |spec| spec.termination_grace_period_seconds.to_string(),
    },
    Rule {
        at: At::Spec,
        field: "spec.serviceAccountName",
        cel: "!has(self.serviceAccountName) || self.serviceAccountName.matches(\
              '^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')",
        shown: "\"%s\"",
        cel_values: "self.serviceAccountName",
        allowed: "the name of a ServiceAccount (a-z, 0-9, - and dots)",
        cel_old: None,
        holds: |subject| subject.spec.service_account_name.as_deref().is_none_or(is_subdomain),
        value: |spec| quoted(spec.service_account_name.as_deref().unwrap_or_default()),
    },
];
