//! Rules of where pods run.

use k8s_openapi::api::core::v1::Toleration;

use super::{At, Rule, entry, quoted};
use crate::{
    spec::StorageClusterSpec,
    syntax::{is_key, is_label_value, is_subdomain},
};

fn bad_selector(spec: &StorageClusterSpec) -> Option<&str> {
    let good = |key: &str, value: &str| is_key(key) && is_label_value(value);
    spec.node_selector.iter().find(|(key, value)| !good(key, value)).map(|(key, _)| key.as_str())
}

/// As the API server wants them of a pod.
fn is_toleration(toleration: &Toleration) -> bool {
    let key = toleration.key.as_deref().unwrap_or_default();
    let exists = toleration.operator.as_deref() == Some("Exists");
    let value = toleration.value.as_deref().unwrap_or_default();
    let key_fits = if key.is_empty() { exists } else { is_key(key) };
    let value_fits = if exists { value.is_empty() } else { is_label_value(value) };
    let seconds_fit = toleration.toleration_seconds.is_none() || toleration.effect.as_deref() == Some("NoExecute");
    key_fits && value_fits && seconds_fit
}

fn bad_toleration(spec: &StorageClusterSpec) -> Option<&str> {
    let bad = spec.tolerations.iter().find(|toleration| !is_toleration(toleration));
    bad.map(|toleration| toleration.key.as_deref().unwrap_or_default())
}

macro_rules! key_in_cel {
    ($key:literal) => {
        concat!(
            "(",
            $key,
            ".indexOf('/') <= 253 && ",
            $key,
            ".matches('^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?\
             [A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$'))"
        )
    };
}
macro_rules! value_in_cel {
    ($value:literal) => {
        concat!($value, ".matches('^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$')")
    };
}
macro_rules! toleration_in_cel {
    () => {
        concat!(
            "(has(t.key) && t.key != '' ? ",
            key_in_cel!("t.key"),
            " : (has(t.operator) && t.operator == 'Exists')) && ",
            "(!has(t.value) || (has(t.operator) && t.operator == 'Exists' ? t.value == '' : ",
            value_in_cel!("t.value"),
            ")) && (!has(t.tolerationSeconds) || (has(t.effect) && t.effect == 'NoExecute'))"
        )
    };
}
pub(super) use {key_in_cel, value_in_cel};

pub(super) const RULES: &[Rule] = &[
    Rule {
        at: At::Spec,
        field: "spec.nodeSelector",
        cel: concat!(
            "!has(self.nodeSelector) || self.nodeSelector.all(k, ",
            key_in_cel!("k"),
            " && ",
            value_in_cel!("self.nodeSelector[k]"),
            ")"
        ),
        shown: "a map with the key \"%s\"",
        cel_values: concat!(
            "self.nodeSelector.filter(k, !(",
            key_in_cel!("k"),
            " && ",
            value_in_cel!("self.nodeSelector[k]"),
            "))[0]"
        ),
        allowed: "keys and values of labels, such as disk: ssd",
        cel_old: None,
        holds: |subject| bad_selector(subject.spec).is_none(),
        value: |spec| entry("a map with the key", bad_selector(spec)),
    },
    Rule {
        at: At::Spec,
        field: "spec.tolerations",
        cel: concat!("!has(self.tolerations) || self.tolerations.all(t, ", toleration_in_cel!(), ")"),
        shown: "a list with the key \"%s\"",
        cel_values: concat!(
            "self.tolerations.filter(t, !(",
            toleration_in_cel!(),
            ")).map(t, has(t.key) ? t.key : '')[0]"
        ),
        allowed: "tolerations of a pod: no key only with operator Exists, no value with it, tolerationSeconds only with \
                  effect NoExecute",
        cel_old: None,
        holds: |subject| bad_toleration(subject.spec).is_none(),
        value: |spec| entry("a list with the key", bad_toleration(spec)),
    },
    Rule {
        at: At::Spec,
        field: "spec.priorityClassName",
        cel: "!has(self.priorityClassName) || self.priorityClassName.matches(\
              '^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')",
        shown: "\"%s\"",
        cel_values: "self.priorityClassName",
        allowed: "the name of a priority class (a-z, 0-9, - and dots)",
        cel_old: None,
        holds: |subject| subject.spec.priority_class_name.as_deref().is_none_or(is_subdomain),
        value: |spec| quoted(spec.priority_class_name.as_deref().unwrap_or_default()),
    },
];
