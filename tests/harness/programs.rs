//! Where the built programs are.

use std::path::PathBuf;

use crate::{HarnessError, Result};

/// The folder that holds the built programs: that of this executable, or the one above for a test.
pub fn folder() -> Result<PathBuf> {
    let own = std::env::current_exe().map_err(|error| HarnessError::because("finding this program", error))?;
    let folder = own.parent().map(PathBuf::from).unwrap_or_default();
    if folder.ends_with("deps") { Ok(folder.parent().map(PathBuf::from).unwrap_or_default()) } else { Ok(folder) }
}

/// Path of a built program.
pub fn path(name: &str) -> Result<PathBuf> {
    let path = folder()?.join(name);
    if path.is_file() {
        Ok(path)
    } else {
        Err(HarnessError(format!("{} is not built: run `make build` first", path.display())))
    }
}
