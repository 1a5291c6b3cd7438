//! What a power cut leaves of one file: a pure function of its unsynced changes and of a seed.
//!
//! Disks write sectors whole, in any order, until they are told to sync (Pillai and others, "All File Systems Are Not
//! Created Equal", OSDI 2014; Alagappan and others, "Protocol-Aware Recovery for Consensus-Based Storage", FAST 2018).

use std::{collections::HashMap, mem, ops::AddAssign, str::FromStr};

use bytes::Bytes;

use super::{pending::FileOp, random::Random};

/// Bytes that a disk writes whole or not at all.
pub const SECTOR: u64 = 512;

/// What becomes of what was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tear {
    /// All of it is lost.
    Drop,
    /// The first few changes survive, and perhaps the first sectors of the next one.
    Prefix,
    /// Every sector, and the length, stops at a change of its own: also later ones survive where earlier ones do not, and
    /// a length without the bytes (zeros).
    Pieces,
    /// One of the three for each file, or all of it survives.
    Mixed,
}

/// That is no way to tear: `drop`, `prefix`, `pieces` and `mixed` are.
#[derive(Debug, thiserror::Error)]
#[error("not one of drop, prefix, pieces, mixed")]
pub struct NoTear;

impl FromStr for Tear {
    type Err = NoTear;

    fn from_str(name: &str) -> Result<Self, NoTear> {
        match name {
            "drop" => Ok(Self::Drop),
            "prefix" => Ok(Self::Prefix),
            "pieces" => Ok(Self::Pieces),
            "mixed" => Ok(Self::Mixed),
            _ => Err(NoTear),
        }
    }
}

/// How many unsynced writes came to what end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fate {
    /// Whole on the disk.
    pub kept: u64,
    /// Some of its sectors are on the disk.
    pub torn: u64,
    /// Nothing is.
    pub lost: u64,
}

impl AddAssign for Fate {
    fn add_assign(&mut self, other: Self) {
        self.kept += other.kept;
        self.torn += other.torn;
        self.lost += other.lost;
    }
}

/// What is done to the stored bytes at the cut, in order, and how the writes fared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Remains {
    /// Changes of the stored bytes.
    pub steps: Vec<FileOp>,
    /// What became of the unsynced writes.
    pub fate: Fate,
}

/// What is left of `ops` over `stored` stored bytes.
pub fn after_cut(stored: u64, ops: &[FileOp], tear: Tear, random: &mut Random) -> Remains {
    match tear {
        Tear::Drop => prefix(ops, 0, 0),
        Tear::Prefix => {
            let whole = random.below(ops.len() as u64 + 1) as usize;
            let sectors = ops.get(whole).map_or(0, |op| pieces_of(op).count() as u64);
            prefix(ops, whole, random.below(sectors + 1) as usize)
        }
        Tear::Pieces => pieces(stored, ops, random),
        Tear::Mixed => match random.below(4) {
            0 => after_cut(stored, ops, Tear::Drop, random),
            1 => after_cut(stored, ops, Tear::Prefix, random),
            2 => after_cut(stored, ops, Tear::Pieces, random),
            _ => prefix(ops, ops.len(), 0),
        },
    }
}

/// The first `whole` changes, and the first `sectors` sectors of the next.
fn prefix(ops: &[FileOp], whole: usize, sectors: usize) -> Remains {
    let mut remains = Remains { steps: ops[..whole].to_vec(), fate: Fate::default() };
    remains.fate.kept = writes(&ops[..whole]);
    remains.fate.lost = writes(&ops[whole..]);
    if let Some(op @ FileOp::Write { .. }) = ops.get(whole) {
        remains.steps.extend(pieces_of(op).take(sectors).map(|(_, piece)| piece));
        let all = pieces_of(op).count();
        match sectors {
            0 => {}
            some if some < all => (remains.fate.torn, remains.fate.lost) = (1, remains.fate.lost - 1),
            _ => (remains.fate.kept, remains.fate.lost) = (remains.fate.kept + 1, remains.fate.lost - 1),
        }
    }
    remains
}

/// Shrinking frees blocks in the same transaction as it sets the length: so the length's change is drawn first, and every
/// sector stops between the last shrinking before it and the first one after it.
fn pieces(stored: u64, ops: &[FileOp], random: &mut Random) -> Remains {
    let lengths: Vec<_> =
        ops.iter().scan(stored, |length, op| Some(mem::replace(length, op.length_after(*length)))).collect();
    let shrinks = |at: usize| matches!(&ops[at], FileOp::SetLen(length) if *length < lengths[at]);
    let reached = random.below(ops.len() as u64 + 1) as usize;
    let least = (0..reached).rev().find(|at| shrinks(*at)).map_or(0, |at| at + 1);
    let most = (reached..ops.len()).find(|at| shrinks(*at)).unwrap_or(ops.len());
    let length = if reached == ops.len() {
        ops.last().map_or(stored, |op| op.length_after(lengths[reached - 1]))
    } else {
        lengths[reached]
    };

    let mut stops = HashMap::new();
    let mut remains = Remains { steps: ops[..least].to_vec(), fate: Fate::default() };
    remains.fate.kept = writes(&ops[..least]);
    for (at, op) in ops.iter().enumerate().take(most).skip(least) {
        let (mut survived, mut all) = (0, 0);
        for (sector, piece) in pieces_of(op) {
            all += 1;
            let stop = *stops.entry(sector).or_insert_with(|| random.between(least as u64, most as u64));
            let FileOp::Write { offset, data } = piece else { continue };
            let shown = length.saturating_sub(offset).min(data.len() as u64) as usize;
            if stop > at as u64 && shown > 0 {
                remains.steps.push(FileOp::Write { offset, data: data.slice(..shown) });
                survived += 1;
            }
        }
        match (survived, all) {
            (_, 0) => {}
            (0, _) => remains.fate.lost += 1,
            (some, all) if some < all => remains.fate.torn += 1,
            _ => remains.fate.kept += 1,
        }
    }
    remains.fate.lost += writes(&ops[most..]);
    if !ops.is_empty() {
        remains.steps.push(FileOp::SetLen(length));
    }
    remains
}

fn writes(ops: &[FileOp]) -> u64 {
    ops.iter().filter(|op| matches!(op, FileOp::Write { .. })).count() as u64
}

/// A write as one for each sector that it touches, with the sector's number; nothing for another change.
fn pieces_of(op: &FileOp) -> impl Iterator<Item = (u64, FileOp)> {
    let (offset, data) = match op {
        FileOp::Write { offset, data } => (*offset, data.clone()),
        FileOp::SetLen(_) => (0, Bytes::new()),
    };
    let end = offset + data.len() as u64;
    let sectors = if data.is_empty() { 0..0 } else { offset / SECTOR..end.div_ceil(SECTOR) };
    sectors.map(move |sector| {
        let (from, to) = ((sector * SECTOR).max(offset), ((sector + 1) * SECTOR).min(end));
        let data = data.slice((from - offset) as usize..(to - offset) as usize);
        (sector, FileOp::Write { offset: from, data })
    })
}
