//! Contents of files.

use std::{fs::File, time::SystemTime};

use bytes::Bytes;
use rustix::io::Errno;

use super::{Answer, Disk, broken};
use crate::model::tree::{Id, Kind, ROOT};

impl Disk {
    /// Counts one more open handle.
    ///
    /// # Errors
    /// It is gone.
    pub fn open(&mut self, id: Id) -> Answer<()> {
        self.node_mut(id)?.open += 1;
        Ok(())
    }

    /// Counts one open handle less.
    ///
    /// # Errors
    /// It is gone.
    pub fn release(&mut self, id: Id) -> Answer<()> {
        let node = self.node_mut(id)?;
        node.open = node.open.saturating_sub(1);
        self.let_go(id);
        Ok(())
    }

    /// Frees the space of what has neither a live name nor an open handle, and forgets it where nothing else holds it. What
    /// a cut may bring back takes no space until then.
    pub(super) fn let_go(&mut self, id: Id) {
        let Some(node) = self.nodes.get(&id) else { return };
        if id == ROOT || node.open > 0 || self.live.links(id) > 0 {
            return;
        }
        let _ = self.space.resize(node.takes(), 0, u64::MAX);
        self.collect(vec![id]);
    }

    /// Reads up to `wanted` bytes.
    ///
    /// # Errors
    /// It is gone, or the file system under it fails.
    pub fn read(&self, id: Id, offset: u64, wanted: u64) -> Answer<Vec<u8>> {
        let content = &self.node(id)?.content;
        let mut buffer = vec![0; content.readable(offset, wanted)];
        let stored = content.stored_part(offset, buffer.len());
        self.store.read(id, offset, &mut buffer[..stored]).map_err(broken("reading"))?;
        content.overlay(offset, &mut buffer);
        self.count(id, |counts| {
            counts.reads += 1;
            counts.read_bytes += buffer.len() as u64;
        });
        Ok(buffer)
    }

    /// Writes, and says how many bytes: fewer where the disk gets full.
    ///
    /// # Errors
    /// It is gone, or the disk is full.
    pub fn write(&mut self, id: Id, offset: u64, data: Bytes) -> Answer<usize> {
        let capacity = self.capacity();
        let takes = self.node(id)?.takes();
        let fits = self.space.room(takes, capacity).saturating_sub(offset).min(data.len() as u64) as usize;
        if fits < data.len() {
            self.count(id, |counts| counts.full += 1);
            if fits == 0 {
                return Err(Errno::NOSPC);
            }
        }
        let node = self.nodes.get_mut(&id).ok_or(Errno::STALE)?;
        node.content.write(offset, data.slice(..fits));
        node.modified = SystemTime::now();
        self.space.resize(takes, node.takes(), u64::MAX).map_err(|_| Errno::NOSPC)?;
        self.unsynced_bytes += fits as u64;
        self.count(id, |counts| {
            counts.writes += 1;
            counts.written_bytes += fits as u64;
        });
        if self.unsynced_bytes > self.most_unsynced {
            self.write_back()?;
        }
        Ok(fits)
    }

    /// Sets a file's length. Shrinking also gives back what was reserved.
    ///
    /// # Errors
    /// It is gone, no file, or the disk is full.
    pub fn set_length(&mut self, id: Id, length: u64) -> Answer<()> {
        let capacity = self.capacity();
        let node = self.nodes.get_mut(&id).ok_or(Errno::STALE)?;
        if node.kind == Kind::Directory {
            return Err(Errno::ISDIR);
        }
        let (takes, reserved) = (node.takes(), node.reserved.min(length));
        if self.space.resize(takes, length.max(reserved), capacity).is_err() {
            self.count(id, |counts| counts.full += 1);
            return Err(Errno::NOSPC);
        }
        node.reserved = reserved;
        node.content.set_length(length);
        node.modified = SystemTime::now();
        Ok(())
    }

    /// Reserves space up to an offset, and lets the file grow up to there unless it is to keep its length.
    ///
    /// # Errors
    /// It is gone, or the disk is full.
    pub fn allocate(&mut self, id: Id, up_to: u64, keep_length: bool) -> Answer<()> {
        let capacity = self.capacity();
        let node = self.nodes.get_mut(&id).ok_or(Errno::STALE)?;
        let (takes, reserved) = (node.takes(), node.reserved.max(up_to));
        if self.space.resize(takes, node.content.length().max(reserved), capacity).is_err() {
            self.count(id, |counts| counts.full += 1);
            return Err(Errno::NOSPC);
        }
        node.reserved = reserved;
        if !keep_length && up_to > node.content.length() {
            node.content.set_length(up_to);
        }
        Ok(())
    }

    /// Makes a file's content and length durable, or says so (a lying disk). Gives the file that stores it, where there
    /// is something to sync in earnest.
    ///
    /// # Errors
    /// It is gone, or the file system under it fails.
    pub fn sync(&mut self, id: Id) -> Answer<Option<File>> {
        self.node(id)?;
        if self.rules.lie().of_files() {
            self.count(id, |counts| counts.lies += 1);
            return Ok(None);
        }
        let bytes = self.nodes.get(&id).map_or(0, |node| node.content.bytes());
        let file = self.store_content(id)?;
        self.count(id, |counts| {
            counts.syncs += 1;
            counts.synced_bytes += bytes;
        });
        Ok(file)
    }

    fn store_content(&mut self, id: Id) -> Answer<Option<File>> {
        let node = self.nodes.get_mut(&id).ok_or(Errno::STALE)?;
        if node.content.ops().is_empty() {
            return Ok(None);
        }
        let flush = node.content.flush();
        let file = self.store.flush(id, node.content.stored(), &flush).map_err(broken("syncing"))?;
        self.unsynced_bytes -= node.content.bytes();
        node.content.synced();
        Ok(Some(file))
    }

    /// A sync of this file failed: what it should have stored is lost.
    pub fn sync_failed(&mut self, id: Id) {
        if let Some(node) = self.nodes.get_mut(&id) {
            self.unsynced_bytes -= node.content.bytes();
            node.content.sync_failed();
        }
    }

    /// Makes all contents durable, without anybody's asking.
    ///
    /// # Errors
    /// The file system under it fails.
    pub fn write_back(&mut self) -> Answer<()> {
        for id in self.ids() {
            self.store_content(id)?;
        }
        Ok(())
    }
}
