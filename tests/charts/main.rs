//! The Helm charts: what they render, what they refuse, and that their generated files are fresh. Without a Kubernetes.
//!
//! Refresh what is generated or compared as a whole: `GRANARY_BLESS=1 cargo test --release --locked --workspace --test charts`.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod generated;
mod golden;
mod helm;
mod refused;
mod rights;
mod schema;

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A folder or file of the repository.
fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join(path)
}

/// Compares a committed file with what it should hold; with GRANARY_BLESS it is written first.
fn committed(path: &str, wanted: &str) {
    let file = repository(path);
    if std::env::var_os("GRANARY_BLESS").is_some() {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, wanted).unwrap();
    }
    let found = fs::read_to_string(&file).unwrap_or_default();
    if found != wanted {
        let line = 1 + found.lines().zip(wanted.lines()).take_while(|(found, wanted)| found == wanted).count();
        let (old, new) = (found.lines().nth(line - 1), wanted.lines().nth(line - 1));
        panic!("{path} is stale from line {line}: {old:?}, should be {new:?}; refresh it as the top of this file says");
    }
}
