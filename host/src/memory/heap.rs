//! dlmalloc without a lock, for a process of one thread.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout};
use std::cell::UnsafeCell;
use std::process::abort;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};

use dlmalloc::Dlmalloc;

/// What is asked of the kernel at a time. It costs nothing until it is touched, and less would be asked for again.
const AT_A_TIME: usize = 1 << 20;

/// Belongs to the first thread that uses it. Taking and giving back a lock takes longer than most of what is done
/// under it; so another thread ends the process.
pub struct Heap {
    /// By what [`this_thread`] says.
    owner: AtomicUsize,
    memory: UnsafeCell<Dlmalloc>,
}

// SAFETY: `memory` is reached by `Heap::memory` alone, which no thread but one gets past.
unsafe impl Sync for Heap {}

impl Heap {
    /// One that nobody owns yet.
    #[expect(clippy::new_without_default, reason = "a static needs a constant")]
    pub const fn new() -> Self {
        let mut memory = Dlmalloc::new();
        assert!(memory.set_granularity(AT_A_TIME));
        Self { owner: AtomicUsize::new(0), memory: UnsafeCell::new(memory) }
    }

    fn is_mine(&self) -> bool {
        let me = this_thread();
        // Written once, before anything that its writer keeps here.
        let owner = self.owner.load(Ordering::Relaxed);
        owner == me
            || owner == 0 && self.owner.compare_exchange(0, me, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    fn memory(&self) -> *mut Dlmalloc {
        if !self.is_mine() {
            abort();
        }
        self.memory.get()
    }
}

/// The address of something that each thread has for itself.
fn this_thread() -> usize {
    thread_local!(static HERE: u8 = const { 0 });
    HERE.with(|here| ptr::from_ref(here).addr())
}

// SAFETY: dlmalloc keeps the trait's promises for callers that come one after the other, as those of one thread do.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: no other reference lives, since `memory` lets in one thread, and dlmalloc does not call back.
        unsafe { (*self.memory()).malloc(layout.size(), layout.align()) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as in `alloc`; the block is from there, as the caller promises.
        unsafe { (*self.memory()).free(block, layout.size(), layout.align()) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as in `alloc`.
        unsafe { (*self.memory()).calloc(layout.size(), layout.align()) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as in `dealloc`.
        unsafe { (*self.memory()).realloc(block, layout.size(), layout.align(), size) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heap_belongs_to_its_first_thread() {
        let heap = Heap::new();
        assert!(heap.is_mine());
        assert!(heap.is_mine(), "nor is it lost");
        std::thread::scope(|scope| {
            let other = scope.spawn(|| heap.is_mine()).join();
            assert!(!other.unwrap(), "two threads have it");
        });
    }

    #[test]
    fn what_is_kept_stays_when_it_grows() {
        let (heap, small) = (Heap::new(), Layout::array::<u64>(3).unwrap());
        // SAFETY: each block is used within its size, and freed once with its layout.
        unsafe {
            let block = heap.alloc(small);
            block.cast::<[u64; 3]>().write([1, 2, 3]);
            let zeros = heap.alloc_zeroed(small);
            assert_eq!(zeros.cast::<[u64; 3]>().read(), [0; 3]);
            let block = heap.realloc(block, small, 3 * AT_A_TIME);
            assert_eq!(block.cast::<[u64; 3]>().read(), [1, 2, 3]);
            heap.dealloc(block, Layout::from_size_align(3 * AT_A_TIME, small.align()).unwrap());
            heap.dealloc(zeros, small);
        }
    }
}
