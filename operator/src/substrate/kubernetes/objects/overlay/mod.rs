//! The user's `podTemplate` over the operator's: merged as `kubectl patch` does it (strategic merge: containers,
//! volumes, variables and mounts by their names, lists without a key as a whole), and refused where it changes what the
//! operator relies on.

mod fixed;
mod strict;

use granary_crds::pods::Overlay;
use k8s_openapi::{DeepMerge as _, api::core::v1::PodTemplateSpec};
use thiserror::Error;

pub use self::strict::typed;

/// Where the overlay stands in the spec.
const FIELD: &str = "spec.podTemplate";

/// Why no pod can be made from a spec. Each names the field, and is shown to the user as it is.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TemplateError {
    /// A key that no pod has, or that is newer than this operator.
    #[error("{field} is unknown, allowed: fields of a pod that this version of the operator knows")]
    Unknown {
        /// Its path.
        field: String,
    },
    /// A value of another type than the field's.
    #[error("{field} cannot be read: {problem}")]
    Malformed {
        /// Path of the whole object.
        field: String,
        /// What is wrong with it, and where.
        problem: String,
    },
    /// Something that is the operator's.
    #[error("{field} may not be changed or added: {instead}")]
    Fixed {
        /// Its path.
        field: String,
        /// Why, or where it is said instead.
        instead: String,
    },
}

/// The template with the overlay merged over it.
///
/// # Errors
/// When the overlay is none of a pod, or changes the operator's labels, annotations, image, command, variables, ports,
/// probes or disk.
pub fn merge(template: PodTemplateSpec, overlay: &Overlay) -> Result<PodTemplateSpec, TemplateError> {
    let overlay: PodTemplateSpec = typed(FIELD, overlay)?;
    let mut merged = template.clone();
    merged.merge_from(overlay);
    fixed::check(&template, &merged)?;
    Ok(merged)
}
