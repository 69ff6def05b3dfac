//! What a module without `std` must bring along: an allocator, and an end for panics.

#![allow(unsafe_code, reason = "an allocator deals in raw memory")]

use core::alloc::{GlobalAlloc, Layout};
use core::arch::wasm32::{memory_grow, memory_size};
use core::cell::Cell;
use core::fmt::{self, Write as _};
use core::panic::PanicInfo;
use core::ptr;

use crate::log;

/// Of linear memory, in bytes.
const PAGE: usize = 65_536;

unsafe extern "C" {
    /// Where the linker has placed nothing any more.
    safe static __heap_base: u8;
}

#[global_allocator]
static ARENA: Arena = Arena { next: Cell::new(0), end: Cell::new(0) };

/// Gives memory and takes none back: an instance answers one call, and what a call may compute is bounded
/// so that its memory is too. Without it a component is a third larger, and slower to load.
struct Arena {
    /// Where the next allocation begins, and where the memory that we got ends; 0 before the first.
    next: Cell<usize>,
    end: Cell<usize>,
}

// SAFETY: a module without the threads proposal, which the host does not offer, has one thread.
unsafe impl Sync for Arena {}

impl Arena {
    /// Makes the memory that we have reach so far.
    fn reach(&self, end: usize) -> Option<()> {
        if end <= self.end.get() {
            return Some(());
        }
        let have = memory_size::<0>();
        let missing = end.div_ceil(PAGE).saturating_sub(have);
        if memory_grow::<0>(missing) == usize::MAX {
            return None;
        }
        self.end.set((have + missing) * PAGE);
        Some(())
    }

    fn give(&self, layout: Layout) -> Option<usize> {
        if self.next.get() == 0 {
            // Behind the data and the stack, in what they leave of their last page.
            self.next.set((&raw const __heap_base).addr());
            self.end.set(memory_size::<0>() * PAGE);
        }
        let start = self.next.get().checked_next_multiple_of(layout.align())?;
        let end = start.checked_add(layout.size())?;
        self.reach(end)?;
        self.next.set(end);
        Some(start)
    }
}

// SAFETY: each allocation begins at or after the end of the one before, in memory that was grown for it
// and is used by nothing else; sums that overflow give null.
unsafe impl GlobalAlloc for Arena {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.give(layout).map_or(ptr::null_mut(), ptr::with_exposed_provenance_mut)
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}

    unsafe fn realloc(&self, old: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if old.addr() + layout.size() == self.next.get() {
            // The last one grows where it is, as text and lists do while they are filled.
            let Some(end) = old.addr().checked_add(size).filter(|end| self.reach(*end).is_some()) else {
                return ptr::null_mut();
            };
            self.next.set(end);
            return old;
        }
        // SAFETY: the caller vouches that a layout of this size is valid.
        let new = unsafe { self.alloc(Layout::from_size_align_unchecked(size, layout.align())) };
        if !new.is_null() {
            // SAFETY: both are valid for the lesser size, and the new one lies beyond the old.
            unsafe { ptr::copy_nonoverlapping(old, new, layout.size().min(size)) };
        }
        new
    }
}

/// Says why, then traps: the host reports the trap.
#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    let mut line = Line { bytes: [0; 512], length: 0 };
    // A line that is full is cut: there is nobody left to tell.
    let _ = write!(line, "{info}");
    log::error(line.as_str());
    core::arch::wasm32::unreachable()
}

/// Text on the stack: the panic may be that of an allocation.
struct Line {
    bytes: [u8; 512],
    length: usize,
}

impl Line {
    fn as_str(&self) -> &str {
        // SAFETY: only whole characters are written.
        unsafe { str::from_utf8_unchecked(&self.bytes[..self.length]) }
    }
}

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = &mut self.bytes[self.length..];
        let taken = text.floor_char_boundary(room.len());
        room[..taken].copy_from_slice(&text.as_bytes()[..taken]);
        self.length += taken;
        if taken < text.len() { Err(fmt::Error) } else { Ok(()) }
    }
}
