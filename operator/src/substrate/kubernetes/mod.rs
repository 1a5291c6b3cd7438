//! Kubernetes as a substrate: each place is a claim and a StatefulSet of one pod. Knows neither shards nor plans.

pub mod names;
