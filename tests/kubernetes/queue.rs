//! Which lane plays which scenario: the one that makes its file first. Lanes are processes of their own, so nothing else is
//! shared.

use std::{
    fs::{self, File},
    io,
};

use crate::report;

fn folder() -> std::path::PathBuf {
    report::folder().join("lanes").join("taken")
}

/// Forgets what earlier runs took.
pub fn open() -> io::Result<()> {
    match fs::remove_dir_all(folder()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::create_dir_all(folder())
}

/// Takes a scenario, unless another lane has.
pub fn take(scenario: &str) -> io::Result<bool> {
    match File::create_new(folder().join(scenario)) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}
