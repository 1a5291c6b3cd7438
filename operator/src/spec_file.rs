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
    /// Replication factor and shards of the cluster itself, once it told them.
    made_with: Option<(i32, i32)>,
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
        Ok(Self {
            path: path.to_owned(),
            good,
            made_with: None,
            generation: 1,
            seen: Some((modified, text)),
            error: None,
        })
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

    /// Edits are compared with what the cluster was made with from here on: when the file was wrong from the start,
    /// setting it right is no change of what is fixed.
    pub fn made_with(&mut self, replication_factor: u32, shards: u32) {
        let signed = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
        self.made_with = Some((signed(replication_factor), signed(shards)));
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
        let mut old = self.good.clone();
        if let Some((replication_factor, shards)) = self.made_with {
            (old.spec.replication_factor, old.spec.shards) = (replication_factor, shards);
        }
        let errors = validate_cluster(&next, Some(&old));
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

    #[test]
    fn a_file_that_was_wrong_from_the_start_may_be_set_to_what_the_cluster_was_made_with() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cluster.yaml");
        fs::write(&path, GOOD.replacen("shards: 64", "shards: 128", 1)).unwrap();
        let mut file = SpecFile::open(&path).unwrap();
        file.made_with(3, 64);
        fs::write(&path, GOOD.replacen("shards: 64", "shards: 256", 1)).unwrap();
        assert!(!file.refresh());
        assert!(file.error().unwrap().contains("its value at creation, 64"), "{:?}", file.error());
        fs::write(&path, GOOD).unwrap();
        assert!(file.refresh());
        assert_eq!((file.error(), file.cluster().spec.shards), (None, 64));
    }
}
