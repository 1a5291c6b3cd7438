//! What the kernel asks, handed to the disk; and the disk's answers, handed to the kernel. No decision is made here.

use std::{
    collections::HashMap,
    ffi::{OsStr, OsString},
    fs::File,
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use fuser::{
    AccessFlags, BsdFileFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    InitFlags, KernelConfig, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory,
    ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow, WriteFlags,
};
use parking_lot::Mutex;
use rustix::io::Errno as Failure;

use crate::{
    disk::{Answer, Attributes, Disk},
    life::Life,
    model::{
        faults::Operation,
        space::BLOCK,
        tree::{Entry, Kind},
    },
};

/// How long the kernel may keep names and attributes: nobody else changes them, and each life is a mount of its own.
const CACHED: Duration = Duration::from_secs(3600);
/// Most requests that the kernel sends ahead of anybody's waiting, such as reading ahead.
const BACKGROUND: u16 = 64;

/// A mount's file system.
pub struct Adapter {
    life: Arc<Life>,
    real_sync: bool,
    /// Entries of open directories, as they were at the last rewind.
    listings: Mutex<HashMap<u64, Vec<(OsString, Entry)>>>,
    next_handle: AtomicU64,
}

impl Adapter {
    /// Serves this life. With `real_sync` a sync also syncs the file under it.
    pub fn new(life: Arc<Life>, real_sync: bool) -> Self {
        Self { life, real_sync, listings: Mutex::default(), next_handle: AtomicU64::new(1) }
    }

    fn entry(&self, reply: ReplyEntry, answer: Answer<Attributes>) {
        match answer {
            Ok(attributes) => reply.entry(&CACHED, &attr(attributes), Generation(0)),
            Err(failure) => reply.error(errno(failure)),
        }
    }

    fn sync(&self, operation: Operation, id: u64, reply: ReplyEmpty) {
        let real = self.real_sync;
        let answer = move |stored: Answer<Option<File>>| {
            let synced = stored.and_then(|file| match file.filter(|_| real) {
                Some(file) => file.sync_data().map_err(|_| Failure::IO),
                None => Ok(()),
            });
            empty(reply, synced);
        };
        if operation == Operation::Sync {
            self.life.serve(operation, id, move |disk| disk.sync(id), answer);
        } else {
            self.life.serve(operation, id, move |disk| disk.sync_directory(id), answer);
        }
    }
}

fn errno(failure: Failure) -> Errno {
    Errno::from_i32(failure.raw_os_error())
}

fn empty(reply: ReplyEmpty, answer: Answer<()>) {
    match answer {
        Ok(()) => reply.ok(),
        Err(failure) => reply.error(errno(failure)),
    }
}

fn file_type(kind: Kind) -> FileType {
    match kind {
        Kind::File => FileType::RegularFile,
        Kind::Directory => FileType::Directory,
    }
}

fn attr(of: Attributes) -> FileAttr {
    FileAttr {
        ino: INodeNo(of.id),
        size: of.length,
        blocks: of.takes / 512,
        atime: of.modified,
        mtime: of.modified,
        ctime: of.modified,
        crtime: of.modified,
        kind: file_type(of.kind),
        perm: of.mode,
        nlink: of.links,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: BLOCK as u32,
        flags: 0,
    }
}

/// Permission bits of what is made.
fn permissions(mode: u32, umask: u32) -> u16 {
    (mode & !umask & 0o7777) as u16
}

impl Filesystem for Adapter {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        let _ = config.set_max_background(BACKGROUND);
        let _ = config.add_capabilities(InitFlags::FUSE_PARALLEL_DIROPS);
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        self.entry(reply, self.life.with(|disk| disk.lookup(parent.0, name)));
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        answer_attr(reply, self.life.with(|disk| disk.attributes(ino.0)));
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let id = ino.0;
        let mode = mode.map(|mode| permissions(mode, 0));
        let modified = mtime.map(|time| match time {
            TimeOrNow::SpecificTime(time) => time,
            TimeOrNow::Now => SystemTime::now(),
        });
        match size {
            None => {
                let done = self.life.with(|disk| {
                    disk.set_attributes(id, mode, modified)?;
                    disk.attributes(id)
                });
                answer_attr(reply, done);
            }
            Some(size) => self.life.serve(
                Operation::Resize,
                id,
                move |disk| {
                    disk.set_length(id, size)?;
                    disk.set_attributes(id, mode, modified)?;
                    disk.attributes(id)
                },
                move |done| answer_attr(reply, done),
            ),
        }
    }

    fn mkdir(&self, _: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, reply: ReplyEntry) {
        let mode = permissions(mode, umask);
        self.entry(reply, self.life.with(|disk| disk.create(parent.0, name, Kind::Directory, mode)));
    }

    fn create(&self, _: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, _: i32, reply: ReplyCreate) {
        let made = self.life.with(|disk| {
            let made = disk.create(parent.0, name, Kind::File, permissions(mode, umask))?;
            disk.open(made.id)?;
            Ok(made)
        });
        match made {
            Ok(made) => reply.created(&CACHED, &attr(made), Generation(0), FileHandle(0), FopenFlags::empty()),
            Err(failure) => reply.error(errno(failure)),
        }
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        empty(reply, self.life.with(|disk| disk.remove(parent.0, name, Kind::File)));
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        empty(reply, self.life.with(|disk| disk.remove(parent.0, name, Kind::Directory)));
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let replace = !flags.contains(RenameFlags::RENAME_NOREPLACE);
        if !(flags - RenameFlags::RENAME_NOREPLACE).is_empty() {
            return reply.error(Errno::EINVAL);
        }
        empty(reply, self.life.with(|disk| disk.rename((parent.0, name), (newparent.0, newname), replace)));
    }

    fn link(&self, _: &Request, ino: INodeNo, newparent: INodeNo, newname: &OsStr, reply: ReplyEntry) {
        self.entry(reply, self.life.with(|disk| disk.link(ino.0, newparent.0, newname)));
    }

    fn open(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match self.life.with(|disk| disk.open(ino.0)) {
            Ok(()) => reply.opened(FileHandle(0), FopenFlags::empty()),
            Err(failure) => reply.error(errno(failure)),
        }
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let id = ino.0;
        let read = move |disk: &mut Disk| disk.read(id, offset, u64::from(size));
        self.life.serve(Operation::Read, id, read, move |read| match read {
            Ok(bytes) => reply.data(&bytes),
            Err(failure) => reply.error(errno(failure)),
        });
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let (id, data) = (ino.0, Bytes::copy_from_slice(data));
        let write = move |disk: &mut Disk| disk.write(id, offset, data);
        self.life.serve(Operation::Write, id, write, move |written| match written {
            Ok(bytes) => reply.written(bytes as u32),
            Err(failure) => reply.error(errno(failure)),
        });
    }

    /// Closing is nothing to a disk. The kernel does not ask again after this answer.
    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.error(Errno::ENOSYS);
    }

    /// As [`Self::flush`].
    fn access(&self, _: &Request, _: INodeNo, _: AccessFlags, reply: ReplyEmpty) {
        reply.error(Errno::ENOSYS);
    }

    fn release(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        empty(reply, self.life.with(|disk| disk.release(ino.0)));
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.sync(Operation::Sync, ino.0, reply);
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.sync(Operation::SyncDirectory, ino.0, reply);
    }

    fn opendir(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match self.life.with(|disk| disk.open(ino.0)) {
            Ok(()) => {
                let handle = self.next_handle.fetch_add(1, Ordering::Relaxed);
                reply.opened(FileHandle(handle), FopenFlags::empty());
            }
            Err(failure) => reply.error(errno(failure)),
        }
    }

    fn readdir(&self, _: &Request, ino: INodeNo, handle: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let mut listings = self.listings.lock();
        if offset == 0 {
            match self.life.with(|disk| disk.list(ino.0)) {
                Ok(list) => drop(listings.insert(handle.0, list)),
                Err(failure) => return reply.error(errno(failure)),
            }
        }
        let list = listings.get(&handle.0).map(Vec::as_slice).unwrap_or_default();
        for (at, (name, entry)) in list.iter().enumerate().skip(offset as usize) {
            if reply.add(INodeNo(entry.id), at as u64 + 1, file_type(entry.kind), name) {
                break;
            }
        }
        reply.ok();
    }

    fn releasedir(&self, _: &Request, ino: INodeNo, handle: FileHandle, _: OpenFlags, reply: ReplyEmpty) {
        self.listings.lock().remove(&handle.0);
        empty(reply, self.life.with(|disk| disk.release(ino.0)));
    }

    fn fallocate(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        /// `FALLOC_FL_KEEP_SIZE`
        const KEEP_SIZE: i32 = 1;
        if mode & !KEEP_SIZE != 0 {
            return reply.error(Errno::EOPNOTSUPP);
        }
        let (id, up_to) = (ino.0, offset.saturating_add(length));
        let allocate = move |disk: &mut Disk| disk.allocate(id, up_to, mode == KEEP_SIZE);
        self.life.serve(Operation::Resize, id, allocate, move |done| empty(reply, done));
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        match self.life.with(|disk| Ok(disk.free_and_size())) {
            Ok((free, size)) => {
                let (free, size) = (free / BLOCK, size / BLOCK);
                // Files cost nothing but their bytes: as many as there are numbers for.
                let files = u64::from(u32::MAX);
                reply.statfs(size, free, free, files, files, BLOCK as u32, 255, BLOCK as u32);
            }
            Err(failure) => reply.error(errno(failure)),
        }
    }
}

fn answer_attr(reply: ReplyAttr, answer: Answer<Attributes>) {
    match answer {
        Ok(attributes) => reply.attr(&CACHED, &attr(attributes)),
        Err(failure) => reply.error(errno(failure)),
    }
}
