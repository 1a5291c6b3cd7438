//! Rules of the cluster itself: its name, its counts, its image.

use super::{At, Rule, entry, quoted, unchanged};
use crate::{
    duration::parse_replace_after,
    spec::StorageClusterSpec,
    syntax::{is_image, is_name, is_subdomain},
};

const MOST_REPLICAS: i32 = 100;
const MOST_SHARDS: i32 = 1024;

fn bad_secret(spec: &StorageClusterSpec) -> Option<&str> {
    spec.image_pull_secrets.iter().map(|secret| secret.name.as_str()).find(|name| !is_subdomain(name))
}

pub(super) const RULES: &[Rule] = &[
    Rule {
        at: At::Root,
        field: "metadata.name",
        cel: "self.metadata.name.matches('^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$')",
        shown: "%s",
        cel_values: "self.metadata.name",
        allowed: "a DNS label (a-z, 0-9, -) from a letter, at most 40 characters",
        cel_old: None,
        holds: |subject| subject.name.is_none_or(is_name),
        value: |_| String::new(),
    },
    Rule {
        at: At::Spec,
        field: "spec.replicas",
        cel: "self.replicas >= 1 && self.replicas <= 100",
        shown: "%s",
        cel_values: "self.replicas",
        allowed: "1 to 100",
        cel_old: None,
        holds: |subject| (1..=MOST_REPLICAS).contains(&subject.spec.replicas),
        value: |spec| spec.replicas.to_string(),
    },
    Rule {
        at: At::Spec,
        field: "spec.replicas",
        cel: "self.replicas >= self.replicationFactor",
        shown: "%s with spec.replicationFactor %s",
        cel_values: "self.replicas, self.replicationFactor",
        allowed: "spec.replicationFactor or more, since each copy of a shard needs a node of its own",
        cel_old: None,
        holds: |subject| subject.spec.replicas >= subject.spec.replication_factor,
        value: |spec| format!("{} with spec.replicationFactor {}", spec.replicas, spec.replication_factor),
    },
    Rule {
        at: At::Spec,
        field: "spec.replicationFactor",
        cel: "self.replicationFactor in [1, 3, 5]",
        shown: "%s",
        cel_values: "self.replicationFactor",
        allowed: "1, 3 or 5",
        cel_old: None,
        holds: |subject| [1, 3, 5].contains(&subject.spec.replication_factor),
        value: |spec| spec.replication_factor.to_string(),
    },
    Rule {
        at: At::Spec,
        field: "spec.replicationFactor",
        cel: "self.replicationFactor == oldSelf.replicationFactor",
        shown: "%s",
        cel_values: "self.replicationFactor",
        allowed: "its value at creation, ",
        cel_old: Some("oldSelf.replicationFactor"),
        holds: |subject| unchanged(subject, |spec| &spec.replication_factor),
        value: |spec| spec.replication_factor.to_string(),
    },
    Rule {
        at: At::Spec,
        field: "spec.shards",
        cel: "self.shards in [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024]",
        shown: "%s",
        cel_values: "self.shards",
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
        shown: "%s",
        cel_values: "self.shards",
        allowed: "its value at creation, ",
        cel_old: Some("oldSelf.shards"),
        holds: |subject| unchanged(subject, |spec| &spec.shards),
        value: |spec| spec.shards.to_string(),
    },
    Rule {
        at: At::Spec,
        field: "spec.image",
        cel: "self.image.matches('^([^ ]*[^ /:@])[:@][^ /]+$')",
        shown: "\"%s\"",
        cel_values: "self.image",
        allowed: "an image with a tag or a digest, such as granary:0.1.0",
        cel_old: None,
        holds: |subject| is_image(&subject.spec.image),
        value: |spec| quoted(&spec.image),
    },
    Rule {
        at: At::Spec,
        field: "spec.imagePullSecrets",
        cel: "!has(self.imagePullSecrets) || self.imagePullSecrets.all(s, \
              s.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$'))",
        shown: "a list with the name \"%s\"",
        cel_values: "self.imagePullSecrets.filter(s, \
                     !s.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$'))[0].name",
        allowed: "names of Secrets (a-z, 0-9, - and dots)",
        cel_old: None,
        holds: |subject| bad_secret(subject.spec).is_none(),
        value: |spec| entry("a list with the name", bad_secret(spec)),
    },
    Rule {
        at: At::Spec,
        field: "spec.failover.replaceAfter",
        cel: "self.failover.replaceAfter.matches('^(Never|[1-9][0-9]{0,5}[smh])$')",
        shown: "\"%s\"",
        cel_values: "self.failover.replaceAfter",
        allowed: "Never, or a whole number with s, m or h, such as 5m",
        cel_old: None,
        holds: |subject| parse_replace_after(&subject.spec.failover.replace_after).is_some(),
        value: |spec| quoted(&spec.failover.replace_after),
    },
];
