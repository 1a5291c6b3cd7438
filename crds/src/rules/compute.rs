//! Rules of CPU and memory.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{At, Rule, entry};
use crate::{quantity::Quantity, spec::StorageClusterSpec};

type Quantities = BTreeMap<String, IntOrString>;

fn bad_quantity(quantities: &Quantities) -> Option<&str> {
    let good = |value| Quantity::of(value).is_some_and(|quantity| !quantity.is_negative());
    quantities.iter().find(|(_, value)| !good(value)).map(|(name, _)| name.as_str())
}

/// The resource whose request is above its limit; what is no quantity is another rule's concern.
fn above_limit(spec: &StorageClusterSpec) -> Option<&str> {
    let above = |name: &str, request| {
        let limit = spec.resources.limits.get(name).and_then(Quantity::of);
        Quantity::of(request).zip(limit).is_some_and(|(request, limit)| request > limit)
    };
    spec.resources.requests.iter().find(|(name, request)| above(name, request)).map(|(name, _)| name.as_str())
}

/// In CEL: a value is a number or a text; `quantity` reads only texts, so a number is added to nothing.
macro_rules! bad_in_cel {
    ($map:literal) => {
        concat!(
            "(type(",
            $map,
            "[k]) == int ? ",
            $map,
            "[k] < 0 : (!isQuantity(",
            $map,
            "[k]) || quantity(",
            $map,
            "[k]).compareTo(quantity('0')) < 0))"
        )
    };
}
macro_rules! above_in_cel {
    () => {
        "k in self.resources.limits && \
         (type(self.resources.requests[k]) == int || isQuantity(self.resources.requests[k])) && \
         (type(self.resources.limits[k]) == int || isQuantity(self.resources.limits[k])) && \
         (type(self.resources.requests[k]) == int ? quantity('0').add(self.resources.requests[k]) : \
         quantity(self.resources.requests[k])).compareTo(\
         type(self.resources.limits[k]) == int ? quantity('0').add(self.resources.limits[k]) : \
         quantity(self.resources.limits[k])) > 0"
    };
}

pub(super) const RULES: &[Rule] = &[
    Rule {
        at: At::Spec,
        field: "spec.resources.requests",
        cel: concat!(
            "!has(self.resources.requests) || !self.resources.requests.exists(k, ",
            bad_in_cel!("self.resources.requests"),
            ")"
        ),
        shown: "a map with a wrong value of \"%s\"",
        cel_values: concat!("self.resources.requests.filter(k, ", bad_in_cel!("self.resources.requests"), ")[0]"),
        allowed: "quantities of zero or more, such as 500m or 1Gi",
        cel_old: None,
        holds: |subject| bad_quantity(&subject.spec.resources.requests).is_none(),
        value: |spec| entry("a map with a wrong value of", bad_quantity(&spec.resources.requests)),
    },
    Rule {
        at: At::Spec,
        field: "spec.resources.limits",
        cel: concat!(
            "!has(self.resources.limits) || !self.resources.limits.exists(k, ",
            bad_in_cel!("self.resources.limits"),
            ")"
        ),
        shown: "a map with a wrong value of \"%s\"",
        cel_values: concat!("self.resources.limits.filter(k, ", bad_in_cel!("self.resources.limits"), ")[0]"),
        allowed: "quantities of zero or more, such as 500m or 1Gi",
        cel_old: None,
        holds: |subject| bad_quantity(&subject.spec.resources.limits).is_none(),
        value: |spec| entry("a map with a wrong value of", bad_quantity(&spec.resources.limits)),
    },
    Rule {
        at: At::Spec,
        field: "spec.resources.requests",
        cel: concat!(
            "!has(self.resources.requests) || !has(self.resources.limits) || !self.resources.requests.exists(k, ",
            above_in_cel!(),
            ")"
        ),
        shown: "a map with more than the limit of \"%s\"",
        cel_values: concat!("self.resources.requests.filter(k, ", above_in_cel!(), ")[0]"),
        allowed: "no more than spec.resources.limits says",
        cel_old: None,
        holds: |subject| above_limit(subject.spec).is_none(),
        value: |spec| entry("a map with more than the limit of", above_limit(spec)),
    },
];
