//! How much a thread allocates: a decoder that believes a length in its input takes the whole machine's memory.
//!
//! A test program that wants it says `#[global_allocator] static MEMORY: granary_fuzz::memory::Counted = Counted;`.
#![allow(unsafe_code, reason = "an allocator is unsafe by its nature; this one only counts and passes on")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

thread_local! {
    /// Bytes that this thread holds, and the most it held.
    static HELD: Cell<(i64, i64)> = const { Cell::new((0, 0)) };
}

/// The system's allocator, counted by thread.
#[derive(Debug)]
pub struct Counted;

fn add(bytes: i64) {
    // At a thread's end there is nothing left to count in.
    let _ = HELD.try_with(|held| {
        let (now, most) = held.get();
        held.set((now + bytes, most.max(now + bytes)));
    });
}

// SAFETY: every call is passed on as it came.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size() as i64);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        add(-(layout.size() as i64));
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        add(size as i64 - layout.size() as i64);
        // SAFETY: as the caller promises.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// Does the work; panics when it held more than `times` the input and 64 KiB at once. Needs [`Counted`].
pub fn bounded<T>(input: usize, times: usize, work: impl FnOnce() -> T) -> T {
    let before = HELD.with(|held| {
        held.set((held.get().0, held.get().0));
        held.get().0
    });
    let done = work();
    let most = HELD.with(Cell::get).1 - before;
    let allowed = (input * times + (64 << 10)) as i64;
    assert!(most <= allowed, "{most} bytes were allocated for an input of {input}; {allowed} are allowed");
    done
}
