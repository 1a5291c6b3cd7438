//! Writes the CustomResourceDefinition: `cargo run -p granary-crds --bin crdgen`, from anywhere.

use std::{error::Error, fs, path::Path};

fn main() -> Result<(), Box<dyn Error>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("crds/storagecluster.yaml");
    fs::write(&path, granary_crds::definition_yaml()?)?;
    println!("wrote {}", path.display());
    Ok(())
}
