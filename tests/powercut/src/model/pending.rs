//! One file: what of it is stored, and what was done to it since and is not synced.
//!
//! A reader sees, from below: the stored bytes as far as no shrinking hid them, bytes that a failed sync lost (they stay
//! readable and never reach the disk, as Linux does it: Rebello and others, "Can Applications Recover from fsync
//! Failures?", ATC 2020), and unsynced bytes.

use bytes::Bytes;

use super::extents::Extents;

/// One change of a file's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileOp {
    /// Bytes at an offset; the file grows to hold them.
    Write {
        /// Where they begin.
        offset: u64,
        /// What is written.
        data: Bytes,
    },
    /// The file has this length from here on; what it gains is zeros.
    SetLen(u64),
}

impl FileOp {
    /// Length of a file of `length` bytes after it.
    pub fn length_after(&self, length: u64) -> u64 {
        match self {
            Self::Write { offset, data } => length.max(offset + data.len() as u64),
            Self::SetLen(length) => *length,
        }
    }
}

/// What a sync has to do to the stored bytes, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flush {
    /// Cut the stored bytes to this length first, where they are longer.
    pub keep: u64,
    /// Write these.
    pub writes: Vec<(u64, Bytes)>,
    /// Set this length last.
    pub length: u64,
}

/// One file's content.
#[derive(Debug, Clone, Default)]
pub struct Pending {
    stored: u64,
    /// Stored bytes from here on are hidden by an unsynced shrinking.
    visible: u64,
    length: u64,
    ops: Vec<FileOp>,
    unsynced: Extents,
    lost: Extents,
    bytes: u64,
}

impl Pending {
    /// A file of which `stored` bytes are stored, and nothing else.
    pub fn of_stored(stored: u64) -> Self {
        Self { stored, visible: stored, length: stored, ..Self::default() }
    }

    /// Length that a reader sees.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Length of what is stored.
    pub fn stored(&self) -> u64 {
        self.stored
    }

    /// Changes since the last sync, in order.
    pub fn ops(&self) -> &[FileOp] {
        &self.ops
    }

    /// Bytes that the changes hold in memory.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether what is stored is all that a reader sees.
    pub fn is_clean(&self) -> bool {
        self.ops.is_empty() && self.lost.is_empty()
    }

    /// Writes bytes.
    pub fn write(&mut self, offset: u64, data: Bytes) {
        if data.is_empty() {
            return;
        }
        let end = offset + data.len() as u64;
        self.lost.clear(offset, end);
        self.unsynced.put(offset, data.clone());
        self.length = self.length.max(end);
        self.bytes += data.len() as u64;
        self.ops.push(FileOp::Write { offset, data });
    }

    /// Shrinks or grows the file.
    pub fn set_length(&mut self, length: u64) {
        if length < self.length {
            self.unsynced.clear(length, u64::MAX);
            self.lost.clear(length, u64::MAX);
            self.visible = self.visible.min(length);
        }
        self.length = length;
        self.ops.push(FileOp::SetLen(length));
    }

    /// How many of `wanted` bytes at `offset` there are before the end.
    pub fn readable(&self, offset: u64, wanted: u64) -> usize {
        self.length.saturating_sub(offset).min(wanted) as usize
    }

    /// How many bytes at `offset` a reader of `wanted` bytes gets from what is stored; zeros follow.
    pub fn stored_part(&self, offset: u64, wanted: usize) -> usize {
        self.visible.saturating_sub(offset).min(wanted as u64) as usize
    }

    /// Lays what is not stored over bytes that were read at `offset`.
    pub fn overlay(&self, offset: u64, buffer: &mut [u8]) {
        self.lost.read(offset, buffer);
        self.unsynced.read(offset, buffer);
    }

    /// What a sync has to do. Tell [`Self::synced`] once it is done.
    pub fn flush(&self) -> Flush {
        let writes = self.unsynced.pieces().map(|(offset, data)| (offset, data.clone())).collect();
        Flush { keep: self.visible, writes, length: self.length }
    }

    /// The flush reached the disk.
    pub fn synced(&mut self) {
        (self.stored, self.visible) = (self.length, self.length);
        self.unsynced = Extents::default();
        self.ops = Vec::new();
        self.bytes = 0;
    }

    /// A sync failed: its bytes stay readable and no later sync writes them. Lengths are the file system's own, and wait on.
    pub fn sync_failed(&mut self) {
        for (offset, data) in self.unsynced.pieces() {
            self.lost.put(offset, data.clone());
        }
        self.unsynced = Extents::default();
        let mut length = self.stored;
        for op in &mut self.ops {
            length = op.length_after(length);
            *op = FileOp::SetLen(length);
        }
        self.ops.dedup();
        self.bytes = 0;
    }
}
