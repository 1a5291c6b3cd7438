//! Rules of the disks.

use super::{At, Rule, Subject, quoted, unchanged};
use crate::{
    quantity::Quantity,
    spec::StorageClusterSpec,
    syntax::{is_size, is_subdomain},
};

fn size(spec: &StorageClusterSpec) -> Option<Quantity> {
    Some(&spec.storage.size).filter(|size| is_size(size)).and_then(|size| Quantity::parse(size))
}

/// What is no size is another rule's concern.
fn in_range(subject: &Subject<'_>) -> bool {
    size(subject.spec).is_none_or(|size| Quantity::parse("64Mi") <= Some(size) && Some(size) <= Quantity::parse("1Pi"))
}

fn not_shrunk(subject: &Subject<'_>) -> bool {
    let sizes = size(subject.spec).zip(subject.old.and_then(size));
    sizes.is_none_or(|(new, old)| new >= old)
}

fn class(spec: &StorageClusterSpec) -> String {
    spec.storage.class_name.as_deref().map_or("unset".into(), quoted)
}

pub(super) const RULES: &[Rule] = &[
    Rule {
        at: At::Spec,
        field: "spec.storage.size",
        cel: "self.storage.size.matches('^[1-9][0-9]{0,11}(k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$')",
        shown: "\"%s\"",
        cel_values: "self.storage.size",
        allowed: "a whole number of bytes with an optional unit, such as 10Gi",
        cel_old: None,
        holds: |subject| is_size(&subject.spec.storage.size),
        value: |spec| quoted(&spec.storage.size),
    },
    Rule {
        at: At::Spec,
        field: "spec.storage.size",
        cel: "!isQuantity(self.storage.size) || (quantity(self.storage.size).compareTo(quantity('64Mi')) >= 0 && \
              quantity(self.storage.size).compareTo(quantity('1Pi')) <= 0)",
        shown: "\"%s\"",
        cel_values: "self.storage.size",
        allowed: "64Mi to 1Pi",
        cel_old: None,
        holds: in_range,
        value: |spec| quoted(&spec.storage.size),
    },
    Rule {
        at: At::Spec,
        field: "spec.storage.size",
        cel: "!isQuantity(self.storage.size) || !isQuantity(oldSelf.storage.size) || \
              quantity(self.storage.size).compareTo(quantity(oldSelf.storage.size)) >= 0",
        shown: "\"%s\"",
        cel_values: "self.storage.size",
        allowed: "its old value or more, since disks only grow: ",
        cel_old: Some("oldSelf.storage.size"),
        holds: not_shrunk,
        value: |spec| quoted(&spec.storage.size),
    },
    Rule {
        at: At::Spec,
        field: "spec.storage.className",
        cel: "!has(self.storage.className) || self.storage.className.matches(\
              '^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')",
        shown: "\"%s\"",
        cel_values: "self.storage.className",
        allowed: "the name of a storage class (a-z, 0-9, - and dots); left out: the default class",
        cel_old: None,
        holds: |subject| subject.spec.storage.class_name.as_deref().is_none_or(is_subdomain),
        value: class,
    },
    Rule {
        at: At::Spec,
        field: "spec.storage.className",
        cel: "has(self.storage.className) == has(oldSelf.storage.className) && \
              (!has(self.storage.className) || self.storage.className == oldSelf.storage.className)",
        shown: "%s",
        cel_values: "has(self.storage.className) ? '\"%s\"'.format([self.storage.className]) : 'unset'",
        allowed: "its value at creation, ",
        cel_old: Some("has(oldSelf.storage.className) ? '\"%s\"'.format([oldSelf.storage.className]) : 'unset'"),
        holds: |subject| unchanged(subject, |spec| &spec.storage.class_name),
        value: class,
    },
];
