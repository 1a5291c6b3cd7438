//! The one table of what a StorageCluster may hold. Each row says its rule twice, in CEL for the API server and in Rust
//! for local mode and the operator, and its message once: both sides print `FIELD is VALUE, allowed: ALLOWED`.
//!
//! Where several entries of a map or a list are wrong, Rust names the first one and the API server any one of them.

mod cluster;
mod compute;
mod error;
mod overlay;
mod placement;
mod pods;
mod storage;

pub use error::FieldError;

use crate::spec::{StorageCluster, StorageClusterSpec};

/// Where a rule is attached in the schema, which says what `self` is in its CEL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    /// The whole object.
    Root,
    /// `spec`.
    Spec,
}

/// What a rule looks at.
pub(crate) struct Subject<'a> {
    /// `metadata.name`, when the whole object is looked at.
    name: Option<&'a str>,
    spec: &'a StorageClusterSpec,
    /// The spec before a change.
    old: Option<&'a StorageClusterSpec>,
}

/// A row of the table. `holds` and `value` say in Rust what the CEL beside them says.
///
/// Messages are made with CEL's `format`: a text put together with `+` would need bounds that numbers do not have, and the
/// API server refuses what it cannot bound.
pub(crate) struct Rule {
    pub(crate) at: At,
    pub(crate) field: &'static str,
    pub(crate) cel: &'static str,
    /// How the message shows the value, with a `%s` for each of `cel_values`.
    pub(crate) shown: &'static str,
    pub(crate) cel_values: &'static str,
    /// What is allowed; with [`Rule::cel_old`], what stands before the old value.
    pub(crate) allowed: &'static str,
    /// For rules over a change: CEL of the old value.
    pub(crate) cel_old: Option<&'static str>,
    holds: fn(&Subject<'_>) -> bool,
    /// The value as `shown` shows it.
    value: fn(&StorageClusterSpec) -> String,
}

/// Every row, in the order of the errors.
pub(crate) fn rules() -> impl Iterator<Item = &'static Rule> {
    [cluster::RULES, storage::RULES, compute::RULES, placement::RULES, pods::RULES, overlay::RULES]
        .into_iter()
        .flatten()
}

/// What is wrong with a spec, and with the change from `old` when there is one. Empty: nothing.
pub fn validate(spec: &StorageClusterSpec, old: Option<&StorageClusterSpec>) -> Vec<FieldError> {
    check(&Subject { name: None, spec, old })
}

/// The same over the whole object: its name too.
pub fn validate_cluster(cluster: &StorageCluster, old: Option<&StorageCluster>) -> Vec<FieldError> {
    let name = cluster.metadata.name.as_deref().unwrap_or_default();
    check(&Subject { name: Some(name), spec: &cluster.spec, old: old.map(|old| &old.spec) })
}

fn check(subject: &Subject<'_>) -> Vec<FieldError> {
    rules().filter(|rule| !(rule.holds)(subject)).map(|rule| error(rule, subject)).collect()
}

fn error(rule: &Rule, subject: &Subject<'_>) -> FieldError {
    let value = match rule.at {
        At::Root => subject.name.unwrap_or_default().to_owned(),
        At::Spec => (rule.value)(subject.spec),
    };
    let old = match (rule.cel_old, subject.old) {
        (Some(_), Some(old)) => (rule.value)(old),
        _ => String::new(),
    };
    FieldError::new(rule.field, value, format!("{}{old}", rule.allowed))
}

/// Rules over a change hold when there is nothing before it.
fn unchanged<T: PartialEq>(subject: &Subject<'_>, read: fn(&StorageClusterSpec) -> &T) -> bool {
    subject.old.is_none_or(|old| read(old) == read(subject.spec))
}

/// A text in quotes, as the messages show it.
fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}

/// The entry that a rule over many refuses, for its message; empty when it refuses none.
fn entry(what: &str, found: Option<&str>) -> String {
    found.map(|found| format!("{what} \"{found}\"")).unwrap_or_default()
}
