//! The claim of one place: the only object with data behind it.

use k8s_openapi::{
    api::core::v1::{PersistentVolumeClaim, PersistentVolumeClaimSpec, VolumeResourceRequirements},
    apimachinery::pkg::api::resource::Quantity,
};

use super::{Of, kept, names, of_place};

/// The claim of the place. It has no owner: nothing but an explicit step of the operator or a person deletes it.
pub fn claim(of: &Of<'_>, index: u32) -> PersistentVolumeClaim {
    let storage = &of.spec.storage;
    let size = [("storage".to_owned(), Quantity(storage.size.clone()))];
    PersistentVolumeClaim {
        metadata: of_place(kept(of, names::object(of.name, index)), index),
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
            volume_mode: Some("Filesystem".to_owned()),
            storage_class_name: storage.class_name.clone(),
            resources: Some(VolumeResourceRequirements { requests: Some(size.into()), limits: None }),
            ..PersistentVolumeClaimSpec::default()
        }),
        status: None,
    }
}
