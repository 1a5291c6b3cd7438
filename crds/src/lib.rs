//! The Kubernetes API types of Granary: [`StorageCluster`], its rules, and the YAML that is made from them.
//!
//! * [`spec`] and [`status`] are the types. * [`rules`] is the one table of what a spec may hold: the CEL rules of the
//!   CRD and [`validate`] are both made from it. * [`parse`] reads a file as local mode does. * [`definition`] makes the CRD. * [`pods`] is what a spec says of pods.
//!
//! It knows no cluster, no process and no network.

mod definition;
mod duration;
mod parse;
pub mod pods;
mod quantity;
mod rules;
mod schema;
pub mod spec;
pub mod status;
mod syntax;

pub use definition::{definition, definition_yaml};
pub use duration::{ReplaceAfter, parse_replace_after};
pub use parse::{ParseError, parse};
pub use quantity::Quantity;
pub use rules::{FieldError, validate, validate_cluster};
pub use spec::{StorageCluster, StorageClusterSpec};
pub use status::StorageClusterStatus;
