//! The YAML file that local mode follows: looked at often, read when it changed. An edit that is not valid keeps the last
//! good spec and is told until it is mended.

use std::{
    fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

use granary_crds::{ParseError, StorageCluster, parse, validate_cluster};
use thiserror::Error;

/// Longest file that is read, in bytes.
const MAX_BYTES: u64 = 1024 * 1024;

/// Why the file holds no spec that can be followed.
#[derive(Debug, Error)]
pub enum SpecError {
    /// It cannot be read.
    #[error("cannot read {path}: {message}")]
    Read {
        /// Its path.
        path: String,
        /// Why.
        message: String,
    },
    /// It is not valid.
    #[error("{path}: {source}")]
    Parse {
        /// Its path.
        path: String,
        /// What is wrong.
        source: ParseError,
    },
}

/// A file and the last good spec in it.
#[derive(Debug)]
pub struct SpecFile {
    path: PathBuf,
    good: StorageCluster,
    generation: u64,
    seen: Option<(SystemTime, String)>,
    error: Option<String>,
}

impl SpecFile {
    /// Reads the file for the first time.
    ///
    /// # Errors
    /// It cannot be read or is not valid.
    pub fn open(path: &Path) -> Result<Self, SpecError> {
        let (modified, text) = read(path)?;
        let good = parse_at(path, &text)?;
        Ok(Self { path: path.to_owned(), good, generation: 1, seen: Some((modified, text)), error: None })
    }

    /// The last good spec.
    pub fn cluster(&self) -> &StorageCluster {
        &self.good
    }

    /// Raised by one by each valid edit; from 1.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// What is wrong with the file now, if anything.
    pub fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// Looks at the file again. `true`: there is a new good spec.
    pub fn refresh(&mut self) -> bool {
        let (modified, text) = match read(&self.path) {
            Ok(read) => read,
            Err(error) => {
                self.error = Some(error.to_string());
                self.seen = None;
                return false;
            }
        };
        if self.seen.as_ref().is_some_and(|(at, content)| *at == modified && *content == text) {
            return false;
        }
        let parsed = parse_at(&self.path, &text).and_then(|next| self.as_change(next));
        self.seen = Some((modified, text));
        match parsed {
            Ok(next) => {
                self.error = None;
                let changed = next != self.good;
                if changed {
                    self.good = next;
                    self.generation += 1;
                }
                changed
            }
            Err(error) => {
                self.error = Some(error.to_string());
                false
            }
        }
    }

    fn as_change(&self, next: StorageCluster) -> Result<StorageCluster, SpecError> {
        let errors = validate_cluster(&next, Some(&self.good));
        if errors.is_empty() {
            return Ok(next);
        }
        Err(SpecError::Parse { path: self.path.display().to_string(), source: ParseError::Fields(errors) })
    }
}

fn read(path: &Path) -> Result<(SystemTime, String), SpecError> {
    let failed = |message: String| SpecError::Read { path: path.display().to_string(), message };
    let metadata = fs::metadata(path).map_err(|error| failed(error.to_string()))?;
    if metadata.len() > MAX_BYTES {
        return Err(failed(format!("it is {} bytes long, allowed: {MAX_BYTES}", metadata.len())));
    }
    let text = fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    let modified = metadata.modified().map_err(|error| failed(error.to_string()))?;
    Ok((modified, text))
}

fn parse_at(path: &Path, text: &str) -> Result<StorageCluster, SpecError> {
    parse(text).map_err(|source| SpecError::Parse { path: path.display().to_string(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = include_str!("../../examples/cluster.yaml");

    #[test]
    fn an_invalid_edit_keeps_the_last_good_spec_and_tells_until_it_is_mended() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cluster.yaml");
        fs::write(&path, GOOD).unwrap();
        let mut file = SpecFile::open(&path).unwrap();
        assert!(!file.refresh());

        fs::write(&path, GOOD.replacen("shards: 64", "shards: 128", 1)).unwrap();
        assert!(!file.refresh());
        assert!(file.error().unwrap().contains("spec.shards is 128"), "{:?}", file.error());
        assert_eq!((file.cluster().spec.shards, file.generation()), (64, 1));

        fs::remove_file(&path).unwrap();
        assert!(!file.refresh());
        assert!(file.error().unwrap().contains("cannot read"), "{:?}", file.error());

        fs::write(&path, GOOD.replacen("replicas: 3 ", "replicas: 5 ", 1)).unwrap();
        assert!(file.refresh());
        assert_eq!((file.error(), file.cluster().spec.replicas, file.generation()), (None, 5, 2));
    }
}
