//! Writes the CustomResourceDefinition, here and into the operator's chart: `cargo run -p granary-crds --bin crdgen`, from
//! anywhere.

use std::{error::Error, fs, path::Path};

const FILES: [&str; 2] = ["crds/storagecluster.yaml", "../charts/granary/files/storagecluster.yaml"];

fn main() -> Result<(), Box<dyn Error>> {
    let text = granary_crds::definition_yaml()?;
    for file in FILES {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        fs::write(&path, &text)?;
        println!("wrote {}", path.display());
    }
    Ok(())
}
