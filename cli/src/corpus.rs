//! What `load` stores and `verify` compares: the files below a directory, and the lines of files.

use std::{
    fs, io,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use granary_common::limits::{MAX_KEY, MAX_VALUE};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{failure::Failure, input};

/// Bytes of content held in memory at a time, whatever the number of requests in flight.
const MEMORY: usize = 64 * 1024 * 1024;
/// Unit of that bound.
const UNIT: usize = 1024;
/// Before the line in the key of each line.
const LINE_PREFIX: &str = "words/";

/// Where the keys come from.
#[derive(clap::Args, Clone, Debug)]
pub struct Source {
    /// Every regular file below this directory: the key is the path relative to it, the value is the content.
    /// Symbolic links are not followed
    #[arg(value_name = "DIR")]
    pub directory: Option<PathBuf>,
    /// Every line of this file as well: the key is words/LINE, the value is the line
    #[arg(long, value_name = "FILE")]
    pub lines: Vec<PathBuf>,
    /// Requests in flight
    #[arg(long, default_value_t = 256, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=16384))]
    pub in_flight: u16,
}

/// One key and where its value is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The key.
    pub key: Bytes,
    content: Content,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Content {
    File { path: PathBuf, size: u64 },
    Line(Bytes),
}

/// All keys, and what is not among them.
#[derive(Debug, Default)]
pub struct Corpus {
    /// In order of their paths, then of the lines.
    pub items: Vec<Item>,
    /// Files and lines beyond the limits of values and keys, with their sizes.
    pub too_large: Vec<String>,
    /// Files and directories that cannot be read, and why.
    pub unreadable: Vec<String>,
}

impl Corpus {
    /// Looks at all of `source`. Contents of files are not read yet. Fails if a file or directory that was named is
    /// not there.
    pub fn collect(source: &Source) -> Result<Self, Failure> {
        let mut corpus = Self::default();
        if source.directory.is_none() && source.lines.is_empty() {
            return Err(Failure::usage("nothing is named; allowed: a directory, or --lines FILE, or both"));
        }
        if let Some(root) = &source.directory {
            fs::read_dir(root).map_err(|error| Failure::failed(format!("cannot read {}: {error}", root.display())))?;
            corpus.walk(root);
        }
        for path in &source.lines {
            let failed = |error| Failure::failed(format!("cannot read {}: {error}", path.display()));
            if !fs::metadata(path).map_err(failed)?.is_file() {
                return Err(Failure::failed(format!("cannot read {}: it is not a regular file", path.display())));
            }
            let text = fs::read(path).map_err(failed)?;
            corpus.add_lines(&Bytes::from(text), path);
        }
        Ok(corpus)
    }

    fn walk(&mut self, root: &Path) {
        let mut ahead = vec![root.to_owned()];
        while let Some(path) = ahead.pop() {
            match fs::symlink_metadata(&path) {
                Ok(metadata) if metadata.is_dir() || path == root => match children(&path) {
                    Ok(children) => ahead.extend(children),
                    Err(error) => self.unreadable.push(format!("{}: {error}", path.display())),
                },
                Ok(metadata) if metadata.is_file() => self.add_file(root, path, metadata.len()),
                Ok(_) => {}
                Err(error) => self.unreadable.push(format!("{}: {error}", path.display())),
            }
        }
    }

    fn add_file(&mut self, root: &Path, path: PathBuf, size: u64) {
        let key = path.strip_prefix(root).unwrap_or(&path).as_os_str().as_bytes();
        if key.len() > MAX_KEY {
            self.too_large.push(format!(
                "{} (its name has {} bytes; allowed are {MAX_KEY})",
                path.display(),
                key.len()
            ));
        } else if size > MAX_VALUE as u64 {
            self.too_large.push(format!("{} ({size} bytes; allowed are {MAX_VALUE})", path.display()));
        } else {
            self.items.push(Item { key: Bytes::copy_from_slice(key), content: Content::File { path, size } });
        }
    }

    fn add_lines(&mut self, text: &Bytes, path: &Path) {
        for (number, line) in text.split(|&byte| byte == b'\n').enumerate().filter(|(_, line)| !line.is_empty()) {
            let key = [LINE_PREFIX.as_bytes(), line].concat();
            if key.len() > MAX_KEY {
                let text = format!("{}, line {} ({} bytes)", path.display(), number + 1, line.len());
                self.too_large.push(text);
            } else {
                self.items.push(Item { key: key.into(), content: Content::Line(text.slice_ref(line)) });
            }
        }
    }
}

/// Last first, so that a stack gives them in order.
fn children(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    paths.sort_unstable_by(|a, b| b.cmp(a));
    Ok(paths)
}

/// Bounds the contents in memory.
#[derive(Clone, Debug)]
pub struct Memory(Arc<Semaphore>);

impl Default for Memory {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MEMORY / UNIT)))
    }
}

impl Item {
    /// The value, and the room it takes in memory until the permit is dropped.
    pub async fn read(&self, memory: &Memory) -> Result<(Bytes, Option<OwnedSemaphorePermit>), String> {
        match &self.content {
            Content::Line(line) => Ok((line.clone(), None)),
            Content::File { path, size } => {
                let units = (*size as usize / UNIT + 1) as u32;
                let room = memory.0.clone().acquire_many_owned(units).await.ok();
                match input::content(path).await {
                    Ok(content) if content.len() > MAX_VALUE => {
                        Err(format!("{}: it had {size} bytes, and now has more than {MAX_VALUE}", path.display()))
                    }
                    Ok(content) => Ok((content.into(), room)),
                    Err(error) => Err(format!("{}: {error}", path.display())),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(directory: &Path) -> Source {
        Source { directory: Some(directory.to_owned()), lines: Vec::new(), in_flight: 1 }
    }

    fn keys(corpus: &Corpus) -> Vec<String> {
        corpus.items.iter().map(|item| String::from_utf8_lossy(&item.key).into_owned()).collect()
    }

    #[test]
    fn keys_are_relative_paths_in_order_and_large_files_are_named() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("b/c")).unwrap();
        fs::write(dir.path().join("b/c/two"), "2").unwrap();
        fs::write(dir.path().join("a"), vec![0; MAX_VALUE]).unwrap();
        fs::write(dir.path().join("big"), vec![0; MAX_VALUE + 1]).unwrap();
        std::os::unix::fs::symlink("a", dir.path().join("link")).unwrap();
        let corpus = Corpus::collect(&source(dir.path())).unwrap();
        assert_eq!(keys(&corpus), ["a", "b/c/two"]);
        assert_eq!(corpus.too_large.len(), 1);
        assert!(corpus.too_large[0].contains("big (4194305 bytes"), "{:?}", corpus.too_large);
        assert!(corpus.unreadable.is_empty());
    }

    #[test]
    fn each_line_that_is_not_empty_is_a_key() {
        let dir = tempfile::tempdir().unwrap();
        let lines = dir.path().join("lines");
        fs::write(&lines, format!("one\n\ntwo\n{}", "x".repeat(MAX_KEY))).unwrap();
        let corpus = Corpus::collect(&Source { directory: None, lines: vec![lines], in_flight: 1 }).unwrap();
        assert_eq!(keys(&corpus), ["words/one", "words/two"]);
        assert_eq!(corpus.too_large.len(), 1);
    }

    #[test]
    fn a_directory_that_is_not_there_is_named() {
        let failure = Corpus::collect(&source(Path::new("/nonexistent"))).unwrap_err();
        assert!(failure.message.contains("/nonexistent"), "{failure}");
    }
}
