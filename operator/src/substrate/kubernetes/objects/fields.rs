//! What of the spec shapes the pods: their hash decides whether a template is rendered anew, so that a new version of
//! the operator restarts nothing. Hashes are kept on objects for years, therefore:
//!
//! * a field enters only when it does not hold its default, so that fields of later versions leave old hashes alone;
//! * the order of keys, and whether a quantity is a number or a string, do not count;
//! * what the operator itself adds never enters.

use std::collections::BTreeMap;

use granary_crds::{
    pods::PodSecurityContext,
    spec::{Resources, TopologySpread},
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde::Serialize;
use serde_json::Value;

use super::{Of, names, template::quantity_text};

/// Default of `spec.terminationGracePeriodSeconds`, by which old hashes were made.
const DEFAULT_GRACE_SECONDS: i64 = 60;
/// Longest value, in bytes, that is noted as it is; of a longer one its hash is.
const SHOWN: usize = 80;
/// Most fields that a reason names.
const NAMED: usize = 3;

/// Hash of the user's fields that shape the pods, and of the wish for a restart: 16 hexadecimal digits.
pub fn template_hash(of: &Of<'_>) -> String {
    hash(&canonical(&fields(of).into_iter().map(|(name, value)| (name.to_owned(), value)).collect()))
}

/// The same fields for people, as compact JSON of at most 4 KiB: each field with its value, or with `#` and its hash
/// when that is long.
pub fn template_fields(of: &Of<'_>) -> String {
    let noted: BTreeMap<_, _> = fields(of).into_iter().map(|(name, value)| (name, noted(&value))).collect();
    serde_json::to_string(&noted).unwrap_or_default()
}

/// Which fields differ between two results of [`template_fields`], such as `image: granary:0.1.1`. An older one that is
/// missing or cannot be read gives `template`.
pub fn why_changed(old: Option<&str>, new: &str) -> String {
    let read = |text: &str| serde_json::from_str::<BTreeMap<String, String>>(text).ok();
    let (Some(old), Some(new)) = (old.and_then(read), read(new)) else { return "template".to_owned() };
    let changed = new
        .iter()
        .filter(|(name, value)| old.get(*name) != Some(value))
        .map(|(name, value)| if value.starts_with('#') { name.clone() } else { format!("{name}: {value}") });
    let gone = old.keys().filter(|name| !new.contains_key(*name)).map(|name| format!("{name}: unset"));
    let all: Vec<_> = changed.chain(gone).collect();
    match all.len() {
        0 => "template".to_owned(),
        1..=NAMED => all.join(", "),
        more => format!("{} and {} more", all[..NAMED].join(", "), more - NAMED),
    }
}

/// The annotations of a StatefulSet and of its pods that say what they were rendered from.
pub(super) fn template_annotations(of: &Of<'_>) -> BTreeMap<String, String> {
    BTreeMap::from([
        (names::TEMPLATE_HASH.to_owned(), template_hash(of)),
        (names::TEMPLATE_FIELDS.to_owned(), template_fields(of)),
    ])
}

/// Name and value of each field that does not hold its default.
fn fields(of: &Of<'_>) -> BTreeMap<&'static str, Value> {
    let spec = of.spec;
    let secrets: Vec<_> = spec.image_pull_secrets.iter().map(|secret| &secret.name).collect();
    let spread = (spec.topology_spread != TopologySpread::default()).then_some(spec.topology_spread);
    let security = spec.pod_security_context.as_ref().filter(|given| **given != PodSecurityContext::default());
    let grace = Some(spec.termination_grace_period_seconds).filter(|seconds| *seconds != DEFAULT_GRACE_SECONDS);
    let all = [
        ("image", value(&spec.image)),
        ("imagePullSecrets", filled(value(secrets))),
        ("resources", filled(resources(&spec.resources))),
        ("nodeSelector", filled(value(&spec.node_selector))),
        ("tolerations", filled(value(&spec.tolerations))),
        ("affinity", filled(value(&spec.affinity))),
        ("topologySpread", spread.and_then(value)),
        ("priorityClassName", filled(value(&spec.priority_class_name))),
        ("podLabels", filled(value(&spec.pod_labels))),
        ("podAnnotations", filled(value(&spec.pod_annotations))),
        ("podSecurityContext", security.and_then(value)),
        ("terminationGracePeriodSeconds", grace.and_then(value)),
        ("serviceAccountName", filled(value(&spec.service_account_name))),
        ("podTemplate", filled(value(&spec.pod_template))),
        ("restart", filled(value(of.restart))),
    ];
    all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

fn value(field: impl Serialize) -> Option<Value> {
    serde_json::to_value(field).ok()
}

/// Not what is as good as left out.
fn filled(value: Option<Value>) -> Option<Value> {
    value.filter(|value| match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(entries) => !entries.is_empty(),
        Value::Bool(_) | Value::Number(_) => true,
    })
}

fn resources(resources: &Resources) -> Option<Value> {
    let texts = |quantities: &BTreeMap<String, IntOrString>| {
        let texts: BTreeMap<_, _> = quantities.iter().map(|(name, quantity)| (name, quantity_text(quantity))).collect();
        filled(value(texts))
    };
    let parts = [("limits", texts(&resources.limits)), ("requests", texts(&resources.requests))];
    value(parts.into_iter().filter_map(|(name, part)| Some((name, part?))).collect::<BTreeMap<_, _>>())
}

fn noted(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        other => canonical(other),
    };
    // A hash stands for what begins like one, too.
    if text.len() <= SHOWN && !text.starts_with('#') { text } else { format!("#{}", hash(&text)) }
}

/// Compact JSON with sorted keys.
fn canonical(value: &Value) -> String {
    let list = |parts: Vec<String>| parts.join(",");
    match value {
        Value::Object(entries) => {
            let sorted: BTreeMap<_, _> = entries.iter().collect();
            let part = |(key, value): (&String, &Value)| format!("{}:{}", Value::from(key.as_str()), canonical(value));
            format!("{{{}}}", list(sorted.into_iter().map(part).collect()))
        }
        Value::Array(items) => format!("[{}]", list(items.iter().map(canonical).collect())),
        other => other.to_string(),
    }
}

/// FNV-1a of 64 bits: the same in every version and on every machine. Nobody gains from a collision here.
fn hash(text: &str) -> String {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    format!("{:016x}", text.bytes().fold(0xcbf2_9ce4_8422_2325, step))
}
