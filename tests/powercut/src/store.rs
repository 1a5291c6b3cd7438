//! The backing directory: what is durable, as ordinary files.
//!
//! | name | content |
//! |---|---|
//! | `LOCK` | locked as long as a mount or a tool works on the directory |
//! | `names` | the durable names: `model/names_log.rs` |
//! | `objects/ID` | durable bytes of a file; none: it is empty |
//!
//! "Durable" is against the cuts of this crate. Against a failure of the machine under the test it is so only with
//! `real_sync`.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};

use crate::model::{
    names_log::{BadLine, decode, encode},
    pending::{FileOp, Flush},
    tree::{Change, Id, ROOT, Tree},
};

/// The backing directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another mount or tool works on it.
    #[error("{0} is in use by another mount")]
    InUse(PathBuf),
    /// It does not hold what it should.
    #[error("{path}: {source}")]
    Names {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: BadLine,
    },
    /// The file system under it fails.
    #[error("{path}: {source}")]
    Io {
        /// Where.
        path: PathBuf,
        /// How.
        source: io::Error,
    },
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> StoreError + use<> {
    let path = path.to_owned();
    move |source| StoreError::Io { path, source }
}

/// A backing directory, locked.
#[derive(Debug)]
pub struct Store {
    objects: PathBuf,
    names: File,
    _lock: File,
}

impl Store {
    /// Opens a backing directory, or makes one, and gives its names. Objects that no path leads to are removed.
    ///
    /// # Errors
    /// It is in use, not understood, or the file system under it fails.
    pub fn open(dir: &Path) -> Result<(Self, Tree), StoreError> {
        let objects = dir.join("objects");
        fs::create_dir_all(&objects).map_err(at(&objects))?;
        let lock_path = dir.join("LOCK");
        let lock =
            OpenOptions::new().create(true).truncate(false).write(true).open(&lock_path).map_err(at(&lock_path))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|_| StoreError::InUse(dir.to_owned()))?;

        let path = dir.join("names");
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            read => read.map_err(at(&path))?,
        };
        let mut tree = Tree::default();
        for change in decode(&text).map_err(|source| StoreError::Names { path: path.clone(), source })? {
            tree.apply(&change);
        }
        let tree = tree.reachable();

        let new = dir.join("names.new");
        fs::write(&new, encode(&tree.as_changes())).map_err(at(&new))?;
        fs::rename(&new, &path).map_err(at(&path))?;
        let names = OpenOptions::new().append(true).open(&path).map_err(at(&path))?;
        let store = Self { objects, names, _lock: lock };
        for id in store.ids()? {
            if tree.links(id) == 0 {
                let object = store.object(id);
                fs::remove_file(&object).map_err(at(&object))?;
            }
        }
        Ok((store, tree))
    }

    fn ids(&self) -> Result<Vec<Id>, StoreError> {
        let listed = fs::read_dir(&self.objects).map_err(at(&self.objects))?;
        Ok(listed.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect())
    }

    /// A number that nothing in the tree has, and none above it.
    pub fn next_id(tree: &Tree) -> Id {
        tree.walk().into_iter().map(|(_, _, entry)| entry.id).max().unwrap_or(ROOT) + 1
    }

    /// Where a file's durable bytes are.
    pub fn object(&self, id: Id) -> PathBuf {
        self.objects.join(id.to_string())
    }

    /// How many bytes of a file are durable.
    ///
    /// # Errors
    /// The file system under it fails.
    pub fn length(&self, id: Id) -> io::Result<u64> {
        match fs::metadata(self.object(id)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            metadata => metadata.map(|metadata| metadata.len()),
        }
    }

    /// Reads durable bytes of a file, as many as the buffer takes: they are there.
    ///
    /// # Errors
    /// The file system under it fails.
    pub fn read(&self, id: Id, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        if buffer.is_empty() { Ok(()) } else { File::open(self.object(id))?.read_exact_at(buffer, offset) }
    }

    fn open_object(&self, id: Id) -> io::Result<File> {
        OpenOptions::new().create(true).truncate(false).write(true).open(self.object(id))
    }

    /// Stores what a sync has to, and gives the file, for those who sync it in earnest.
    ///
    /// # Errors
    /// The file system under it fails.
    pub fn flush(&self, id: Id, stored: u64, flush: &Flush) -> io::Result<File> {
        let file = self.open_object(id)?;
        if flush.keep < stored {
            file.set_len(flush.keep)?;
        }
        let mut length = flush.keep;
        for (offset, data) in &flush.writes {
            file.write_all_at(data, *offset)?;
            length = length.max(offset + data.len() as u64);
        }
        if length != flush.length {
            file.set_len(flush.length)?;
        }
        Ok(file)
    }

    /// Does changes to the durable bytes of a file, in order.
    ///
    /// # Errors
    /// The file system under it fails.
    pub fn replay(&self, id: Id, steps: &[FileOp]) -> io::Result<()> {
        if steps.is_empty() {
            return Ok(());
        }
        let file = self.open_object(id)?;
        for step in steps {
            match step {
                FileOp::Write { offset, data } => file.write_all_at(data, *offset)?,
                FileOp::SetLen(length) => file.set_len(*length)?,
            }
        }
        Ok(())
    }

    /// Makes changes of names durable, all or none.
    ///
    /// # Errors
    /// The file system under it fails.
    pub fn commit<'a>(&mut self, changes: impl IntoIterator<Item = &'a Change>) -> io::Result<()> {
        self.names.write_all(encode(changes).as_bytes())
    }

    /// The file of the names, to sync it in earnest.
    ///
    /// # Errors
    /// The file system under it fails.
    pub fn names(&self) -> io::Result<File> {
        self.names.try_clone()
    }

    /// Removes a file's durable bytes.
    pub fn remove(&self, id: Id) {
        let _ = fs::remove_file(self.object(id));
    }

    /// Free and total bytes of the file system under it.
    pub fn space(&self) -> (u64, u64) {
        rustix::fs::statvfs(&self.objects).map_or((0, 0), |stat| {
            (stat.f_bavail.saturating_mul(stat.f_frsize), stat.f_blocks.saturating_mul(stat.f_frsize))
        })
    }
}
