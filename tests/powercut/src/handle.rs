//! A mounted disk in the hands of a test.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    thread::{self, JoinHandle},
};

use fuser::{Config, INodeNo, Notifier, Session, SessionACL};
use parking_lot::Mutex;

use crate::{
    counts::Counts,
    disk::{CutReport, Damage, DamageError, Disk, Unsynced},
    fuse::Adapter,
    life::{self, Life},
    model::{
        after_cut::Tear,
        faults::{Fault, FaultId},
        glob::Glob,
        tree::Id,
    },
    mounting,
    rules::{Lie, Rules},
    store::{Store, StoreError},
};

/// How a disk is mounted.
#[derive(Debug, Clone)]
pub struct Options {
    /// Size of the disk in bytes; none: as much as there is under it.
    pub capacity: Option<u64>,
    /// Names and patterns of classes of paths, for counting; the first that matches counts.
    pub classes: Vec<(String, Glob)>,
    /// Threads that serve the kernel, at least 1.
    pub threads: usize,
    /// Most unsynced bytes in memory; with more, all are written back, as a kernel does when memory gets short.
    pub most_unsynced: u64,
    /// A sync also syncs the file under it: slower, and durable against a failure of this machine too.
    pub real_sync: bool,
    /// Seed of random delays.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        let most_unsynced = 256 << 20;
        Self { capacity: None, classes: Vec::new(), threads: 4, most_unsynced, real_sync: false, seed: 0 }
    }
}

/// A disk cannot be mounted, or not be asked.
#[derive(Debug, thiserror::Error)]
pub enum PowerCutError {
    /// The backing directory cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The kernel refuses.
    #[error("mounting at {path}: {source}")]
    Mount {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Its power is off.
    #[error("the disk at {0} is cut")]
    Cut(PathBuf),
    /// Its power is on.
    #[error("the disk at {0} is not cut")]
    NotCut(PathBuf),
    /// The file system under the disk failed in a cut or a sync.
    #[error("the file system under the disk failed, see the log")]
    Broken,
}

/// The file system: [`PowerCutFs::mount`] gives a [`Handle`].
#[derive(Debug)]
pub struct PowerCutFs;

impl PowerCutFs {
    /// Mounts the disk of a backing directory (made where there is none) at a directory (too), and serves it on threads
    /// of its own. Mounts that killed processes left behind are unmounted first.
    ///
    /// # Errors
    /// The backing directory is in use or not understood, or the kernel refuses.
    pub fn mount(backing: &Path, mountpoint: &Path, options: Options) -> Result<Handle, PowerCutError> {
        let failed = |source| PowerCutError::Mount { path: mountpoint.to_owned(), source };
        mounting::unmount_left_behind(Path::new("/")).map_err(failed)?;
        fs::create_dir_all(mountpoint).map_err(failed)?;
        let mountpoint = mountpoint.canonicalize().map_err(failed)?;
        let rules = Arc::new(Rules::new(&options.classes, options.capacity, options.seed));
        let mounted = Mounted::new(backing, &mountpoint, &rules, &options)?;
        Ok(Handle { backing: backing.to_owned(), mountpoint, options, rules, mounted: Mutex::new(mounted) })
    }
}

/// One life of the disk, and its mount.
struct Mounted {
    life: Arc<Life>,
    /// Gone after the cut: it would keep the connection to the kernel.
    notifier: Option<Notifier>,
    thread: Option<JoinHandle<()>>,
}

impl Mounted {
    fn new(backing: &Path, mountpoint: &Path, rules: &Arc<Rules>, options: &Options) -> Result<Self, PowerCutError> {
        let failed = |source| PowerCutError::Mount { path: mountpoint.to_owned(), source };
        let (store, tree) = Store::open(backing)?;
        let disk = Disk::new(store, tree, Arc::clone(rules), options.most_unsynced)?;
        let life = Life::new(disk, Arc::clone(rules)).map_err(failed)?;
        let mut config = Config::default();
        config.acl = SessionACL::All;
        config.n_threads = Some(options.threads.max(1));
        let device = mounting::attach(mountpoint).map_err(failed)?;
        let adapter = Adapter::new(Arc::clone(&life), options.real_sync);
        let session = Session::from_fd(adapter, device, SessionACL::All, config).and_then(|session| {
            let notifier = session.notifier();
            let serve = move || {
                if let Err(error) = session.run() {
                    tracing::error!(%error, "serving a mount ended");
                }
            };
            let thread = thread::Builder::new().name("powercut".into()).spawn(serve)?;
            Ok((notifier, thread))
        });
        match session {
            Ok((notifier, thread)) => Ok(Self { life, notifier: Some(notifier), thread: Some(thread) }),
            Err(error) => {
                let _ = mounting::end(mountpoint);
                Err(failed(error))
            }
        }
    }

    fn forget(&self, ids: &[Id]) {
        for id in ids {
            if let Some(notifier) = &self.notifier {
                let _ = notifier.inval_inode(INodeNo(*id), 0, 0);
            }
        }
    }
}

/// A mounted disk. When it is dropped, it is unmounted; what was not synced is then lost.
pub struct Handle {
    backing: PathBuf,
    mountpoint: PathBuf,
    options: Options,
    rules: Arc<Rules>,
    mounted: Mutex<Mounted>,
}

impl Handle {
    /// Where it is mounted.
    pub fn mountpoint(&self) -> &Path {
        &self.mountpoint
    }

    /// Where its durable bytes are.
    pub fn backing(&self) -> &Path {
        &self.backing
    }

    fn life(&self) -> Arc<Life> {
        Arc::clone(&self.mounted.lock().life)
    }

    fn ask<T>(&self, question: impl FnOnce(&Disk) -> T) -> Result<T, PowerCutError> {
        self.life().with(|disk| Ok(question(disk))).map_err(|_| PowerCutError::Cut(self.mountpoint.clone()))
    }

    /// Cuts the power. Every request gets EIO from now on, also those that wait, and also below a handle that was opened
    /// before: a process that goes on must not take its cached pages for the disk. [`Self::remount`] turns it on again.
    ///
    /// # Errors
    /// The file system under it failed.
    pub fn cut(&self, tear: Tear, seed: u64) -> Result<CutReport, PowerCutError> {
        Self::cut_all(&[self], tear, seed).map(|reports| reports.into_iter().next().unwrap_or_default())
    }

    /// Cuts the power of several disks at one moment; each is to be given once.
    ///
    /// # Errors
    /// The file system under one failed; all are cut nevertheless.
    pub fn cut_all(handles: &[&Self], tear: Tear, seed: u64) -> Result<Vec<CutReport>, PowerCutError> {
        let ids: Vec<_> = handles.iter().map(|handle| handle.ask(Disk::ids).unwrap_or_default()).collect();
        let lives: Vec<_> = handles.iter().map(|handle| handle.life()).collect();
        let reports = life::cut(&lives, tear, seed).map_err(|_| PowerCutError::Broken);
        for (handle, ids) in handles.iter().zip(ids) {
            let mut mounted = handle.mounted.lock();
            mounted.forget(&ids);
            mounted.notifier = None;
        }
        reports
    }

    /// Turns the power on after a cut: the mount of before is taken out of sight (handles in it get EIO for ever), and
    /// what survived is mounted in its place. Rules, size and counters stay. A process of before the cut must be gone: it
    /// would find the new mount by its path.
    ///
    /// # Errors
    /// It is not cut, or it cannot be mounted.
    pub fn remount(&self) -> Result<(), PowerCutError> {
        let mut mounted = self.mounted.lock();
        if mounted.life.with(|_| Ok(())).is_ok() {
            return Err(PowerCutError::NotCut(self.mountpoint.clone()));
        }
        let failed = |source| PowerCutError::Mount { path: self.mountpoint.clone(), source };
        if mounted.thread.take().is_some() {
            mounting::detach(&self.mountpoint).map_err(failed)?;
        }
        *mounted = Mounted::new(&self.backing, &self.mountpoint, &self.rules, &self.options)?;
        Ok(())
    }

    /// Writes everything back, as an unmount does, and unmounts. Handles that are open in it get errors.
    ///
    /// # Errors
    /// The file system under it failed, or the kernel refuses.
    pub fn unmount(self) -> Result<(), PowerCutError> {
        let written = self.life().with(|disk| {
            disk.write_back()?;
            disk.write_back_names()
        });
        self.end().map_err(|source| PowerCutError::Mount { path: self.mountpoint.clone(), source })?;
        written.map_err(|_| PowerCutError::Broken)
    }

    fn end(&self) -> io::Result<()> {
        let mut mounted = self.mounted.lock();
        drop(mounted.life.end());
        mounted.notifier = None;
        let Some(thread) = mounted.thread.take() else { return Ok(()) };
        mounting::end(&self.mountpoint)?;
        let _ = thread.join();
        Ok(())
    }

    /// Adds a rule that makes requests fail or wait.
    pub fn inject(&self, fault: Fault) -> FaultId {
        self.rules.faults.lock().add(fault)
    }

    /// How many requests a rule has hit.
    pub fn injected(&self, fault: FaultId) -> u64 {
        self.rules.faults.lock().done(fault)
    }

    /// Takes a rule away, lets go what it stalls, and tells how many requests it hit.
    pub fn withdraw(&self, fault: FaultId) -> u64 {
        self.life().withdraw(fault)
    }

    /// How many requests wait now.
    pub fn waiting(&self) -> usize {
        self.life().waiting()
    }

    /// Sets which syncs are lies.
    pub fn lie(&self, lie: Lie) {
        self.rules.set_lie(lie);
    }

    /// Sets the size of the disk in bytes, also to below what is used; none: as much as there is under it.
    pub fn set_capacity(&self, capacity: Option<u64>) {
        self.rules.set_capacity(capacity);
    }

    /// Bytes that files take.
    ///
    /// # Errors
    /// It is cut.
    pub fn used(&self) -> Result<u64, PowerCutError> {
        self.ask(Disk::used)
    }

    /// What is not synced now.
    ///
    /// # Errors
    /// It is cut.
    pub fn unsynced(&self) -> Result<Unsynced, PowerCutError> {
        self.ask(Disk::unsynced)
    }

    /// What was asked of it, by class.
    pub fn counts(&self) -> BTreeMap<String, Counts> {
        self.rules.classes.lock().all()
    }

    /// Makes the kernel forget the contents of all files: the next reads reach the disk, and its rules.
    ///
    /// # Errors
    /// It is cut.
    pub fn forget_caches(&self) -> Result<(), PowerCutError> {
        let ids = self.ask(Disk::ids)?;
        self.mounted.lock().forget(&ids);
        Ok(())
    }

    /// Flips a random bit of a random synced file that matches, under whoever uses it: what the kernel or a process has
    /// in a cache of its own for longer than this call is not concerned.
    ///
    /// # Errors
    /// It is cut, no file matches, or the file system under it fails.
    pub fn flip(&self, path: &Glob, seed: u64) -> Result<Damage, DamageError> {
        let damage = self.ask(|disk| disk.flip(path, seed)).map_err(|_| DamageError::Cut)??;
        self.mounted.lock().forget(&[damage.id]);
        Ok(damage)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            tracing::warn!(%error, "unmounting {}", self.mountpoint.display());
        }
    }
}
