//! A node's data directory: locked for one process, and either blank or that of one member of one cluster.
//!
//! | name | content |
//! |---|---|
//! | `LOCK` | locked exclusively as long as the process lives; holds its process id as a hint |
//! | `blank-uuid` | the random uuid that the node made on its empty disk |
//! | `incarnation` | number of starts, raised and synced at each |
//! | `identity` | cluster, node id and uuid; written last at joining |
//! | `joining` | there while a blank node becomes a member: the stores are half made and may be wiped |
//! | `raft-synced`, `raft-lost` | how far `raft/` was synced; there when it is known to have lost some of that |
//! | `raft/`, `data/` | the two stores, each with the identity inside |
//! | `staging/` | snapshots on their way in or out; emptied at start |
//! | `damage` | there when a part of `data/` was found damaged: the next start makes it anew |
//! | `data-new/`, `damaged-N/` | `data/` while it is made anew; the old one, until all replicas are whole again |
//!
//! What does not fit together is refused by name, never repaired and never guessed (HAZARDS H1, H37). Only `data/` is made
//! anew where it is damaged: what it holds is with the other replicas too, and votes are not in it.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use granary_proto::{map::ClusterMap, storage::Identity};
use prost::Message as _;

use crate::{
    DataStore, EngineError, EngineOptions, FileError, LogBatch, RaftStore, Remade, damage,
    files::{self, Seal, SealError},
    identity,
    remake::{self, Kept, RemakeError},
    snapshot::StagingArea,
};

const IDENTITY: Seal = Seal { magic: *b"GRANIDEN", format: 1 };
const INCARNATION: Seal = Seal { magic: *b"GRANINCA", format: 1 };
const BLANK_UUID: Seal = Seal { magic: *b"GRANUUID", format: 1 };
const JOINING: Seal = Seal { magic: *b"GRANJOIN", format: 1 };

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// Another process has it.
    #[error("{} is in use by another process{}", path.display(), holder.as_deref().map(|id| format!(" ({id})")).unwrap_or_default())]
    InUse {
        /// The directory.
        path: PathBuf,
        /// The other process's id, where it is known.
        holder: Option<String>,
    },
    /// The file system failed.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file is torn or was edited.
    #[error("{} is torn or was edited: {why}", path.display())]
    Torn {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A file of another format: a newer one, or one from before the first release.
    #[error("{} has format {found}, this build knows {known}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The only format allowed.
        known: u32,
    },
    /// A part of a member's directory is gone.
    #[error("{} is missing, but {} is there: part of the directory was lost or removed", missing.display(), present.display())]
    Missing {
        /// What is gone.
        missing: PathBuf,
        /// What says that it must be there.
        present: PathBuf,
    },
    /// A part of the directory is from an earlier time than the others.
    #[error(
        "{}: raft/ was last used by start {noted} of this node, and incarnation says {counted}: one of them is from an \
         older copy of this disk; put the newer one back, or give the node an empty disk",
        path.display()
    )]
    OlderCopy {
        /// The data directory.
        path: PathBuf,
        /// In `raft/`.
        noted: u64,
        /// In the file `incarnation`.
        counted: u64,
    },
    /// A store does not open, or belongs to someone else.
    #[error("in {}: {source}", path.display())]
    Store {
        /// The data directory.
        path: PathBuf,
        /// What is wrong with the store.
        source: EngineError,
    },
    /// The identity is not one that this disk can take.
    #[error("{}: identity: {why}", path.display())]
    Identity {
        /// The data directory.
        path: PathBuf,
        /// Field, value, and what is allowed.
        why: String,
    },
}

impl From<SealError> for DiskError {
    fn from(error: SealError) -> Self {
        match error {
            SealError::File(error) => Self::File(error),
            SealError::Torn { path, why } => Self::Torn { path, why: why.into() },
            SealError::Format { path, found, known } => Self::Format { path, found, known },
        }
    }
}

/// What a member has: both stores, open, and whose they are.
#[derive(Clone)]
pub struct Stores {
    /// Which node of which cluster this disk is.
    pub identity: Identity,
    /// `raft/`.
    pub raft: Arc<RaftStore>,
    /// `data/`.
    pub data: Arc<DataStore>,
    /// `staging/`.
    pub staging: Arc<StagingArea>,
}

impl DiskError {
    /// Whether there was no room: another try may do better once there is more.
    pub fn is_lack_of_room(&self) -> bool {
        is_lack_of_room(&self.to_string())
    }

    /// Whether a store is still held by a process that has given the directory up and is on its way out: the locks of one
    /// that ends go one by one. Another try may do better in a moment.
    pub fn is_store_held(&self) -> bool {
        // RocksDB gives texts only: of another process, of this one.
        let text = self.to_string();
        ["While lock file", "lock hold by current process"].iter().any(|cause| text.contains(cause))
    }

    /// Whether a newer program made what this one found.
    pub fn is_of_newer_program(&self) -> bool {
        match self {
            Self::Format { found, known, .. } => found > known,
            Self::Store { source, .. } => matches!(source, EngineError::Unknown { .. }),
            _ => false,
        }
    }
}

/// The right to use a data directory, for as long as it is kept or the process lives.
pub struct DiskLock {
    path: PathBuf,
    _file: File,
}

impl DiskLock {
    /// Takes the directory, and makes it when it is not there. Never waits.
    ///
    /// # Errors
    /// [`DiskError::InUse`] while another process has it.
    pub fn take(path: &Path) -> Result<Self, DiskError> {
        files::create_directories(path)?;
        Ok(Self { path: path.to_owned(), _file: lock(path)? })
    }
}

/// An open data directory. Keep it as long as the stores are used: with it goes the lock.
pub struct Disk {
    path: PathBuf,
    options: EngineOptions,
    uuid: String,
    incarnation: u64,
    stores: Option<Stores>,
    remade: Option<Remade>,
    _lock: Arc<DiskLock>,
}

impl Disk {
    /// Locks and opens the directory.
    pub fn open(path: &Path, options: EngineOptions) -> Result<Self, DiskError> {
        Self::open_locked(Arc::new(DiskLock::take(path)?), options)
    }

    /// Opens a directory that is this process's already, and raises the incarnation. The node is blank afterwards
    /// ([`Disk::stores`] is `None`) or the member that it was.
    pub fn open_locked(lock: Arc<DiskLock>, options: EngineOptions) -> Result<Self, DiskError> {
        let path = &*lock.path;
        let at = Layout { root: path };
        let identity = match IDENTITY.read(&at.identity())? {
            Some(bytes) => Some(decode_identity(&at, &bytes)?),
            None => None,
        };
        if identity.is_none() {
            clear_half_joined(&at)?;
        }
        let uuid = uuid(&at, identity.as_ref())?;
        let opened = identity.map(|identity| open_stores(&at, identity, &options)).transpose()?;
        let (stores, remade) = opened.map_or((None, None), |(stores, remade)| (Some(stores), remade));
        // Behind the checks above: a directory that is refused stays as it is.
        files::remove_tree(&at.staging())?;
        files::create_directories(&at.staging())?;
        if stores.is_some() {
            files::remove_file(&at.joining())?;
        }
        let incarnation = raise_incarnation(&at, stores.as_ref())?;
        Ok(Self { path: path.to_owned(), options, uuid, incarnation, stores, remade, _lock: lock })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The random uuid (text) that the node made on its empty disk; the same after every restart.
    pub fn uuid(&self) -> &str {
        &self.uuid
    }

    /// Number of this start, from 1 up.
    pub fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// The member's stores; `None` while the node is blank.
    pub fn stores(&self) -> Option<&Stores> {
        self.stores.as_ref()
    }

    /// What became of `data/` when this start found it noted as damaged.
    pub fn remade(&self) -> Option<&Remade> {
        self.remade.as_ref()
    }

    /// Makes a blank node a member, durably: when it returns, the identity is in the file and in both stores. A crash
    /// before that leaves a blank node with the same uuid. Asked again with the same identity it changes nothing;
    /// another identity is refused.
    pub fn become_member(&mut self, identity: Identity) -> Result<&Stores, DiskError> {
        self.become_member_with(identity, None)
    }

    /// The same with the cluster map (encoded) that comes with the identity, as durable as that: a node that had lost it, and
    /// holds nothing that would bring it another one, would know nobody of its cluster.
    pub fn become_member_with(&mut self, identity: Identity, map: Option<Bytes>) -> Result<&Stores, DiskError> {
        let stores = match self.stores.take() {
            Some(stores) => stores,
            None => self.join(identity.clone(), map)?,
        };
        let stores = self.stores.insert(stores);
        if stores.identity != identity {
            let (is, asked) = (identity::describe(&stores.identity), identity::describe(&identity));
            return Err(DiskError::Identity {
                path: self.path.clone(),
                why: format!("is {is}, cannot become {asked}"),
            });
        }
        Ok(stores)
    }

    fn join(&self, identity: Identity, map: Option<Bytes>) -> Result<Stores, DiskError> {
        let at = Layout { root: &self.path };
        if let Some(why) = identity::problem(&identity, &self.uuid) {
            return Err(DiskError::Identity { path: self.path.clone(), why });
        }
        clear_half_joined(&at)?;
        let encoded = identity.encode_to_vec();
        JOINING.write(&at.joining(), &encoded)?;
        let store = |source| DiskError::Store { path: self.path.clone(), source };
        files::create_directories(&at.raft())?;
        let raft = RaftStore::create(&at.raft(), &identity, &self.options).map_err(store)?;
        raft.note_start(self.incarnation).map_err(store)?;
        if let Some(map) = map {
            let mut batch = LogBatch::new();
            batch.put_map(map);
            batch.require_sync();
            raft.write(batch).map_err(store)?;
        }
        files::create_directories(&at.data())?;
        let data = DataStore::create(&at.data(), &identity, &self.options).map_err(store)?;
        // RocksDB does not sync the directory that names its own (HAZARDS H37).
        for directory in [at.raft(), at.data(), self.path.clone()] {
            files::sync_directory(&directory)?;
        }
        IDENTITY.write(&at.identity(), &encoded)?;
        files::remove_file(&at.joining())?;
        Ok(Stores::new(&at, identity, raft, data))
    }
}

impl Stores {
    fn new(at: &Layout<'_>, identity: Identity, raft: RaftStore, data: DataStore) -> Self {
        let staging = Arc::new(StagingArea::new(at.staging(), identity.cluster_id.clone()));
        Self { identity, raft: Arc::new(raft), data: Arc::new(data), staging }
    }
}

/// Names in the directory.
struct Layout<'a> {
    root: &'a Path,
}

impl Layout<'_> {
    fn identity(&self) -> PathBuf {
        self.root.join("identity")
    }
    fn incarnation(&self) -> PathBuf {
        self.root.join("incarnation")
    }
    fn blank_uuid(&self) -> PathBuf {
        self.root.join("blank-uuid")
    }
    fn joining(&self) -> PathBuf {
        self.root.join("joining")
    }
    fn raft(&self) -> PathBuf {
        self.root.join("raft")
    }
    fn data(&self) -> PathBuf {
        self.root.join("data")
    }
    fn staging(&self) -> PathBuf {
        self.root.join("staging")
    }
}

fn lock(root: &Path) -> Result<File, DiskError> {
    let path = root.join("LOCK");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(FileError::at("open", &path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // A hint only: it may be empty while the other process starts.
            let known = file.read_to_string(&mut holder).is_ok() && !holder.is_empty();
            return Err(DiskError::InUse { path: root.to_owned(), holder: known.then_some(holder) });
        }
        Err(TryLockError::Error(error)) => return Err(FileError::at("lock", &path)(error).into()),
    }
    file.set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| write!(file, "process {}", std::process::id()))
        .map_err(FileError::at("write", &path))?;
    Ok(file)
}

/// Wipes the stores that a joining left half made; refuses stores that nothing explains.
fn clear_half_joined(at: &Layout<'_>) -> Result<(), DiskError> {
    if at.joining().exists() {
        files::remove_tree(&at.raft())?;
        files::remove_tree(&at.data())?;
        files::remove_file(&at.joining())?;
        return Ok(());
    }
    for present in [at.raft(), at.data()] {
        if present.exists() {
            return Err(DiskError::Missing { missing: at.identity(), present });
        }
    }
    Ok(())
}

/// The disk's uuid: the one in its file, which a member's identity must name too; made when the disk is empty.
fn uuid(at: &Layout<'_>, identity: Option<&Identity>) -> Result<String, DiskError> {
    let path = at.blank_uuid();
    let Some(bytes) = BLANK_UUID.read(&path)? else {
        for present in [at.identity(), at.incarnation()] {
            if present.exists() {
                return Err(DiskError::Missing { missing: path, present });
            }
        }
        let made = uuid::Uuid::new_v4().to_string();
        BLANK_UUID.write(&path, made.as_bytes())?;
        return Ok(made);
    };
    let uuid = String::from_utf8(bytes).map_err(|_| DiskError::Torn { path, why: "it is not text".into() })?;
    match identity.and_then(|identity| identity::problem(identity, &uuid)) {
        Some(why) => Err(DiskError::Identity { path: at.root.to_owned(), why }),
        None => Ok(uuid),
    }
}

fn decode_identity(at: &Layout<'_>, bytes: &[u8]) -> Result<Identity, DiskError> {
    let path = at.identity();
    let identity =
        Identity::decode(bytes).map_err(|error| DiskError::Torn { path: path.clone(), why: error.to_string() })?;
    if identity.format != identity::IDENTITY_FORMAT {
        return Err(DiskError::Format { path, found: identity.format, known: identity::IDENTITY_FORMAT });
    }
    Ok(identity)
}

fn open_stores(
    at: &Layout<'_>,
    identity: Identity,
    options: &EngineOptions,
) -> Result<(Stores, Option<Remade>), DiskError> {
    remake::finish_swap(&at.data())?;
    for missing in [at.raft(), at.data(), at.incarnation()] {
        if !missing.exists() {
            return Err(DiskError::Missing { missing, present: at.identity() });
        }
    }
    let store = |source| DiskError::Store { path: at.root.to_owned(), source };
    let raft = RaftStore::open(&at.raft(), &identity, options).map_err(store)?;
    let (data, remade) = open_data(at, (&identity, &raft), options)?;
    Ok((Stores::new(at, identity, raft, data), remade))
}

/// Whether these words say that there was no room. RocksDB gives texts only.
pub(crate) fn is_lack_of_room(words: &str) -> bool {
    ["No space left on device", "Disk quota exceeded"].iter().any(|cause| words.contains(cause))
}

/// Whether the cluster is known to keep more than one copy of each shard: by the last map that was kept here.
fn keeps_copies(raft: &RaftStore) -> bool {
    let map = raft.recover().ok().and_then(|recovered| recovered.map);
    map.and_then(|map| ClusterMap::decode(map).ok()).is_some_and(|map| map.replication_factor > 1)
}

/// Opens `data/`; one that is damaged is made anew first, if that takes no last copy away.
fn open_data(
    at: &Layout<'_>,
    (identity, raft): (&Identity, &RaftStore),
    options: &EngineOptions,
) -> Result<(DataStore, Option<Remade>), DiskError> {
    let store = |source| DiskError::Store { path: at.root.to_owned(), source };
    let remake = || {
        remake::remake(&at.data(), &at.staging(), (identity, &|| keeps_copies(raft)), options).map_err(|error| {
            match error {
                RemakeError::File(error) => DiskError::File(error),
                RemakeError::Engine(error) => store(error),
            }
        })
    };
    let mut remade = remake()?;
    let opened = match &remade {
        Some(Err(_)) => DataStore::open_at_rest(&at.data(), identity, options),
        Some(Ok(_)) | None => DataStore::open(&at.data(), identity, options),
    };
    let data = match opened {
        // Only what RocksDB itself calls so: an identity that does not fit is no damage.
        Err(EngineError::RocksDb { message, .. }) if remade.is_none() && damage::is_wrong(&message) => {
            damage::Damage::of(&at.data()).remember(&message);
            remade = remake()?;
            match &remade {
                Some(Err(_)) => DataStore::open_at_rest(&at.data(), identity, options),
                Some(Ok(_)) | None => DataStore::open(&at.data(), identity, options),
            }
            .map_err(store)?
        }
        opened => opened.map_err(store)?,
    };
    if let Some(Err(Kept { why })) = &remade {
        data.remember_damage(why);
    }
    Ok((data, remade.and_then(Result::ok)))
}

/// Noted in `raft/` first: after a crash in between, `raft/` is one ahead of the file.
fn raise_incarnation(at: &Layout<'_>, member: Option<&Stores>) -> Result<u64, DiskError> {
    let path = at.incarnation();
    let before = match INCARNATION.read(&path)? {
        Some(bytes) => {
            let bytes = bytes
                .try_into()
                .map_err(|_| DiskError::Torn { path: path.clone(), why: "it is not 8 bytes".into() })?;
            u64::from_le_bytes(bytes)
        }
        None if member.is_some() => return Err(DiskError::Missing { missing: path, present: at.identity() }),
        None => 0,
    };
    if let Some(stores) = member {
        let store = |source| DiskError::Store { path: at.root.to_owned(), source };
        match stores.raft.last_start().map_err(store)? {
            Some(noted) if noted != before && noted != before + 1 => {
                return Err(DiskError::OlderCopy { path: at.root.to_owned(), noted, counted: before });
            }
            _ => stores.raft.note_start(before + 1).map_err(store)?,
        }
    }
    INCARNATION.write(&path, &(before + 1).to_le_bytes())?;
    Ok(before + 1)
}
