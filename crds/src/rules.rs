//! The one table of what a StorageCluster may hold. Each row says its rule twice, in CEL for the API server and in Rust
//! for local mode and the operator, and its message once: both sides print `FIELD is VALUE, allowed: ALLOWED`.

use std::fmt;

use crate::{
    duration::parse_replace_after,
    spec::{StorageCluster, StorageClusterSpec},
};

/// A field that does not hold what it may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// Path, such as `spec.replicas`.
    pub field: String,
    /// What it holds.
    pub value: String,
    /// What it may hold.
    pub allowed: String,
    /// All three in one sentence.
    pub message: String,
}

impl FieldError {
    /// An error with the message that all of them have.
    pub fn new(field: impl Into<String>, value: impl Into<String>, allowed: impl Into<String>) -> Self {
        let (field, value, allowed) = (field.into(), value.into(), allowed.into());
        let message = format!("{field} is {value}, allowed: {allowed}");
        Self { field, value, allowed, message }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

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

/// A row of the table. `holds` and `value` and `allowed` say in Rust what the CEL beside them says.
pub(crate) struct Rule {
    pub(crate) at: At,
    pub(crate) field: &'static str,
    pub(crate) cel: &'static str,
    /// CEL of the text that the message shows as the value.
    pub(crate) cel_value: &'static str,
    /// What is allowed; with [`Rule::cel_old`], what stands before the old value.
    pub(crate) allowed: &'static str,
    /// For rules over a change: CEL of the old value's text.
    pub(crate) cel_old: Option<&'static str>,
    holds: fn(&Subject<'_>) -> bool,
    value: fn(&StorageClusterSpec) -> String,
}

const LONGEST_NAME: usize = 40;
const MOST_REPLICAS: i32 = 100;
const MOST_SHARDS: i32 = 1024;

/// Rules over a change hold when there is nothing before it.
fn unchanged<T: PartialEq>(subject: &Subject<'_>, read: fn(&StorageClusterSpec) -> &T) -> bool {
    subject.old.is_none_or(|old| read(old) == read(subject.spec))
}

pub(crate) const RULES: &[Rule] = &[
    Rule {
        at: At::Root,
        field: "metadata.name",
        cel: "self.metadata.name.matches('^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$')",
        cel_value: "self.metadata.name",
        allowed: "a DNS label (a-z, 0-9, -) from a letter, at most 40 characters",
        cel_old: None,
        holds: |subject| subject.name.is_none_or(is_name),
        value: |_| String::new(),
    },
    Rule {
        at: At::Spec,
        field: "spec.replicas",
        cel: "self.replicas >= 1 && self.replicas <= 100",
        cel_value: "string(self.replicas)",
        allowed: "1 to 100",
        cel_old: None,
        holds: |subject| (1..=MOST_REPLICAS).contains(&subject.spec.replicas),
        value: |spec| spec.replicas.to_string(),
    },
    Rule {
        at: At::Spec,
        field: "spec.replicas",
        cel: "self.replicas >= self.replicationFactor",
        cel_value: "string(self.replicas) + ' with spec.replicationFactor ' + string(self.replicationFactor)",
        allowed: "spec.replicationFactor or more, since each copy of a shard needs a node of its own",
        cel_old: None,
        holds: |subject| subject.spec.replicas >= subject.spec.replication_factor,
        value: |spec| format!("{} with spec.replicationFactor {}", spec.replicas, spec.replication_factor),
    },
    Rule {
        at: At::Spec,
        field: "spec.replicationFactor",
        cel: "self.replicationFactor in [1, 3, 5]",
        cel_value: "string(self.replicationFactor)",
        allowed: "1, 3 or 5",
        cel_old: None,
        holds: |subject| [1, 3, 5].contains(&subject.spec.replication_factor),
        value: |spec| spec.replication_factor.to_string(),
    },
    Rule {
        at: At::Spec,
        field: "spec.replicationFactor",
        cel: "self.replicationFactor == oldSelf.replicationFactor",
        cel_value: "string(self.replicationFactor)",
        allowed: "its value at creation, ",
        cel_old: Some("string(oldSelf.replicationFactor)"),
        holds: |subject| unchanged(subject, |spec| &spec.replication_factor),
        value: |spec| spec.replication_factor.to_string(),
    },
    Rule {
        at: At::Spec,
        field: "spec.shards",
        cel: "self.shards in [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024]",
        cel_value: "string(self.shards)",
        allowed: "a power of two from 1 to 1024",
        cel_old: None,
        holds: |subject| {
            let shards = subject.spec.shards;
            (1..=MOST_SHARDS).contains(&shards) && shards & (shards - 1) == 0
        },
        value: |spec| spec.shards.to_string(),
    },
    Rule {
        at: At::Spec,
        field: "spec.shards",
        cel: "self.shards == oldSelf.shards",
        cel_value: "string(self.shards)",
        allowed: "its value at creation, ",
        cel_old: Some("string(oldSelf.shards)"),
        holds: |subject| unchanged(subject, |spec| &spec.shards),
        value: |spec| spec.shards.to_string(),
    },
    Rule {
        at: At::Spec,
        field: "spec.image",
        cel: "self.image.matches('^([^ ]*[^ /:@])[:@][^ /]+$')",
        cel_value: "'\"' + self.image + '\"'",
        allowed: "an image with a tag or a digest, such as granary:0.1.0",
        cel_old: None,
        holds: |subject| is_image(&subject.spec.image),
        value: |spec| format!("\"{}\"", spec.image),
    },
    Rule {
        at: At::Spec,
        field: "spec.storage.size",
        cel: "self.storage.size.matches('^[1-9][0-9]{0,11}(k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$')",
        cel_value: "'\"' + self.storage.size + '\"'",
        allowed: "a whole number of bytes with an optional unit, such as 10Gi",
        cel_old: None,
        holds: |subject| is_size(&subject.spec.storage.size),
        value: |spec| format!("\"{}\"", spec.storage.size),
    },
    Rule {
        at: At::Spec,
        field: "spec.storage.className",
        cel: "has(self.storage.className) == has(oldSelf.storage.className) && \
              (!has(self.storage.className) || self.storage.className == oldSelf.storage.className)",
        cel_value: "(has(self.storage.className) ? '\"' + self.storage.className + '\"' : 'unset')",
        allowed: "its value at creation, ",
        cel_old: Some("(has(oldSelf.storage.className) ? '\"' + oldSelf.storage.className + '\"' : 'unset')"),
        holds: |subject| unchanged(subject, |spec| &spec.storage.class_name),
        value: |spec| spec.storage.class_name.as_ref().map_or("unset".into(), |name| format!("\"{name}\"")),
    },
    Rule {
        at: At::Spec,
        field: "spec.failover.replaceAfter",
        cel: "self.failover.replaceAfter.matches('^(Never|[1-9][0-9]{0,5}[smh])$')",
        cel_value: "'\"' + self.failover.replaceAfter + '\"'",
        allowed: "Never, or a whole number with s, m or h, such as 5m",
        cel_old: None,
        holds: |subject| parse_replace_after(&subject.spec.failover.replace_after).is_some(),
        value: |spec| format!("\"{}\"", spec.failover.replace_after),
    },
];

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
    RULES.iter().filter(|rule| !(rule.holds)(subject)).map(|rule| error(rule, subject)).collect()
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

fn is_name(name: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    name.len() <= LONGEST_NAME
        && name.bytes().all(inner)
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && !name.ends_with('-')
}

fn is_image(image: &str) -> bool {
    !image.contains(' ')
        && image.match_indices([':', '@']).any(|(at, _)| {
            let (path, version) = (&image[..at], &image[at + 1..]);
            !path.is_empty() && !path.ends_with(['/', ':', '@']) && !version.is_empty() && !version.contains('/')
        })
}

fn is_size(size: &str) -> bool {
    let digits = size.bytes().take_while(u8::is_ascii_digit).count();
    let units = ["", "k", "M", "G", "T", "P", "Ki", "Mi", "Gi", "Ti", "Pi"];
    (1..=12).contains(&digits) && !size.starts_with('0') && units.contains(&&size[digits..])
}
