//! helm of the testbed, and where the charts are.

use std::path::Path;

use crate::{commands, failure::Result};

/// Runs helm, which has to work; gives its output.
pub async fn helm(arguments: &[&str]) -> Result<String> {
    commands::run("helm", arguments, "").await?.worked()
}

/// A file or folder of the repository.
pub fn repository(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."));
    root.join(path).to_string_lossy().into_owned()
}
